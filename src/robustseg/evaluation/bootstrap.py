"""95 % intervals by resampling images: one matrix product, because statistics add. numpy only.

The same resamples serve every attack of a summary, so that two attacks' intervals are paired.
Source: Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13 (percentile interval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.tally import Tally, image_miou, mean_iou, nan_mean, ratio

__all__ = ["FEWEST", "interval", "intervals", "resamples"]

Array = NDArray[np.float64]


FEWEST = 5  # images: with fewer, a resample often lacks whole classes and the quantiles describe that lack


def resamples(images: int, *, rounds: int = 1000, seed: int = 0) -> Array:
    """``(rounds, images)`` how often each image is drawn in each round; every row sums to ``images``."""
    if images == 0:
        return np.zeros((rounds, 0))
    draw = np.random.Generator(np.random.PCG64(seed))
    return draw.multinomial(images, np.full(images, 1.0 / images), size=rounds).astype(np.float64)


def interval(values: Array) -> list[float] | None:
    """The 2.5 % and 97.5 % quantiles, or None where no round has a value."""
    values = values[~np.isnan(values)]
    return [float(v) for v in np.quantile(values, [0.025, 0.975])] if len(values) else None


def intervals(tally: Tally, weights: Array) -> dict[str, list[float] | None]:
    """Intervals of aAcc, mAcc, mIoU and NmIoU; ``weights (R,n)`` from :func:`resamples`, a column an image.

    All None for fewer than five images: a mean over the classes of a resample that has lost classes is another score.
    """
    if len(tally) < FEWEST:
        return dict.fromkeys(("aAcc", "mAcc", "mIoU", "NmIoU"))
    inter, pred, target = weights @ tally.inter, weights @ tally.pred, weights @ tally.target
    each = image_miou(tally)
    there = ~np.isnan(each)
    return {
        "aAcc": interval(ratio(weights @ tally.right, weights @ tally.valid)),
        "mAcc": interval(nan_mean(ratio(inter, target))),
        "mIoU": interval(mean_iou(inter, pred, target)),
        "NmIoU": interval(ratio(weights[:, there] @ each[there], weights[:, there].sum(1))),
    }
