"""Average precision after COCO's rules, from per-image matches that add.

Rules (the official tool): per class and image the detections, best score first and at most 100, each take the free true
object with the highest IoU of at least the threshold; true objects outside the area range, and crowds, are ignored, and
so are detections matched to them or, unmatched, outside the range themselves; the IoU with a crowd is the share of the
*detection* inside it. Precision is made falling, read at 101 recalls, and averaged over thresholds 0.50 … 0.95 and over
the classes that have an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREAS", "THRESHOLDS", "average_precision", "mask_iou", "statistics"]

Array = NDArray[Any]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
MOST = 100
MISS, HIT, IGNORED = 0, 1, 2


def mask_iou(masks: Array, truth: Array, crowd: Array) -> Array:
    """IoU ``(N,M)`` of masks ``(N,H,W)`` and ``(M,H,W)`` bool; with a crowd, intersection over the detection's area."""
    a, b = (m.reshape(len(m), int(np.prod(m.shape[1:]))).astype(np.float32) for m in (masks, truth))
    inter = (a @ b.T).astype(np.float64)
    area, area_truth = a.sum(1)[:, None].astype(np.float64), b.sum(1)[None].astype(np.float64)
    union = np.where(np.asarray(crowd, bool)[None], area, area + area_truth - inter)
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def statistics(
    iou: Array, scores: Array, labels: Array, areas: Array, truth_labels: Array, truth_areas: Array, crowd: Array
) -> dict[str, Any]:
    """Matches of one image, JSON-able: ``{class: {"objects": [per area range], "detections": [[score, codes], …]}}``.

    Shapes: ``iou (N,M)`` (masks or boxes); ``scores, labels, areas (N,)``; ``truth_labels, truth_areas, crowd (M,)``.
    ``codes`` holds, for each area range and threshold, 0 = false, 1 = true, 2 = ignored, as a string of 4 × 10 digits.
    """
    found: dict[str, Any] = {}
    for c in sorted({*labels.tolist(), *truth_labels.tolist()}):
        mine, true = np.flatnonzero(labels == c), np.flatnonzero(truth_labels == c)
        mine = mine[np.argsort(-scores[mine], kind="mergesort")][:MOST]
        objects, codes = [], []
        for low, high in AREAS.values():
            ignored = np.asarray(crowd, bool)[true] | (truth_areas[true] < low) | (truth_areas[true] > high)
            objects.append(int((~ignored).sum()))
            outside = (areas[mine] < low) | (areas[mine] > high)
            codes.append(_match(iou[np.ix_(mine, true)], ignored, np.asarray(crowd, bool)[true], outside))
        digits = np.concatenate(codes, 1) if codes else np.zeros((len(mine), 0), int)
        detections = [[float(scores[d]), "".join(map(str, row))] for d, row in zip(mine, digits.tolist())]
        found[str(c)] = {"objects": objects, "detections": detections}
    return found


def _match(iou: Array, ignored: Array, crowd: Array, outside: Array) -> Array:
    """Codes ``(N,T)`` of detections in falling order of score."""
    order = np.argsort(ignored, kind="mergesort")  # objects that count come first
    iou, ignored, crowd = iou[:, order], ignored[order], crowd[order]
    codes = np.where(outside[:, None], IGNORED, MISS).repeat(len(THRESHOLDS), 1)
    for t, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(order), bool)
        for d in range(len(iou)):
            open_ = (~taken | crowd) & (iou[d] >= min(threshold, 1 - 1e-10))
            counting = open_ & ~ignored
            pool = counting if counting.any() else open_
            if pool.any():
                # the official loop replaces on >=, so that the last of equals wins
                best = len(order) - 1 - int(np.where(pool, iou[d], -1.0)[::-1].argmax())
                taken[best] = True
                codes[d, t] = IGNORED if ignored[best] else HIT
    return codes


def average_precision(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """``AP, AP50, AP75, AP_s, AP_m, AP_l`` and AP per class of added matches; None where no class has an object."""
    table = np.full((len(AREAS), len(THRESHOLDS), len(classes)), np.nan)
    for c in range(len(classes)):
        here = [row[str(c)] for row in rows if str(c) in row]
        objects = np.array([h["objects"] for h in here]).reshape(-1, len(AREAS)).sum(0)
        detections = [d for h in here for d in h["detections"]]
        scores = np.array([s for s, _ in detections])
        codes = np.array([[int(x) for x in digits] for _, digits in detections], int)
        codes = codes.reshape(len(detections), len(AREAS), len(THRESHOLDS))[np.argsort(-scores, kind="mergesort")]
        for a in range(len(AREAS)):
            if objects[a]:
                table[a, :, c] = _precision(codes[:, a], int(objects[a]))

    def mean(values: Array) -> float | None:
        return float(np.nanmean(values)) if not np.isnan(values).all() else None

    scores_ = {"AP": mean(table[0]), "AP50": mean(table[0, 0]), "AP75": mean(table[0, 5])}
    scores_ |= {f"AP_{name}": mean(table[i]) for i, name in enumerate(AREAS) if name != "all"}
    return {**scores_, "per_class": {name: mean(table[0, :, c]) for c, name in enumerate(classes)}}


def _precision(codes: Array, objects: int) -> Array:
    """Mean interpolated precision for every threshold, ``codes (N,T)`` in falling order of score."""
    hits, misses = (codes == HIT).cumsum(0).astype(float), (codes == MISS).cumsum(0).astype(float)
    found = np.zeros(codes.shape[1])
    for t in range(codes.shape[1]):
        recall = hits[:, t] / objects
        precision = hits[:, t] / np.maximum(hits[:, t] + misses[:, t], np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        # one more point of precision 0 stands for the recalls never reached
        at = np.searchsorted(recall, RECALLS, side="left")
        found[t] = np.append(precision, 0.0)[at].mean()
    return found
