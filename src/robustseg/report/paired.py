"""How two runs differ on the same images: the difference of a score with an interval from shared resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.report.load import Run

__all__ = ["Difference", "difference"]

Array = NDArray[np.float64]
PARTS = {"PQ": "panoptic", "AP": "instance", "IoU_prompted": "prompted"}  # of a row
AP_ROUNDS = 200  # AP ranks the detections of all images anew in every round


@dataclass(frozen=True)
class Difference:
    """A score of ``b`` minus that of ``a`` over ``images`` common images, with its 95 % interval where it has one."""

    value: float
    low: float | None
    high: float | None
    images: int

    @property
    def clear(self) -> bool:
        """True where the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def difference(a: Run, b: Run, spec: str, score: str = "mIoU") -> Difference | None:
    """The paired difference under one attack ("" = clean); None where the runs share fewer than two scored images.

    Both runs are resampled by the same draws of images, so that what is hard in both cancels; fewer than five images
    have no interval, as everywhere (``bootstrap.FEWEST``). Classes must be the same.
    ``score``: mIoU, PQ, AP, IoU_prompted or accuracy; None too where either run has no such rows.
    Source: Efron & Tibshirani, 1993, ch. 13 (percentile interval).
    """
    from robustseg.evaluation.bootstrap import FEWEST, interval, resamples

    classes = a.summary.get("classes") or a.info.get("classes")
    if not classes or classes != (b.summary.get("classes") or b.info.get("classes")):
        return None
    ours = {r.image: r for r in a.rows.get(spec, ()) if r.status == "ok"}
    theirs = {r.image: r for r in b.rows.get(spec, ()) if r.status == "ok"}
    common = [i for i, r in ours.items() if i in theirs and r.content == theirs[i].content]
    if len(common) < 2:
        return None
    rounds = AP_ROUNDS if score == "AP" else 1000
    weights = np.vstack([np.ones((1, len(common))), resamples(len(common), rounds=rounds)])
    values = []
    for run, rows in ((a, ours), (b, theirs)):
        drawn = resampled(run, [rows[i].stats or {} for i in common], classes, weights, score)
        if drawn is None:
            return None
        values.append(drawn)
    gap = values[1] - values[0]
    pair = interval(gap[1:])
    if pair is None or np.isnan(gap[0]):
        return None
    low, high = pair if len(common) >= FEWEST else (None, None)
    return Difference(float(gap[0]), low, high, len(common))


def resampled(
    run: Run, stats: Sequence[Mapping[str, Any]], classes: Sequence[str], weights: Array, score: str
) -> Array | None:
    """The score ``(R,)`` of weighted images ``(R,n)``; None where a row lacks what it is made of."""
    from robustseg.evaluation.tally import mean_iou, ratio, stack
    from robustseg.tasks import instance, panoptic

    part = PARTS.get(score)
    if part is not None and not all(part in s for s in stats):
        return None
    if score == "PQ":
        tables = panoptic.table([s["panoptic"] for s in stats], len(classes))
        sums = (weights @ tables.reshape(len(stats), -1)).reshape(len(weights), *tables.shape[1:])
        things = set(run.info.get("things") or ())
        return panoptic.quality_of(sums, [c in things for c in classes])["PQ"]
    if score == "AP":
        return instance.resampled([s["instance"] for s in stats], classes, weights)["AP"]
    if score == "IoU_prompted":
        sums = np.array([[sum(s["prompted"]["iou"]), len(s["prompted"]["iou"])] for s in stats], np.float64)
        return ratio(weights @ sums[:, 0], weights @ sums[:, 1])
    t = stack(stats, len(classes))
    if score == "accuracy":
        return ratio(weights @ t.right, weights @ t.valid)
    return mean_iou(weights @ t.inter, weights @ t.pred, weights @ t.target)
