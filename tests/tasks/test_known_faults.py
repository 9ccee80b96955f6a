"""The faults that post-processing and metrics of the common libraries are known for, one by one: ours has none.

What an attack leaves (few confident queries, much predicted void, small remains of masks) is just where they bite.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flat_queries import CAR, SKY, THINGS, queries
from robustseg.tasks import panoptic, scoring
from robustseg.tasks.decode import instances
from robustseg.tasks.decode import panoptic as decode
from robustseg.tasks.panoptic import PanopticMap
from robustseg.tasks.predict import predict
from robustseg.types import QueryOutput


def statistics(said, truth, classes=2):
    return panoptic.statistics(said, truth, classes)


# ------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("size", [(4, 1024), (1024, 4), (400, 900)])
def test_no_fixed_square_on_the_way_to_label_size(size):
    """Stripes of two pixels at network size survive a map that is four times as large and of any aspect."""
    small = (size[0] // 4, size[1] // 4)
    stripes = (torch.arange(max(small)) // 2 % 2 * 20.0 - 10)[: small[1] if small[1] > small[0] else small[0]]
    mask = stripes.expand(small) if small[1] > small[0] else stripes[:, None].expand(small)
    output = QueryOutput(torch.tensor([[[0.0, 9.0, 0.0]]]), mask[None, None].clone())
    found = decode(output, size, THINGS)[0].ids
    wanted = F.interpolate(mask[None, None], size=size, mode="bilinear", align_corners=False)[0, 0] >= 0
    assert np.array_equal(found == 1, wanted.numpy())
    assert 0.4 < (found == 1).mean() < 0.6
    assert torch.equal(instances(output, size, THINGS)[0].masks[0], wanted)


def test_ids_never_collide_when_a_stuff_class_returns():
    rows = [(SKY, 0.95, slice(0, 2)), (CAR, 0.95, slice(2, 3)), (CAR, 0.94, slice(3, 4)), (SKY, 0.93, slice(4, 6))]
    found = decode(queries(*rows, (CAR, 0.92, slice(6, 8))), (4, 8), THINGS)[0]
    assert found.ids[0].tolist() == [1, 1, 2, 3, 1, 1, 4, 4]
    assert found.categories.tolist() == [SKY, CAR, CAR, CAR]  # and merged stuff is listed once


def test_the_mask_threshold_is_used_on_the_mask():
    one = queries((CAR, 0.95, slice(0, 4)), inside=1.0)  # mask probability 0.73, with the score 0.69
    assert (decode(one, (4, 8), THINGS, mask_threshold=0.72)[0].ids == 1).sum() == 16
    assert not decode(one, (4, 8), THINGS, mask_threshold=0.74)[0].ids.any()


def test_the_score_threshold_is_on_the_score_alone():
    weak = queries((CAR, 0.81, slice(0, 4)), inside=0.1)  # score x mask probability is 0.43
    assert (decode(weak, (4, 8), THINGS)[0].ids == 1).sum() == 16
    assert not decode(weak, (4, 8), THINGS, score_threshold=0.82)[0].ids.any()


def test_the_overlap_test_uses_areas_not_weights():
    """A mask of 8 columns, 2 of them lost to a better query: 75 % stay, whatever the probabilities are."""
    for inside in (0.5, 9.0):
        rest = queries((CAR, 0.85, slice(0, 8)), inside=inside)
        better = queries((CAR, 0.99, slice(0, 2)))
        both = QueryOutput(
            torch.cat([rest.class_logits, better.class_logits], 1), torch.cat([rest.mask_logits, better.mask_logits], 1)
        )
        assert decode(both, (4, 8), THINGS)[0].ids[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
        assert decode(both, (4, 8), THINGS, overlap=0.75)[0].ids[0].tolist() == [2, 2, 1, 1, 1, 1, 1, 1]


def test_one_kept_query_does_not_fill_the_image():
    found = decode(queries((CAR, 0.95, slice(0, 2)), (SKY, 0.5, slice(2, 8))), (4, 8), THINGS)[0]
    assert found.ids[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_void_is_zero_of_one_type_with_and_without_segments():
    something, nothing = (decode(queries((CAR, p, slice(0, 4))), (4, 8), THINGS)[0] for p in (0.95, 0.5))
    assert nothing.ids.dtype == something.ids.dtype == np.int64
    assert nothing.ids.max() == 0
    assert something.ids.min() == 0


def test_the_first_segment_is_not_void():
    found = decode(queries((CAR, 0.95, slice(0, 8))), (4, 8), THINGS)[0]
    assert (found.ids == 1).all()


def test_no_object_is_never_a_segment_or_an_instance():
    quiet = QueryOutput(torch.tensor([[[0.0, 1.0, 9.0]]]), torch.full((1, 1, 4, 8), 9.0))
    assert not decode(quiet, (4, 8), THINGS)[0].ids.any()
    assert instances(quiet, (4, 8), THINGS)[0].labels.tolist() == [CAR]


def test_agrees_with_the_common_library_where_that_is_right():
    """Confident queries that share out a square of 384: none of its faults can show."""
    from transformers import Mask2FormerImageProcessor
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

    g = torch.Generator().manual_seed(0)
    owner = F.interpolate(torch.randn(1, 6, 5, 5, generator=g), (96, 96), mode="bicubic").argmax(1)
    masks = torch.where(F.one_hot(owner[0], 6).permute(2, 0, 1) > 0, 9.0, -9.0)[None]
    classes = F.one_hot(torch.tensor([[SKY, CAR, CAR, CAR, CAR, CAR]]), 3) * 9.0
    theirs = Mask2FormerImageProcessor(do_resize=False).post_process_panoptic_segmentation(
        Mask2FormerForUniversalSegmentationOutput(class_queries_logits=classes, masks_queries_logits=masks),
        threshold=0.8, label_ids_to_fuse={SKY}, target_sizes=[(384, 384)],
    )[0]  # fmt: skip
    ours = decode(QueryOutput(classes, masks), (384, 384), THINGS)[0]
    ids = theirs["segmentation"].numpy()
    assert len(theirs["segments_info"]) == len(ours.categories) == 6
    for segment in theirs["segments_info"]:
        where = ids == segment["id"]
        mine = np.bincount(ours.ids[where]).argmax()
        # at borders no mask reaches one half; theirs is the argmax all the same
        assert (ours.ids[where] == mine).mean() > 0.97
        assert ours.categories[mine - 1] == segment["label_id"]


# ------------------------------------------------------------------------------------------------ scoring


def test_predicted_void_is_not_forgiven():
    truth = PanopticMap(np.array([[1] * 10 + [2] * 10]), np.array([SKY, CAR]))
    erased = np.where(np.arange(20) % 10 < 6, 0, truth.ids)
    assert panoptic.quality([statistics(PanopticMap(erased, truth.categories), truth)], THINGS)["PQ"] == 0.0


def test_all_void_is_zero_and_not_undefined():
    truth = PanopticMap(np.array([[1, 1, 2, 2]]), np.array([SKY, CAR]))
    nothing = PanopticMap(np.zeros((1, 4), int), np.zeros(0, int))
    found = panoptic.quality([statistics(nothing, truth)], THINGS)
    assert (found["PQ"], found["SQ"], found["RQ"]) == (0.0, 0.0, 0.0)


def test_agrees_with_torchmetrics_where_nothing_is_predicted_void():
    from torchmetrics.detection import PanopticQuality

    rng = np.random.default_rng(0)
    rows, metric = [], PanopticQuality(things={1, 2}, stuffs={0, 3})
    for _ in range(4):

        def blocks():
            return rng.integers(1, 7, (6, 8)).repeat(5, 0).repeat(5, 1)

        truth = PanopticMap(blocks(), np.array([0, 1, 1, 2, 2, 3]))
        noise = rng.random((6, 8)).repeat(5, 0).repeat(5, 1) < 0.25
        said = PanopticMap(np.where(noise, blocks(), truth.ids), truth.categories)
        rows.append(statistics(said, truth, 4))
        pairs = [torch.from_numpy(np.stack([m.categories[m.ids - 1], m.ids], -1))[None] for m in (said, truth)]
        metric.update(*pairs)
    ours = panoptic.quality(rows, [False, True, True, False])["PQ"]
    assert ours == pytest.approx(metric.compute().item(), abs=1e-6)
    assert 0.2 < ours < 0.95


def test_iou_of_a_data_set_is_not_a_mean_over_images():
    """A class right on 90 pixels of one image and missing 1 in the other: 0.989, not one half."""
    rows = [
        {"inter": [90, 0], "pred": [90, 0], "target": [90, 0], "valid": 90, "right": 90},
        {"inter": [0, 99], "pred": [0, 100], "target": [1, 99], "valid": 100, "right": 99},
    ]
    assert scoring.score(rows, ["car", "road"])["IoU"]["car"] == pytest.approx(90 / 91)


def test_semantic_labels_are_scores_times_masks_and_void_nowhere():
    """Label maps come from all queries; the thresholds of panoptic maps have no part in them."""
    output = queries((CAR, 0.6, slice(0, 4)), (SKY, 0.5, slice(4, 8)))
    found = predict(output, (4, 8), THINGS, ("semantic", "panoptic"))
    assert found.labels[0, 0].tolist() == [CAR] * 4 + [SKY] * 4
    assert not found.panoptic[0].ids.any()
