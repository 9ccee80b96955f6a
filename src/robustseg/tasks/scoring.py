"""Scores of semantic segmentation from added statistics. numpy only: a report needs no torch.

Conventions: the data-set mIoU (CmIoU) leaves out classes absent from truth *and* prediction of the whole set; NmIoU is
the mean over images of the mean over classes present in that image's truth or prediction. Small, medium, large are
COCO's areas: below 32², below 96², above. An object counts as found when at least half of its pixels are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["SIZES", "matrix", "score"]

SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1 << 60)}
FOUND = 0.5


def matrix(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """The statistic ``name`` of all rows, ``(n, C)`` int64."""
    return np.array([row[name] for row in rows], dtype=np.int64)


def iou(inter: np.ndarray, pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Intersection over union, NaN where a class is in neither truth nor prediction; any leading shape.

    >>> iou(np.array([1, 0]), np.array([2, 0]), np.array([2, 0])).round(3)
    array([0.333,   nan])
    """
    union = pred + target - inter
    return np.divide(inter, union, out=np.full(np.shape(inter), np.nan), where=union > 0)


def score(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of a set of per-image statistics; fractions in [0,1], None where nothing can be said.

    >>> row = {"inter": [1, 0], "pred": [2, 0], "target": [1, 1], "valid": 2, "right": 1}
    >>> s = score([row], ["road", "sky"]); s["aAcc"], s["mIoU"], s["NmIoU"]
    (0.5, 0.25, 0.25)
    """
    if not rows:
        return {"aAcc": None, "mAcc": None, "mIoU": None, "NmIoU": None, "IoU": {}, "recall": {}}
    inter, pred, target = (matrix(rows, name) for name in ("inter", "pred", "target"))
    per_class = iou(inter.sum(0), pred.sum(0), target.sum(0))
    per_image = iou(inter, pred, target)
    seen = target.sum(0) > 0
    recall = inter.sum(0)[seen] / target.sum(0)[seen]
    valid = sum(row["valid"] for row in rows)
    return {
        "aAcc": _or_none(sum(row["right"] for row in rows) / valid if valid else np.nan),
        "mAcc": _or_none(recall.mean() if seen.any() else np.nan),
        "mIoU": _or_none(_mean(per_class)),
        "NmIoU": _or_none(_mean(np.array([_mean(image) for image in per_image]))),
        "IoU": {name: _or_none(value) for name, value in zip(classes, per_class)},
        "recall": _recall_by_size(rows),
    }


def _recall_by_size(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    objects = np.array([o for row in rows for o in row.get("objects", ())], dtype=np.int64).reshape(-1, 3)
    found = objects[:, 2] >= FOUND * objects[:, 1]
    table = {}
    for name, (low, high) in SIZES.items():
        here = (objects[:, 1] >= low) & (objects[:, 1] < high)
        table[name] = {"objects": int(here.sum()), "recall": _or_none(found[here].mean() if here.any() else np.nan)}
    return table


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
