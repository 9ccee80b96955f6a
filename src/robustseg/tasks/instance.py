"""Average precision after COCO's rules, from per-image matches that add.

Rules (the official tool): per class and image the detections, best score first and at most 100 (more where the data
say so), each take the free true object with the highest IoU of at least the threshold; true objects outside the area
range, and crowds, are ignored, and so are detections matched to them or, unmatched, outside the range themselves; the
IoU with a crowd is the share of the *detection* inside it. Precision is made falling, read at 101 recalls, and averaged
over thresholds 0.50 … 0.95 and over the classes that have an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks.overlap import areas, intersections, iou_of

__all__ = ["AREAS", "THRESHOLDS", "Ranking", "average_precision", "mask_iou", "rankings", "resampled", "statistics"]

Array = NDArray[Any]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
MOST = 100
MISS, HIT, IGNORED = 0, 1, 2


# ------------------------------------------------------------------------------------------------ one image


def mask_iou(masks: Array, truth: Array, crowd: Array) -> Array:
    """IoU ``(N,M)`` of masks ``(N,H,W)`` and ``(M,H,W)`` bool; with a crowd, intersection over the detection's area."""
    return iou_of(intersections(masks, truth), areas(masks), areas(truth), crowd)


def statistics(
    iou: Array,
    scores: Array,
    labels: Array,
    areas: Array,
    truth_labels: Array,
    truth_areas: Array,
    crowd: Array,
    most: int = MOST,
) -> dict[str, Any]:
    """Matches of one image, JSON-able: ``{class: {"objects": [per area range], "detections": [[score, codes], …]}}``.

    Shapes: ``iou (N,M)`` (masks or boxes); ``scores, labels, areas (N,)``; ``truth_labels, truth_areas, crowd (M,)``.
    ``codes`` holds, for each area range and threshold, 0 = false, 1 = true, 2 = ignored, as a string of 4 × 10 digits.
    """
    found: dict[str, Any] = {}
    crowd = np.asarray(crowd, bool)
    low, high = (np.array(ends)[:, None] for ends in zip(*AREAS.values()))
    for c in sorted({*labels.tolist(), *truth_labels.tolist()}):
        mine, true = np.flatnonzero(labels == c), np.flatnonzero(truth_labels == c)
        mine = mine[np.argsort(-scores[mine], kind="mergesort")][:most]
        ignored = crowd[true] | (truth_areas[true] < low) | (truth_areas[true] > high)  # (A,M)
        outside = (areas[mine] < low) | (areas[mine] > high)
        codes = _match(iou[np.ix_(mine, true)], ignored, crowd[true], outside)
        digits = (codes.reshape(len(mine), len(AREAS) * len(THRESHOLDS)) + ord("0")).astype(np.uint8)
        found[str(c)] = {
            "objects": (~ignored).sum(1).tolist(),
            "detections": [[float(s), row.tobytes().decode()] for s, row in zip(scores[mine], digits)],
        }
    return found


def _match(iou: Array, ignored: Array, crowd: Array, outside: Array) -> Array:
    """Codes ``(N,A,T)`` of detections, best first; ``iou (N,M)``, ``ignored (A,M)``, ``outside (A,N)``."""
    reach = np.minimum(THRESHOLDS, 1 - 1e-10)
    codes = np.where(outside.T[..., None], IGNORED, MISS).repeat(len(reach), 2)
    taken = np.zeros((len(ignored), len(reach), iou.shape[1]), bool)
    position = np.arange(1, iou.shape[1] + 1)
    for d in np.flatnonzero((iou >= reach[0]).any(1)):
        near = np.flatnonzero(iou[d] >= reach[0])
        value = iou[d, near]
        free = (~taken[:, :, near] | crowd[near]) & (value >= reach[:, None])  # (A,T,m)
        # objects that count come before ignored ones, then the higher IoU, then, as official, the later of equals
        rank = np.lexsort((position[near], value)).argsort() + 1
        worth = np.where(free, rank + len(near) * ~ignored[:, None, near], 0)
        best = worth.argmax(2)
        hit = np.take_along_axis(worth, best[..., None], 2)[..., 0] > 0
        a, t = np.nonzero(hit)
        m = near[best[a, t]]
        taken[a, t, m] = True
        codes[d, a, t] = np.where(ignored[a, m], IGNORED, HIT)
    return codes


# ------------------------------------------------------------------------------------------------ a set of images


@dataclass(frozen=True)
class Ranking:
    """All detections of a class, best first: ``image (D,)``, ``codes (D,A,T)`` uint8; ``objects (n,A)`` an image."""

    image: Array
    codes: Array
    objects: Array


def rankings(rows: Sequence[Mapping[str, Any]], classes: int) -> list[Ranking]:
    """The statistics of a set of images, one ranking a class."""
    found = []
    for c in map(str, range(classes)):
        image: list[int] = []
        scores: list[float] = []
        text: list[str] = []
        objects = np.zeros((len(rows), len(AREAS)))
        for i, row in enumerate(rows):
            here = row.get(c)
            if here:
                objects[i] = here["objects"]
                for score, codes in here["detections"]:
                    image.append(i)
                    scores.append(score)
                    text.append(codes)
        codes = np.frombuffer("".join(text).encode(), np.uint8).reshape(-1, len(AREAS), len(THRESHOLDS)) - ord("0")
        order = np.argsort(-np.array(scores), kind="mergesort")
        found.append(Ranking(np.array(image, int)[order], codes[order], objects))
    return found


def average_precision(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """``AP, AP50, AP75, AP_s, AP_m, AP_l`` and AP per class of added matches; None where no class has an object."""
    each = rankings(rows, len(classes))
    once = np.ones((1, len(rows)))
    table = np.full((len(AREAS), len(THRESHOLDS), len(classes)), np.nan)
    for c, ranking in enumerate(each):
        for a in np.flatnonzero(ranking.objects.any(0)).tolist():
            for t in range(len(THRESHOLDS)):
                table[a, t, c] = _precision(ranking, once, a, t)[0]

    def mean(values: Array) -> float | None:
        return float(np.nanmean(values)) if not np.isnan(values).all() else None

    scores = {"AP": mean(table[0]), "AP50": mean(table[0, 0]), "AP75": mean(table[0, 5])}
    scores |= {f"AP_{name}": mean(table[i]) for i, name in enumerate(AREAS) if name != "all"}
    return {**scores, "per_class": {name: mean(table[0, :, c]) for c, name in enumerate(classes)}}


def resampled(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], weights: Array) -> dict[str, Array]:
    """``AP, AP50, AP75 (R,)`` of resamples; ``weights (R,n)`` says how often each image is drawn. NaN: no object.

    A ratio of sums as PQ is it does not have: every resample walks the whole ranking, so take fewer of them.
    """
    found = np.full((len(weights), len(THRESHOLDS), len(classes)), np.nan)
    for c, ranking in enumerate(rankings(rows, len(classes))):
        for t in range(len(THRESHOLDS) if ranking.objects[:, 0].any() else 0):
            found[:, t, c] = _precision(ranking, weights, 0, t)

    def mean(values: Array) -> Array:
        there = ~np.isnan(values)
        total, number = np.where(there, values, 0.0).sum((1, 2)), there.sum((1, 2))
        return np.divide(total, number, out=np.full(len(values), np.nan), where=number > 0)

    return {"AP": mean(found), "AP50": mean(found[:, :1]), "AP75": mean(found[:, 5:6])}


def _precision(ranking: Ranking, weights: Array, area: int, threshold: int) -> Array:
    """Mean interpolated precision ``(R,)`` when image i counts ``weights[r, i]`` times; NaN without an object.

    Only ranks with a hit can be the first to reach a recall, so the curves are kept at those.
    """
    objects = weights @ ranking.objects[:, area]
    codes = ranking.codes[:, area, threshold]
    counted = codes != IGNORED
    hit = codes[counted] == HIT
    drawn = weights[:, ranking.image[counted]]
    seen = drawn.cumsum(1)[:, hit]
    hits = drawn[:, hit].cumsum(1)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    # one more point of precision 0 stands for the recalls never reached
    precision = np.concatenate([precision, np.zeros((len(weights), 1))], 1)
    found = np.full(len(weights), np.nan)
    for r in np.flatnonzero(objects > 0):
        found[r] = precision[r, np.searchsorted(hits[r] / objects[r], RECALLS, side="left")].mean()
    return found
