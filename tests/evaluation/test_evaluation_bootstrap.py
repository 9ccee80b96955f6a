"""Intervals: the matrix product equals resampling by hand, and covers about as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from robustseg.evaluation.bootstrap import interval, intervals, resamples
from robustseg.evaluation.tally import image_miou, mean_iou, stack


def tally(rng, images: int, classes: int = 3):
    rows = []
    for _ in range(images):
        truth, guess = rng.integers(0, classes, 30), rng.integers(0, classes, 30)
        guess = np.where(rng.random(30) < rng.random(), guess, truth)
        rows.append({
            "inter": np.bincount(truth[truth == guess], minlength=classes).tolist(),
            "pred": np.bincount(guess, minlength=classes).tolist(),
            "target": np.bincount(truth, minlength=classes).tolist(),
            "valid": 30, "right": int((truth == guess).sum()),
        })  # fmt: skip
    return stack(rows, classes)


def test_weights_count_draws_with_replacement():
    weights = resamples(7, rounds=50, seed=3)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == resamples(7, rounds=50, seed=3)).all()
    assert (weights != resamples(7, rounds=50, seed=4)).any()


def test_the_product_equals_repeating_rows():
    t = tally(np.random.default_rng(0), 9)
    weights = resamples(9, rounds=40, seed=1)
    values = {"aAcc": [], "mIoU": [], "NmIoU": []}
    for w in weights.astype(int):
        picked = t.take(np.repeat(np.arange(9), w))
        values["aAcc"].append(picked.right.sum() / picked.valid.sum())
        values["mIoU"].append(mean_iou(picked.inter.sum(0), picked.pred.sum(0), picked.target.sum(0)))
        values["NmIoU"].append(image_miou(picked).mean())
    found = intervals(t, weights)
    for name, one in values.items():
        assert found[name] == pytest.approx(np.quantile(one, [0.025, 0.975]).tolist(), abs=1e-12)


def test_it_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(5), 0
    for trial in range(150):
        right = rng.binomial(30, 0.6, 40).astype(float)
        weights = resamples(40, rounds=300, seed=trial)
        low, high = interval(weights @ right / (weights @ np.full(40, 30.0)))
        hits += low <= 0.6 <= high
    assert 0.87 <= hits / 150 <= 1.0


def test_nothing_has_no_interval():
    assert interval(np.array([np.nan, np.nan])) is None
    assert intervals(stack([], 3), resamples(0)) == {"aAcc": None, "mAcc": None, "mIoU": None, "NmIoU": None}
