"""The decoders keep the original rules where the usual post-processing breaks them."""

from __future__ import annotations

import pytest
import torch

from flat_queries import CAR, SKY, THINGS, queries
from robustseg.tasks.decode import instances, panoptic


def test_ids_are_given_once_after_a_stuff_class_returns():
    found = panoptic(
        queries(
            (SKY, 0.95, slice(0, 2)),
            (CAR, 0.95, slice(2, 4)),
            (CAR, 0.94, slice(4, 5)),
            (SKY, 0.93, slice(5, 6)),
            (CAR, 0.92, slice(6, 8)),
        ),
        (4, 8),
        THINGS,
    )[0]
    assert found.ids[0].tolist() == [1, 1, 2, 2, 3, 1, 4, 4]
    assert found.categories.tolist() == [SKY, CAR, CAR, CAR]


def test_one_kept_query_does_not_fill_the_image():
    found = panoptic(queries((CAR, 0.95, slice(0, 2)), (SKY, 0.5, slice(2, 8))), (4, 8), THINGS)[0]
    assert found.ids[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_the_mask_threshold_is_on_the_mask_alone():
    # mask probability 0.73, score 0.85: 0.62 together; the query stays although 0.73 * 0.62 < 1/2
    found = panoptic(queries((CAR, 0.85, slice(0, 4)), inside=1.0), (4, 8), THINGS)[0]
    assert found.ids[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_an_overlapped_segment_is_dropped_and_its_pixels_stay_void():
    found = panoptic(queries((CAR, 0.85, slice(0, 8)), (CAR, 0.99, slice(0, 4))), (4, 8), THINGS)[0]
    assert found.ids[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_nothing_kept_is_all_void():
    found = panoptic(queries((CAR, 0.79, slice(0, 8))), (4, 8), THINGS)[0]
    assert not found.ids.any()
    assert len(found.categories) == 0


def test_thin_masks_survive_any_aspect():
    # one column of 64 would vanish or widen on its way through a fixed square
    output = queries((CAR, 0.95, slice(20, 21)), size=(4, 64))
    found = panoptic(output, (4, 64), THINGS)[0]
    assert (found.ids == 1).sum() == 4
    assert found.ids[0].nonzero()[0].tolist() == [20]


def test_instances_are_things_scored_by_class_and_mask():
    output = queries((SKY, 0.95, slice(0, 4)), (CAR, 0.9, slice(4, 8)), inside=1.0)
    found = instances(output, (4, 8), THINGS)[0]
    assert set(found.labels.tolist()) == {CAR}
    assert found.scores[0].item() == pytest.approx(0.9 * torch.tensor(1.0).sigmoid().item(), abs=1e-5)
    assert found.masks[0][0].tolist() == [False] * 4 + [True] * 4
