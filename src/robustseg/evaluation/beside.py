"""Pictures beside the clean ones: what a print changes, in all and against another print, with paired intervals.

A row is `tasks.semantic.statistics` of a prediction against a reference, so everything here adds. ``changed`` is the
share of the counted pixels predicted otherwise than the reference: 1 - aAcc. Source of the intervals:
Efron & Tibshirani, 1993, ch. 13, by resampling pictures, the same draws for every print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.bootstrap import FEWEST, interval, resamples
from robustseg.evaluation.tally import Tally, mean_iou, ratio, stack

__all__ = ["Row", "compared", "difference", "score"]

Row = Mapping[str, Any]
Array = NDArray[np.float64]


def score(rows: Sequence[Row], classes: Sequence[str], share: str = "changed") -> dict[str, float | None]:
    """``changed`` and ``mIoU`` of some rows together; None where no pixel counts. ``share``: another name of the first.

    >>> row = {"inter": [1, 0], "pred": [2, 0], "target": [1, 1], "valid": 2, "right": 1}
    >>> score([row], ["road", "sky"])
    {'changed': 0.5, 'mIoU': 0.25}
    """
    drawn = _drawn(stack(rows, len(classes)), np.ones((1, len(rows))), share)
    return {name: None if np.isnan(v[0]) else float(v[0]) for name, v in drawn.items()}


def compared(rows: Sequence[Row], classes: Sequence[str], share: str = "changed") -> dict[str, Any]:
    """Scores of one print over all pictures, their intervals, and what became of each class.

    ``classes``: of every class in reference or prediction ``share`` (of the counted pixels, in the reference), ``gone``
    (of its pixels, those that are no longer it) and ``new`` (pixels newly taken for it, as a share of the counted).
    """
    t = stack(rows, len(classes))
    drawn = _drawn(t, resamples(len(rows)), share)
    few = len(rows) < FEWEST
    inter, pred, target = t.inter.sum(0), t.pred.sum(0), t.target.sum(0)
    valid = t.valid.sum()
    table = {
        name: {
            "share": float(target[c] / valid),
            "gone": float((target[c] - inter[c]) / target[c]) if target[c] else None,
            "new": float((pred[c] - inter[c]) / valid),
        }
        for c, name in enumerate(classes)
        if valid and (pred[c] or target[c])
    }
    return {
        "pictures": len(rows),
        **score(rows, classes, share),
        "ci95": {name: None if few else interval(v) for name, v in drawn.items()},
        "classes": table,
    }


def difference(
    first: Sequence[Row], second: Sequence[Row], classes: Sequence[str], share: str = "changed"
) -> dict[str, Any]:
    """Scores of ``first`` minus those of ``second``, picture by picture the same ones, with their intervals.

    ``more``: in how many pictures the first changes more than the second. None for intervals of fewer than five
    pictures.
    """
    a, b = stack(first, len(classes)), stack(second, len(classes))
    weights = np.vstack([np.ones((1, len(first))), resamples(len(first))])
    one, two = _drawn(a, weights, share), _drawn(b, weights, share)
    gaps = {name: one[name] - two[name] for name in one}
    few = len(first) < FEWEST
    each = 1 - ratio(a.right, a.valid), 1 - ratio(b.right, b.valid)
    return {
        "pictures": len(first),
        **{name: None if np.isnan(v[0]) else float(v[0]) for name, v in gaps.items()},
        "ci95": {name: None if few else interval(v[1:]) for name, v in gaps.items()},
        "more": int((each[0] > each[1]).sum()),
    }


def _drawn(t: Tally, weights: Array, share: str) -> dict[str, Array]:
    """Of every round ``(R,)``, its pictures weighted."""
    inter, pred, target = weights @ t.inter, weights @ t.pred, weights @ t.target
    return {
        share: 1 - ratio(weights @ t.right, weights @ t.valid),
        "mIoU": mean_iou(inter, pred, target),
    }
