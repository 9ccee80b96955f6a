"""Panoptic, instance, boundary and prompted scores from rows, with intervals and worst cases. numpy only.

Conventions: fractions in [0,1], None where nothing can be said. PQ adds over images (sums of IoU, TP, FP, FN), so that
its intervals are one matrix product; AP ranks the detections of all images together, so that fewer resamples are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.bootstrap import FEWEST, interval
from robustseg.tasks import segment_scoring as scoring
from robustseg.tasks.instance import average_precision, resampled
from robustseg.tasks.panoptic import quality_of, table

__all__ = ["Setting", "lowest_ap", "lowest_quality", "segment_intervals", "segment_scores", "worst_segments"]

Array = NDArray[np.float64]
Stats = Sequence[Mapping[str, Any]]
Setting = tuple[Sequence[str], Sequence[bool]]  # names of the classes, and which of them are things
QUALITIES = ("PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st")
AP_ROUNDS = 200


def _has(stats: Stats, name: str) -> bool:
    return bool(stats) and all(name in s for s in stats)


def segment_scores(stats: Stats, setting: Setting) -> dict[str, Any]:
    """The scores that these rows have beyond the semantic ones; an empty dictionary for semantic rows."""
    classes, things = setting
    found: dict[str, Any] = {}
    if _has(stats, "panoptic"):
        found |= scoring.score_panoptic(stats, things, classes)
    if _has(stats, "instance"):
        found |= scoring.score_instance(stats, classes)
    if _has(stats, "boundary"):
        found |= scoring.score_boundary(stats)
    if _has(stats, "prompted"):
        found |= scoring.score_prompted(stats)
    if _has(stats, "fates"):
        found["fates"] = scoring.score_fates(stats, classes)
    return found


def segment_intervals(stats: Stats, setting: Setting, weights: Array) -> dict[str, list[float] | None]:
    """95 % intervals of PQ, AP and the like; ``weights (R,n)`` a column an image. None for fewer than five images."""
    classes, things = setting
    found: dict[str, list[float] | None] = {}
    few = len(stats) < FEWEST
    if _has(stats, "panoptic"):
        tables = table([s["panoptic"] for s in stats], len(classes))
        drawn = (weights @ tables.reshape(len(stats), -1)).reshape(len(weights), *tables.shape[1:])
        quality = quality_of(drawn, things)
        found |= {name: None if few else interval(quality[name]) for name in QUALITIES}
    if _has(stats, "instance"):
        drawn = resampled([s["instance"] for s in stats], classes, weights[:AP_ROUNDS])
        found |= {name: None if few else interval(drawn[name]) for name in ("AP", "AP50")}
    if _has(stats, "prompted"):
        sums = np.array([[sum(s["prompted"]["iou"]), len(s["prompted"]["iou"])] for s in stats])
        top, bottom = (weights @ sums).T
        share = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
        found["IoU_prompted"] = None if few else interval(share)
    return found


def lowest_quality(parts: Sequence[Stats], classes: int) -> NDArray[np.int_] | None:
    """``(n,)`` for each image the attack of ``parts`` (A lists of n rows) whose joint choice has a low data-set PQ."""
    if not all(_has(p, "panoptic") for p in parts):
        return None
    from robustseg.evaluation.worst_pq import lowest_pq

    tables = np.stack([table([s["panoptic"] for s in p], classes) for p in parts])
    return lowest_pq(*np.moveaxis(tables, 2, 0))


def lowest_ap(parts: Sequence[Stats], classes: Sequence[str]) -> NDArray[np.int_] | None:
    """``(n,)`` for each image the attack that leaves the lowest AP of that image by itself.

    AP ranks the detections of all images together, so that this may leave more than one of the attacks alone; then
    that attack is the choice for every image.
    """
    if not all(_has(p, "instance") for p in parts):
        return None
    each = [[average_precision([s["instance"]], classes)["AP"] for s in p] for p in parts]
    best = np.nan_to_num(np.array(each, dtype=np.float64), nan=np.inf).argmin(0)
    choices = [best, *(np.full(len(best), a) for a in range(len(parts)))]

    def joint(choice: NDArray[np.int_]) -> float:
        value = average_precision([parts[a][i]["instance"] for i, a in enumerate(choice.tolist())], classes)["AP"]
        return np.inf if value is None else value

    return min(choices, key=joint)


def worst_segments(parts: Sequence[Stats], setting: Setting, weights: Array) -> dict[str, Any]:
    """Scores of the worst case: PQ where the choice is for PQ, AP where it is for AP; ``weights`` as above."""
    classes, _ = setting
    found: dict[str, Any] = {}
    ci95: dict[str, Any] = {}
    for choice, mine in (
        (lowest_quality(parts, len(classes)), ("PQ", "SQ", "RQ")),
        (lowest_ap(parts, classes), ("AP",)),
    ):
        if choice is None:
            continue
        rows = [parts[a][i] for i, a in enumerate(choice.tolist())]
        found |= {k: v for k, v in segment_scores(rows, setting).items() if k.startswith(mine)}
        ci95 |= {k: v for k, v in segment_intervals(rows, setting, weights).items() if k.startswith(mine)}
    if all(_has(p, "prompted") for p in parts):
        means = [[_mean(s["prompted"]["iou"]) for s in p] for p in parts]
        choice = np.nan_to_num(np.array(means), nan=np.inf).argmin(0)
        rows = [parts[a][i] for i, a in enumerate(choice.tolist())]
        found["IoU_prompted"] = segment_scores(rows, setting)["IoU_prompted"]
        ci95["IoU_prompted"] = segment_intervals(rows, setting, weights)["IoU_prompted"]
    return {**found, "ci95": ci95} if found else {}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
