"""Per-image statistics stacked into arrays; the formulas are those of ``tasks.scoring``. numpy only.

Conventions: a class absent from truth and prediction is left out of a mean (never 0, never 1); nothing to
average gives NaN here and ``null`` in the summary; all scores are fractions in [0,1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks.scoring import SIZES, found_by_size, mean_iou, nan_mean, ratio

__all__ = ["Tally", "image_miou", "mean_iou", "nan_mean", "ratio", "recall_by_size", "stack"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """``inter, pred, target (n,C)``; ``valid, right, clean_right, flipped (n,)``; ``hits, counts (n,3)``
    objects by size: those found (at least half of their pixels right) and all."""

    inter: Array
    pred: Array
    target: Array
    valid: Array
    right: Array
    clean_right: Array
    flipped: Array
    hits: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.valid)

    def take(self, index: NDArray[np.int_] | NDArray[np.bool_]) -> Tally:
        """The images at ``index``."""
        return Tally(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def stack(stats: Sequence[Mapping[str, Any]], classes: int) -> Tally:
    """Arrays from the JSON statistics of rows."""
    n = len(stats)

    def table(name: str) -> Array:
        # rows of prompted masks have no class counts
        return np.array([s.get(name) or [0] * classes for s in stats], dtype=np.float64).reshape(n, classes)

    def column(name: str) -> Array:
        return np.array([s.get(name) or 0 for s in stats], dtype=np.float64)

    hits, counts = np.zeros((n, 3)), np.zeros((n, 3))
    for i, s in enumerate(stats):
        hits[i], counts[i] = found_by_size(s.get("objects") or ())
    return Tally(
        table("inter"),
        table("pred"),
        table("target"),
        column("valid"),
        column("right"),
        column("clean_right"),
        column("flipped"),
        hits,
        counts,
    )


def image_miou(tally: Tally) -> Array:
    """``(n,)`` mIoU of each image by itself; its mean is NmIoU."""
    return mean_iou(tally.inter, tally.pred, tally.target)


def recall_by_size(hits: Array, counts: Array) -> dict[str, float]:
    """Share of the small, medium and large objects that are found."""
    return dict(zip(SIZES, ratio(hits, counts).tolist(), strict=True))
