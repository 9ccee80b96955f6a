"""The worst case against every assignment there is, on cases small enough to try them all."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from robustseg.evaluation.tally import mean_iou
from robustseg.evaluation.worst_case import _by_price, _greedy, lowest_accuracy, lowest_miou


def counts(rng, attacks: int, images: int, classes: int, pixels: int = 40):
    """Random predictions of random truths, as counts ``(A,n,C)``."""
    inter, pred, target = (np.zeros((attacks, images, classes)) for _ in range(3))
    for i in range(images):
        truth = rng.integers(0, rng.integers(1, classes + 1), pixels)
        for a in range(attacks):
            wrong = rng.random(pixels) < rng.random()
            guess = np.where(wrong, rng.integers(0, classes, pixels), truth)
            inter[a, i] = np.bincount(truth[guess == truth], minlength=classes)
            pred[a, i], target[a, i] = np.bincount(guess, minlength=classes), np.bincount(truth, minlength=classes)
    return inter, pred, target


def value(inter, pred, target, choice) -> float:
    at = np.arange(len(choice))
    return float(mean_iou(inter[choice, at].sum(0), pred[choice, at].sum(0), target[choice, at].sum(0)))


def brute(inter, pred, target) -> float:
    attacks, images, _ = inter.shape
    return min(value(inter, pred, target, np.array(c)) for c in product(range(attacks), repeat=images))


def test_a_case_to_check_by_hand():
    # Two images of one class each, 4 pixels: attack 0 takes image 0 wholly, attack 1 takes image 1 wholly.
    inter = np.array([[[0, 0], [0, 4]], [[4, 0], [0, 0]]], dtype=float)
    target = np.array([[[4, 0], [0, 4]]] * 2, dtype=float)
    pred = np.array([[[0, 4], [0, 4]], [[4, 0], [4, 0]]], dtype=float)
    assert lowest_miou(inter, pred, target).tolist() == [0, 1]
    assert lowest_accuracy(inter.sum(-1)).tolist() == [0, 1]
    assert value(inter, pred, target, np.array([0, 1])) == 0


@pytest.mark.parametrize("shape", [(2, 6, 3), (3, 5, 4), (4, 4, 2), (2, 8, 5)])
def test_the_search_reaches_the_best_of_all_assignments(shape):
    gaps = []
    for seed in range(25):
        case = counts(np.random.default_rng(seed), *shape)
        gaps.append(value(*case, lowest_miou(*case)) - brute(*case))
    assert min(gaps) >= -1e-12  # brute force is the best there is
    assert np.mean(np.array(gaps) < 1e-9) >= 0.9  # most are found exactly
    assert max(gaps) < 0.02  # and the rest nearly: the problem is combinatorial


@pytest.mark.parametrize("search", ["price", "greedy"])
def test_each_search_alone_improves_on_the_best_single_attack(search):
    better = 0
    for seed in range(20):
        inter, pred, target = case = counts(np.random.default_rng(seed), 3, 20, 4)
        start = min((np.full(20, a) for a in range(3)), key=lambda c: value(*case, c))
        union = pred + target - inter
        found = _by_price(inter, union, start) if search == "price" else _greedy(
            inter, union, start, np.random.default_rng(0)
        )  # fmt: skip
        assert value(*case, found) <= value(*case, start)
        better += value(*case, found) < value(*case, start) - 1e-6
    assert better >= 18


def test_never_above_any_single_attack_nor_above_the_choice_by_accuracy():
    for seed in range(20):
        case = counts(np.random.default_rng(seed), 4, 30, 6)
        found = value(*case, lowest_miou(*case))
        singles = [value(*case, np.full(30, a)) for a in range(4)]
        assert found <= min(singles) + 1e-12
        assert found <= value(*case, lowest_accuracy(case[0].sum(-1))) + 1e-12


def test_one_attack_is_its_own_worst_case_and_no_image_is_no_error():
    assert lowest_miou(*counts(np.random.default_rng(0), 1, 5, 3)).tolist() == [0] * 5
    assert lowest_miou(*(np.zeros((2, 0, 3)),) * 3).tolist() == []


def test_greedy_finishes_what_prices_leave():
    # found by search: prices stop at 0.2025, one switch of a single image goes lower
    rng, (attacks, images, classes) = np.random.default_rng(490), (3, 4, 3)
    target = np.broadcast_to(rng.integers(0, 9, (1, images, classes)), (attacks, images, classes)).astype(float)
    inter = np.floor(target * rng.random(target.shape))
    pred = inter + rng.integers(0, 6, target.shape)
    found = value(inter, pred, target, lowest_miou(inter, pred, target))
    starts = [np.full(images, a) for a in range(attacks)]
    prices = min(value(inter, pred, target, _by_price(inter, pred + target - inter, s)) for s in starts)
    assert found < prices - 1e-3
    assert found == pytest.approx(brute(inter, pred, target))
