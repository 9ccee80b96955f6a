"""Scores from added counts: the official rules on small cases, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustseg.tasks.scoring import score
from robustseg.tasks.semantic import statistics

NAMES = ["road", "sky", "person", "pole"]


def rows(predictions, truths, instances=None):
    p, y = torch.tensor(predictions).unsqueeze(1), torch.tensor(truths).unsqueeze(1)
    ids = None if instances is None else torch.tensor(instances).unsqueeze(1)
    return statistics(p, y, classes=4, ignore=255, instances=ids)


def test_dataset_iou_adds_counts_before_it_divides():
    """Class 0: 3 of 3 in one image, 0 of 1 in the other, once predicted falsely: 3 / (3 + 1 + 1) = 0.6, not a mean."""
    s = score(rows([[0, 0, 0, 1], [1, 1, 1, 0]], [[0, 0, 0, 1], [0, 1, 1, 1]]), NAMES)
    assert s["IoU"]["road"] == pytest.approx(3 / 5)
    assert s["IoU"]["sky"] == pytest.approx(3 / 5)
    assert s["mIoU"] == pytest.approx(3 / 5)
    assert s["NmIoU"] == pytest.approx((1 + (0 / 2 + 2 / 4) / 2) / 2)
    assert s["aAcc"] == pytest.approx(6 / 8)
    assert s["mAcc"] == pytest.approx((3 / 4 + 3 / 4) / 2)


def test_absent_classes_are_left_out_and_invented_ones_are_not():
    s = score(rows([[0, 0, 2, 255 - 255]], [[0, 0, 0, 255]]), NAMES)
    assert s["IoU"] == {"road": pytest.approx(2 / 3), "sky": None, "person": 0.0, "pole": None}
    assert s["mIoU"] == pytest.approx(1 / 3)
    assert s["mAcc"] == pytest.approx(2 / 3)  # over classes of the truth alone


def test_agreement_with_a_confusion_matrix_on_random_maps():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 4, (5, 30)), rng.integers(0, 4, (5, 30))
    y[rng.random(y.shape) < 0.1] = 255
    s = score(rows(p.tolist(), y.tolist()), NAMES)
    keep = y != 255
    m = np.zeros((4, 4))
    np.add.at(m, (y[keep], p[keep]), 1)
    expected = np.diag(m) / (m.sum(0) + m.sum(1) - np.diag(m))
    assert list(s["IoU"].values()) == pytest.approx(expected.tolist())
    assert s["mIoU"] == pytest.approx(expected.mean())
    assert s["aAcc"] == pytest.approx(np.diag(m).sum() / m.sum())
    assert s["mAcc"] == pytest.approx((np.diag(m) / m.sum(1)).mean())


def test_recall_by_size_counts_objects_half_found():
    truth = [[2] * 40 + [1] * 10]
    ids = [[1] * 20 + [2] * 20 + [0] * 10]
    found = [[2] * 10 + [0] * 10 + [2] * 9 + [0] * 11 + [1] * 10]
    s = score(rows(found, truth, ids), NAMES)
    assert s["recall"]["small"] == {"objects": 2, "recall": 0.5}
    assert s["recall"]["large"] == {"objects": 0, "recall": None}


def test_nothing_gives_none():
    assert score([], NAMES)["mIoU"] is None
    void = score(rows([[0, 1]], [[255, 255]]), NAMES)
    assert [void[k] for k in ("aAcc", "mAcc", "mIoU", "NmIoU")] == [None] * 4
