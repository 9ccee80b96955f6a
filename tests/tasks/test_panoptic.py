"""Panoptic quality by hand: void, crowd, and the border at IoU 1/2."""

from __future__ import annotations

import numpy as np
import pytest

from robustseg.tasks.panoptic import PanopticMap, quality, statistics


def row(*ids):
    return np.array([ids])


def score(prediction, truth, classes=2, things=(True, False)):
    return quality([statistics(prediction, truth, classes)], things)


def test_identity_is_one_and_all_void_is_zero():
    truth = PanopticMap(row(1, 1, 2, 2), np.array([0, 1]))
    assert score(truth, truth)["PQ"] == 1.0
    # predicted void is forgiven nowhere: two misses, no match
    nothing = PanopticMap(row(0, 0, 0, 0), np.array([], int))
    assert score(nothing, truth)["PQ"] == 0.0


def test_a_segment_erased_by_60_percent_is_a_miss():
    truth = PanopticMap(row(*[1] * 10), np.array([0]))
    rest = PanopticMap(row(*[1] * 4 + [0] * 6), np.array([0]))
    stats = statistics(rest, truth, 1)
    assert (stats["tp"], stats["fp"], stats["fn"]) == ([0], [1], [1])


def test_an_iou_of_exactly_one_half_does_not_match():
    truth = PanopticMap(row(1, 1, 1, 1), np.array([0]))
    half = PanopticMap(row(1, 1, 2, 2), np.array([0, 1]))
    stats = statistics(half, truth, 2)
    assert stats["tp"] == [0, 0]
    assert stats["fp"] == [1, 1]
    assert stats["fn"] == [1, 0]


def test_true_void_leaves_the_union_and_excuses():
    truth = PanopticMap(row(1, 1, 0, 0, 0), np.array([0]))
    long = PanopticMap(row(1, 1, 1, 2, 2), np.array([0, 1]))
    stats = statistics(long, truth, 2)
    assert stats["iou"] == [1.0, 0.0]  # the pixel on void counts for nothing
    assert stats["fp"] == [0, 0]  # and a segment wholly on void is no false positive


def test_a_crowd_is_no_miss_and_excuses_its_class_only():
    truth = PanopticMap(row(1, 1, 1, 1), np.array([0]), np.array([True]))
    same, other = PanopticMap(row(1, 1, 1, 0), np.array([0])), PanopticMap(row(1, 1, 1, 0), np.array([1]))
    assert statistics(same, truth, 2) == {"iou": [0.0, 0.0], "tp": [0, 0], "fp": [0, 0], "fn": [0, 0]}
    assert statistics(other, truth, 2)["fp"] == [0, 1]


def test_absent_classes_are_left_out_and_statistics_add():
    truth = PanopticMap(row(1, 1, 1, 2), np.array([0, 0]))
    found = PanopticMap(row(1, 1, 1, 0), np.array([0]))
    stats = statistics(found, truth, 3)
    scores = quality([stats, stats], [True, True, False])
    assert scores["PQ"] == pytest.approx(2 / (2 + 1))  # two matches of IoU 1, two misses
    assert scores["SQ"] == 1.0
    assert scores["PQ_st"] is None
    assert scores["per_class"] == [pytest.approx(2 / 3), None, None]


def test_an_id_without_a_category_is_refused():
    with pytest.raises(ValueError, match="id 2 has no category"):
        PanopticMap(row(1, 2), np.array([0]))


def test_several_crowds_of_a_class_excuse_together():
    truth = PanopticMap(row(1, 1, 2, 2, 3, 3), np.array([0, 0, 1]), np.array([True, True, False]))
    found = PanopticMap(row(1, 1, 1, 1, 1, 2), np.array([0, 1]))
    stats = statistics(found, truth, 2)
    assert stats == {"iou": [0.0, 0.0], "tp": [0, 0], "fp": [0, 1], "fn": [0, 1]}
