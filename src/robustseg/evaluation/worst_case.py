"""The worst an attacker can do with a set of attacks, one for each image. numpy only.

aAcc falls apart over images: the minimum of each. mIoU is a ratio over the data set, so that the choice is
joint: two searches are run and the lower value counts. *Price*: make mIoU linear at the present choice, give
every image the attack with the lowest price, repeat. *Greedy*: visit images in random order and switch where
the data set's mIoU falls, until a round gains nothing. Both start from several choices, among them every
single attack, so that the result is never above any of them. Source: Croce, Singh, Hein, ECCV 2024 (greedy);
the prices are the gradient of mIoU in the class counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.tally import mean_iou

__all__ = ["lowest_accuracy", "lowest_miou", "lowest_ratio", "mean_ratio"]

Array = NDArray[np.float64]
Choice = NDArray[np.int_]
GAIN = 1e-9


def lowest_accuracy(right: Array) -> Choice:
    """``right (A,n)`` correct pixels -> ``(n,)`` the attack with the fewest on each image.

    >>> lowest_accuracy(np.array([[5., 1.], [3., 2.]])).tolist()
    [1, 0]
    """
    return right.argmin(0)


def lowest_miou(inter: Array, pred: Array, target: Array, *, seed: int = 0) -> Choice:
    """``inter, pred, target (A,n,C)`` -> ``(n,)`` a choice of attacks with low mIoU over the data set."""
    attacks, images, _ = inter.shape
    if attacks == 1:
        return np.zeros(images, dtype=int)
    each = mean_iou(inter, pred, target)
    alone = np.where(np.isnan(each), np.inf, each).argmin(0)
    return lowest_ratio(inter, pred + target - inter, [alone, lowest_accuracy(inter.sum(-1))], seed=seed)


def lowest_ratio(top: Array, bottom: Array, starts: Sequence[Choice], *, seed: int = 0) -> Choice:
    """``top, bottom (A,n,C)`` -> ``(n,)`` a choice with a low mean over C of Σ top / Σ bottom over the data set.

    ``starts``: choices to begin from, beside every single attack, so that the result is never above any of them.
    """
    attacks, images, _ = top.shape
    draw = np.random.Generator(np.random.PCG64(seed))
    begun = [*(np.full(images, a) for a in range(attacks)), *starts]
    begun.sort(key=lambda choice: _value(top, bottom, choice))
    found = [_by_price(top, bottom, start) for start in begun]
    found.sort(key=lambda choice: _value(top, bottom, choice))
    # Greedy is the dearer search: from the best single choice, as published, and to finish the best that
    # prices found.
    found += [_greedy(top, bottom, start, draw) for start in (begun[0], found[0])]
    return min(found, key=lambda choice: _value(top, bottom, choice))


def _sums(inter: Array, union: Array, choice: Choice) -> tuple[Array, Array]:
    images = np.arange(len(choice))
    return inter[choice, images].sum(0), union[choice, images].sum(0)


def mean_ratio(top: Array, bottom: Array) -> Array:
    """Mean of ``top / bottom`` over the last axis where ``bottom > 0``; infinite where nowhere."""
    there = bottom > 0
    number = there.sum(-1)
    share = np.divide(top, bottom, out=np.zeros_like(top), where=there).sum(-1)
    return np.where(number > 0, share / np.maximum(number, 1), np.inf)


def _value(inter: Array, union: Array, choice: Choice) -> float:
    return float(mean_ratio(*_sums(inter, union, choice)))


def _by_price(inter: Array, union: Array, choice: Choice, rounds: int = 50) -> Choice:
    best, lowest = choice, _value(inter, union, choice)
    for _ in range(rounds):
        top, bottom = _sums(inter, union, choice)
        safe = np.where(bottom > 0, bottom, 1.0)
        # d(I/U) = dI/U - I dU/U²; a class that is absent now has no price.
        price = inter @ np.where(bottom > 0, 1 / safe, 0.0) - union @ np.where(bottom > 0, top / safe**2, 0.0)
        choice = price.argmin(0)
        value = _value(inter, union, choice)
        if value >= lowest - GAIN:
            break
        best, lowest = choice, value
    return best


def _greedy(inter: Array, union: Array, choice: Choice, draw: np.random.Generator, rounds: int = 100) -> Choice:
    choice = choice.copy()
    top, bottom = _sums(inter, union, choice)
    value = float(mean_ratio(top, bottom))
    for _ in range(rounds):
        before = value
        for i in draw.permutation(len(choice)):
            tops = top - inter[choice[i], i] + inter[:, i]
            bottoms = bottom - union[choice[i], i] + union[:, i]
            values = mean_ratio(tops, bottoms)
            a = int(values.argmin())
            if values[a] < value - 1e-15:
                choice[i], top, bottom, value = a, tops[a], bottoms[a], float(values[a])
        if before - value <= GAIN:
            break
    return choice
