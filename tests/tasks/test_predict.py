"""One upsampling for all tasks says the same as each decoder alone, and wakes no dead query."""

from __future__ import annotations

import pytest
import torch

from robustseg.ops.size import at_label_size
from robustseg.tasks import decode, semantic
from robustseg.tasks.predict import predict
from robustseg.types import DenseOutput, QueryOutput, RegionOutput, UserError

THINGS = (False, False, True, True)
SIZE = (48, 80)
EVERYTHING = ("semantic", "panoptic", "instance")


def output(seed=0, queries=12, sure=6.0):
    draw = torch.Generator().manual_seed(seed)
    classes = torch.randn(2, queries, len(THINGS) + 1, generator=draw) * sure
    smooth = torch.nn.functional.interpolate(torch.randn(2, queries, 4, 6, generator=draw), (12, 20), mode="bicubic")
    best = smooth.topk(2, dim=1).values  # every pixel has about one query whose mask is there
    return QueryOutput(classes, 8 * (smooth - best.mean(1, keepdim=True)) + 0.3)


@pytest.mark.parametrize("tasks", [("semantic",), ("panoptic",), ("instance",), ("panoptic", "instance"), EVERYTHING])
def test_shared_upsampling_changes_nothing(tasks):
    o = output()
    found = predict(o, SIZE, THINGS, tasks)
    assert (found.labels is not None, found.panoptic is not None, found.instances is not None) == tuple(
        t in tasks for t in EVERYTHING
    )
    if found.labels is not None:
        assert torch.equal(found.labels, semantic.predict(o, SIZE))
    if found.panoptic is not None:
        for one, alone in zip(found.panoptic, decode.panoptic(o, SIZE, THINGS)):
            assert (one.ids == alone.ids).all()
            assert one.ids.max() > 1
            assert one.categories.tolist() == alone.categories.tolist()
    if found.instances is not None:
        for one, alone in zip(found.instances, decode.instances(o, SIZE, THINGS)):
            assert len(one) == len(alone) > 4
            for name in ("masks", "scores", "labels", "boxes"):
                assert torch.equal(getattr(one, name), getattr(alone, name))


def test_only_kept_queries_are_upsampled_for_a_panoptic_map(monkeypatch):
    o = output(sure=1.5)
    seen = []

    def record(scores, size):
        seen.append(scores.shape[1])
        return at_label_size(scores, size)

    monkeypatch.setattr(decode, "at_label_size", record)
    predict(o, SIZE, THINGS, ("panoptic",))
    kept = [len(decode.confident(c)[2]) for c in o.class_logits]
    assert seen == [k for k in kept if k]
    assert sum(kept) < o.class_logits.shape[0] * o.class_logits.shape[1]


def test_equal_numbers_of_query_share_a_mask_and_boxes_are_tight():
    found = predict(output(), SIZE, THINGS, ("instance",)).instances[0]
    assert len(found.query.unique()) < len(found)
    for n, (x0, y0, x1, y1) in enumerate(found.boxes.int().tolist()):
        assert torch.equal(found.masks[n], found.masks[(found.query == found.query[n]).nonzero()[0, 0]])
        inside = found.masks[n, y0:y1, x0:x1]
        assert inside.sum() == found.masks[n].sum()
        if len(inside):
            assert all(bool(edge.any()) for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
    assert (found.scores.diff() <= 0).all()


def test_nothing_confident_is_void_and_no_error():
    o = output()
    silent = QueryOutput(torch.zeros_like(o.class_logits), o.mask_logits)
    found = predict(silent, SIZE, THINGS, EVERYTHING)
    assert not found.panoptic[0].ids.any()
    assert len(found.instances[0])


def test_answers_to_prompts_are_masks_at_label_size():
    o = output()
    masks = predict(o, SIZE, (), ("prompted",)).masks
    assert masks.shape == (2, 12, *SIZE)
    assert torch.equal(masks, at_label_size(o.mask_logits, SIZE) > 0)


def test_what_an_output_cannot_say_is_refused_in_one_line():
    dense = DenseOutput(torch.randn(1, 4, 8, 8))
    assert predict(dense, (8, 8), THINGS, ("semantic",)).labels.shape == (1, 8, 8)
    with pytest.raises(UserError, match="cannot be scored as panoptic"):
        predict(dense, (8, 8), THINGS, ("semantic", "panoptic"))
    none = torch.zeros(1, 0)
    regions = RegionOutput(none, none, none, *(none[..., None],) * 4, mask_logits=none, size=(8, 8))
    with pytest.raises(UserError, match="regions cannot be scored as panoptic"):
        predict(regions, (8, 8), THINGS, ("panoptic",))
