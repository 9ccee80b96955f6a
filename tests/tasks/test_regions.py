"""Regions decode to what torchvision's own eval forward returns; pasting by hand; painted label maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny_maskrcnn as tiny
from robustseg.models import maskrcnn
from robustseg.tasks.decode import Instances
from robustseg.tasks.predict import predict
from robustseg.tasks.regions import instances, painted, pasted
from robustseg.types import RegionOutput

CLASSES = ("background", "a", "b", "c")
THINGS = (False, True, True, True)


def pictures():
    return torch.rand(2, 3, 70, 111, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "options", [{}, {"box_score_thresh": 0.2, "box_detections_per_img": 15}, {"box_nms_thresh": 0.2}]
)
@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_equals_the_librarys_own_eval_output(options, seed):
    # in double precision no rounding decides which of two boxes is suppressed
    net, x = tiny.network(seed=seed, **options), pictures().double()
    model = maskrcnn.adapter(net, CLASSES, "tiny", "test")
    net.double()
    output = model(x)
    found = predict(output, (70, 111), THINGS, ("instance",)).instances
    for i, (one, theirs) in enumerate(zip(found, net(list(x)))):
        assert len(one) == len(theirs["labels"]) > 10
        assert torch.equal(one.labels, theirs["labels"])
        assert (one.scores - theirs["scores"]).abs().max() <= 1e-4
        assert (one.boxes - theirs["boxes"]).abs().max() <= 1e-4 * 111
        cells = theirs["masks"][:, 0]
        assert one.masks.sum() == (cells > 0.5).sum()
        # at a threshold that half of the pasted probabilities reach, so that geometry shows
        middle = float(cells[cells > 0].median())
        again = instances(output, mask=middle)[i].masks
        assert (again != (cells > middle)).sum() <= 0.005 * again.sum()
        assert again.sum() > 300


def regions(boxes, logits, cells=None, size=(10, 20)):
    """One image, one proposal a row; ``logits (R,K)``; masks over the proposals."""
    boxes = torch.tensor(boxes, dtype=torch.float32)[None]
    logits = torch.tensor(logits, dtype=torch.float32)[None]
    R, K = logits.shape[1:]
    cells = torch.full((1, R, K, 4, 4), 9.0) if cells is None else cells
    none = torch.zeros(1, 0)
    every = boxes[:, :, None].expand(1, R, K, 4)
    there = torch.ones(1, R, dtype=torch.bool)
    return RegionOutput(none, none[..., None], none[..., None], boxes, there, logits, every, cells, size)


def test_suppression_is_within_a_class_and_padding_is_nobody():
    box = [2.0, 2.0, 8.0, 8.0]
    near = [2.0, 2.0, 8.0, 9.0]
    o = regions([box, near, box, box], [[0, 5, 0], [0, 4, 0], [0, 0, 5], [0, 9, 0]])
    o = replace(o, present=torch.tensor([[True, True, True, False]]))
    found = instances(o, score=0.3)[0]
    assert sorted(found.labels.tolist()) == [1, 2]
    assert (found.scores > 0.97).all()
    assert len(instances(o, score=0.3, nms=0.95)[0]) == 3
    assert len(instances(o, score=0.3, nms=0.95, most=2)[0]) == 2


def test_boxes_are_clipped_and_empty_ones_dropped():
    o = regions([[-5.0, 3.0, 4.0, 30.0], [25.0, 1.0, 30.0, 5.0]], [[0, 5.0], [0, 5.0]])
    found = instances(o)[0]
    assert found.boxes.tolist() == [[0.0, 3.0, 4.0, 10.0]]


def test_a_full_mask_fills_its_box():
    """m = 4 cells, ring of one: the box of 8 grows to 12 around its centre; half of the ring's slope is above 1/2."""
    masks = pasted(torch.ones(1, 4, 4), torch.tensor([[6.0, 1.0, 14.0, 9.0]]), (10, 20))[0]
    inside = masks > 0.5
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (1, 9, 6, 14)
    assert masks[5, 10] == 1
    assert masks[0, 0] == 0


def test_boxes_beyond_the_image_paste_what_is_inside():
    masks = pasted(torch.ones(2, 2, 2), torch.tensor([[-4.0, -4.0, 4.0, 4.0], [30.0, 0.0, 40.0, 5.0]]), (10, 20))
    assert (masks[0, :3, :3] > 0.5).all()
    assert (masks[0, 6:] < 0.5).all()
    assert not masks[1].any()


def test_another_label_size_scales_boxes_and_masks():
    o = regions([[4.0, 2.0, 12.0, 8.0]], [[0, 5.0]])
    once, twice = instances(o)[0], instances(o, size=(20, 40))[0]
    assert torch.equal(twice.boxes, once.boxes * 2)
    assert twice.masks.shape == (1, 20, 40)
    assert twice.masks.sum() == pytest.approx(4 * int(once.masks.sum()), rel=0.3)


def test_painted_labels_have_the_best_on_top_and_leave_out_the_unsure():
    masks = torch.zeros(3, 1, 6).bool()
    masks[0, :, :3], masks[1, :, 2:5], masks[2, :, 4:] = True, True, True
    found = Instances(masks, torch.tensor([0.9, 0.5, 0.49]), torch.tensor([2, 1, 3]), torch.zeros(3, 4))
    assert painted(found, (1, 6)).tolist() == [[2, 2, 2, 1, 1, 0]]


def test_semantic_labels_of_regions_are_painted():
    o = regions([[2.0, 2.0, 8.0, 8.0]], [[0.0, 5.0, 0.0]])
    found = predict(o, (10, 20), (False, True, True), ("semantic", "instance"))
    assert found.labels.shape == (1, 10, 20)
    assert torch.equal(found.labels[0] == 1, found.instances[0].masks[0])


def test_nothing_found_is_background_and_no_error():
    o = regions([[2.0, 2.0, 8.0, 8.0]], [[9.0, 0.0]])
    found = predict(o, (10, 20), (False, True), ("semantic", "instance"))
    assert not found.labels.any()
    assert len(found.instances[0]) == 0
    assert found.instances[0].masks.shape == (0, 10, 20)
