"""The formulas of semantic segmentation scores, on added statistics. numpy only: a report needs no torch.

Conventions: the data-set mIoU (CmIoU) leaves out classes absent from truth *and* prediction of the whole set; NmIoU is
the mean over images of the mean over classes present in that image's truth or prediction. Small, medium, large are
COCO's areas: below 32², below 96², above. An object counts as found when at least half of its pixels are right. What
has no value is NaN here and None in :func:`score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZES", "found_by_size", "iou", "mean_iou", "nan_mean", "ratio", "score"]

Array = NDArray[np.float64]

SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1 << 60)}
FOUND = 0.5


def ratio(top: Any, bottom: Any) -> Array:
    """``top / bottom``, NaN where there is nothing to divide by."""
    bottom = np.asarray(bottom)
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom > 0)


def nan_mean(values: Array) -> Array:
    """Mean over the last axis of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1).astype(np.float64))


def iou(inter: Any, pred: Any, target: Any) -> Array:
    """Intersection over union, NaN where a class is in neither truth nor prediction; any leading shape.

    >>> iou(np.array([1, 0]), np.array([2, 0]), np.array([2, 0])).round(3)
    array([0.333,   nan])
    """
    return ratio(inter, pred + target - inter)


def mean_iou(inter: Any, pred: Any, target: Any) -> Array:
    """mIoU of summed counts ``(…,C)`` over the classes present in truth or prediction.

    >>> float(mean_iou(np.array([3., 0., 0.]), np.array([4., 0., 0.]), np.array([3., 1., 0.])))
    0.375
    """
    return nan_mean(iou(inter, pred, target))


def found_by_size(objects: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """``(class, area, right pixels)`` of objects -> how many small, medium, large ones are found, and there are.

    >>> found, all_of_them = found_by_size([[0, 100, 50], [1, 100, 49], [1, 2000, 2000]])
    >>> found.tolist(), all_of_them.tolist()
    ([1.0, 1.0, 0.0], [2.0, 1.0, 0.0])
    """
    if not len(objects):
        return np.zeros(3), np.zeros(3)
    area, hit = np.array([[o[1], o[2]] for o in objects], dtype=np.float64).T
    bins = np.digitize(area, [low for low, _ in SIZES.values()][1:])
    found = np.bincount(bins, weights=hit >= FOUND * area, minlength=3)
    return found.astype(np.float64), np.bincount(bins, minlength=3).astype(np.float64)


def score(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of a set of per-image statistics; fractions in [0,1], None where nothing can be said.

    >>> row = {"inter": [1, 0], "pred": [2, 0], "target": [1, 1], "valid": 2, "right": 1}
    >>> s = score([row], ["road", "sky"]); s["aAcc"], s["mIoU"], s["NmIoU"]
    (0.5, 0.25, 0.25)
    """
    if not rows:
        return {"aAcc": None, "mAcc": None, "mIoU": None, "NmIoU": None, "IoU": {}, "recall": {}}
    each = [np.array([row[name] for row in rows], dtype=np.float64) for name in ("inter", "pred", "target")]
    inter, pred, target = (table.sum(0) for table in each)
    found, objects = found_by_size([o for row in rows for o in row.get("objects") or ()])
    recall = ratio(found, objects)
    return {
        "aAcc": _or_none(ratio(sum(row["right"] for row in rows), sum(row["valid"] for row in rows))),
        "mAcc": _or_none(nan_mean(ratio(inter, target))),
        "mIoU": _or_none(mean_iou(inter, pred, target)),
        "NmIoU": _or_none(nan_mean(mean_iou(*each))),
        "IoU": {name: _or_none(value) for name, value in zip(classes, iou(inter, pred, target))},
        "recall": {
            size: {"objects": int(n), "recall": _or_none(r)} for size, n, r in zip(SIZES, objects, recall, strict=True)
        },
    }


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
