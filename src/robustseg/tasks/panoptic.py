"""Panoptic quality after the official rules, from per-image statistics that add.

Convention: a panoptic map is an id image, 0 = void, segment ``k`` has id ``k + 1``; its category and crowd flag are
the ``k``-th entries. Rules (Kirillov et al., CVPR 2019, and the official tool): a predicted and a true segment of one
class match when their IoU exceeds 1/2; true void is taken out of the union; a crowd region is no miss, and a prediction
that lies by more than half on true void or on a crowd of its class is no false positive. *Predicted* void is
forgiven nowhere: a segment erased to void is a miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks.overlap import joint

__all__ = ["PanopticMap", "quality", "quality_of", "statistics", "table"]


@dataclass(frozen=True)
class PanopticMap:
    """``ids (H,W)`` int, 0 = void; ``categories (S,)`` int, class of segment id ``k+1``; ``crowd (S,)`` bool."""

    ids: NDArray[np.integer[Any]]
    categories: NDArray[np.integer[Any]]
    crowd: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.ids.size and int(self.ids.max()) > len(self.categories):
            raise ValueError(f"id {int(self.ids.max())} has no category; there are {len(self.categories)} segments")


def statistics(prediction: PanopticMap, truth: PanopticMap, classes: int) -> dict[str, list[float]]:
    """Per class: ``iou`` summed over matches, ``tp``, ``fp``, ``fn``. JSON-able; adds over images.

    >>> ids = np.array([[1, 1, 2, 0]])
    >>> m = PanopticMap(ids, np.array([0, 1]))
    >>> statistics(m, m, 2)
    {'iou': [1.0, 1.0], 'tp': [1, 1], 'fp': [0, 0], 'fn': [0, 0]}
    """
    s, t = len(prediction.categories) + 1, len(truth.categories) + 1
    common = joint(truth.ids, prediction.ids, t, s)
    area_truth, area = common.sum(1)[1:], common.sum(0)[1:]
    void, inter = common[0, 1:], common[1:, 1:]
    crowd = np.zeros(t - 1, bool) if truth.crowd is None else np.asarray(truth.crowd, bool)
    same = truth.categories[:, None] == prediction.categories[None]
    union = area_truth[:, None] + area[None] - inter - void[None]
    # exact in integers: IoU > 1/2 with no rounding at the border
    match = same & ~crowd[:, None] & (2 * inter > union)
    iou = np.where(match, inter / np.maximum(union, 1), 0.0)

    on_crowd = np.where(same & crowd[:, None], inter, 0).sum(0)
    excused = 2 * (void + on_crowd) > area
    lost = (area_truth > 0) & ~crowd & ~match.any(1)
    invented = (area > 0) & ~match.any(0) & ~excused

    def per_class(categories: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(categories, weights=weights, minlength=classes)[:classes]

    return {
        "iou": per_class(truth.categories, iou.sum(1)).tolist(),
        "tp": per_class(truth.categories, match.any(1)).astype(int).tolist(),
        "fp": per_class(prediction.categories, invented).astype(int).tolist(),
        "fn": per_class(truth.categories, lost).astype(int).tolist(),
    }


def table(rows: Sequence[Mapping[str, Sequence[float]]], classes: int) -> NDArray[np.float64]:
    """Statistics of images as ``(n,4,C)``: IoU sum, TP, FP, FN; sums over images are again such tables."""
    names = ("iou", "tp", "fp", "fn")
    return np.array([[row[name] for name in names] for row in rows], np.float64).reshape(len(rows), len(names), classes)


def quality_of(tables: NDArray[np.float64], things: Sequence[bool]) -> dict[str, NDArray[np.float64]]:
    """``PQ, SQ, RQ, PQ_th, PQ_st …`` of summed tables ``(…,4,C)``: each ``(…)``, ``per_class (…,C)``; NaN: nothing.

    Convention: a class with neither a true nor a predicted segment is left out; ``PQ = Σ IoU / (TP + ½FP + ½FN)``.

    >>> both = np.array([[[0.8], [1], [1], [0]], [[0.0], [0], [0], [0]]])
    >>> quality_of(both, [True])["PQ"].round(3)
    array([0.533,   nan])
    """
    iou, tp, fp, fn = np.moveaxis(np.asarray(tables, np.float64), -2, 0)
    whole = tp + fp / 2 + fn / 2
    present = whole > 0

    def over(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
        return np.divide(a, b, out=np.zeros_like(whole), where=b > 0)

    def mean(values: NDArray[Any], group: NDArray[Any]) -> NDArray[np.float64]:
        number = group.sum(-1)
        total = np.where(group, values, 0.0).sum(-1)
        return np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)

    each = (("PQ", over(iou, whole)), ("SQ", over(iou, tp)), ("RQ", over(tp, whole)))
    thing = np.asarray(things, bool)
    scores = {
        name + suffix: mean(values, group)
        for suffix, group in (("", present), ("_th", present & thing), ("_st", present & ~thing))
        for name, values in each
    }
    return {**scores, "per_class": np.where(present, each[0][1], np.nan)}


def quality(rows: Sequence[Mapping[str, Sequence[float]]], things: Sequence[bool]) -> dict[str, Any]:
    """``PQ, SQ, RQ, PQ_th, PQ_st …`` and per-class PQ of added statistics; None where nothing can be said.

    >>> quality([{"iou": [0.8], "tp": [1], "fp": [1], "fn": [0]}], [True])["PQ"]
    0.5333333333333333
    """
    scores = quality_of(table(rows, len(things)).sum(0), things)
    per_class = [None if np.isnan(q) else float(q) for q in scores.pop("per_class")]
    return {**{n: None if np.isnan(v) else float(v) for n, v in scores.items()}, "per_class": per_class}
