"""How two runs differ on the same images: the difference of mIoU with an interval from shared resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustseg.report.load import Run

__all__ = ["Difference", "difference"]


@dataclass(frozen=True)
class Difference:
    """mIoU of ``b`` minus mIoU of ``a`` over ``images`` common images, with its 95 % interval."""

    value: float
    low: float
    high: float
    images: int

    @property
    def clear(self) -> bool:
        """True where the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def difference(a: Run, b: Run, spec: str) -> Difference | None:
    """The paired difference under one attack ("" = clean); None where the runs share fewer than two scored images.

    Both runs are resampled by the same draws of images, so that what is hard in both cancels. Classes must be the same.
    Source: Efron & Tibshirani, 1993, ch. 13 (percentile interval).
    """
    from robustseg.evaluation.bootstrap import interval, resamples
    from robustseg.evaluation.tally import mean_iou, stack

    classes = a.summary.get("classes") or a.info.get("classes")
    if not classes or classes != (b.summary.get("classes") or b.info.get("classes")):
        return None
    ours = {r.image: r for r in a.rows.get(spec, ()) if r.status == "ok"}
    theirs = {r.image: r for r in b.rows.get(spec, ()) if r.status == "ok"}
    common = [i for i, r in ours.items() if i in theirs and r.content == theirs[i].content]
    if len(common) < 2:
        return None
    weights = np.vstack([np.ones((1, len(common))), resamples(len(common))])
    values = []
    for rows in (ours, theirs):
        t = stack([rows[i].stats for i in common], len(classes))
        values.append(mean_iou(weights @ t.inter, weights @ t.pred, weights @ t.target))
    gap = values[1] - values[0]
    pair = interval(gap[1:])
    return None if pair is None else Difference(float(gap[0]), pair[0], pair[1], len(common))
