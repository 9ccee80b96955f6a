"""The joint choice for panoptic quality: never above one attack, and as low as trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from robustseg.evaluation.worst_pq import lowest_pq
from robustseg.tasks.panoptic import quality


def drawn(seed, attacks=3, images=5, classes=4):
    draw = np.random.default_rng(seed)
    true = draw.integers(0, 3, (images, classes))
    tp = np.minimum(draw.integers(0, 3, (attacks, images, classes)), true)
    iou = tp * draw.uniform(0.5, 1.0, tp.shape)
    fp = draw.integers(0, 3, tp.shape) * draw.integers(0, 2, tp.shape)
    return tuple(a.astype(float) for a in (iou, tp, fp, true - tp))


def value(tables, choice):
    images = np.arange(len(choice))
    rows = [dict(zip(("iou", "tp", "fp", "fn"), row)) for row in zip(*(t[np.asarray(choice), images] for t in tables))]
    return quality(rows, [True] * tables[0].shape[-1])["PQ"]


@pytest.mark.parametrize("seed", range(30))
def test_as_low_as_trying_everything(seed):
    tables = drawn(seed)
    best = min(value(tables, c) for c in product(range(3), repeat=5))
    assert value(tables, lowest_pq(*tables)) <= best + 0.01


def test_mostly_the_very_lowest():
    hits = 0
    for seed in range(30):
        tables = drawn(seed)
        best = min(value(tables, c) for c in product(range(3), repeat=5))
        hits += value(tables, lowest_pq(*tables)) <= best + 1e-12
    assert hits >= 27


@pytest.mark.parametrize("seed", range(10))
def test_never_above_a_single_attack(seed):
    tables = drawn(seed, attacks=6, images=40, classes=9)
    lowest = value(tables, lowest_pq(*tables))
    assert lowest <= min(value(tables, [a] * 40) for a in range(6))
    each = [min(range(6), key=lambda a: value(tables, [a] * 40))] * 40
    assert lowest < value(tables, each) - 0.01  # and well below, where attacks differ from image to image


def test_a_false_positive_elsewhere_can_be_worth_more_than_a_miss():
    # class 0: three images found well; attack 1 loses nothing and invents three segments of class 0
    iou = np.array([[[0.9], [0.9], [0.0]], [[0.9], [0.9], [0.9]]])
    tp = np.ceil(iou)
    fn, fp = 1 - tp, np.array([[[0.0]] * 3, [[0.0], [0.0], [9.0]]])
    assert lowest_pq(iou, tp, fp, fn).tolist()[2] == 1


def test_one_attack_and_no_image():
    assert lowest_pq(*(np.ones((1, 3, 2)),) * 4).tolist() == [0, 0, 0]
    assert lowest_pq(*(np.ones((2, 0, 2)),) * 4).tolist() == []
