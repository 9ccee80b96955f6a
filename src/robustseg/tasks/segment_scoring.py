"""Scores of segments from the rows of a set of images, each with the parts it has. numpy only: no torch.

A row is the dictionary of one image (``tasks.rows``, merged with whatever else). Images without a part are left out of
its scores; a score that nothing can be said about is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustseg.tasks import boundary, fates, instance, panoptic

__all__ = ["score_boundary", "score_fates", "score_instance", "score_panoptic", "score_prompted"]

Rows = Sequence[Mapping[str, Any]]


def score_panoptic(rows: Rows, things: Sequence[bool], classes: Sequence[str]) -> dict[str, Any]:
    """``PQ, SQ, RQ``, the same with ``_th`` (things) and ``_st`` (stuff), ``PQ_per_class`` by name.

    >>> row = {"panoptic": {"iou": [0.8, 0], "tp": [1, 0], "fp": [1, 0], "fn": [0, 0]}}
    >>> s = score_panoptic([row], [True, False], ["car", "sky"])
    >>> round(s["PQ"], 3), s["PQ_st"], s["PQ_per_class"]["sky"]
    (0.533, None, None)
    """
    found = panoptic.quality(part(rows, "panoptic"), things)
    found["PQ_per_class"] = dict(zip(classes, found.pop("per_class"), strict=True))
    return found


def score_instance(rows: Rows, classes: Sequence[str]) -> dict[str, Any]:
    """``AP, AP50, AP75, AP_s, AP_m, AP_l, AP_per_class`` of masks, ``AP_box, AP50_box, AP75_box`` of boxes."""
    found = instance.average_precision(part(rows, "instance"), classes)
    boxes = instance.average_precision(part(rows, "boxes"), classes)
    found["AP_per_class"] = found.pop("per_class")
    return {**found, **{f"{name}_box": boxes[name] for name in ("AP", "AP50", "AP75")}}


def score_boundary(rows: Rows) -> dict[str, Any]:
    """``mBIoU`` over classes of label maps, ``BIoU_segments`` over true segments."""
    found = boundary.score(part(rows, "boundary"))
    return {name: found[name] for name in ("mBIoU", "BIoU_segments")}


def score_prompted(rows: Rows) -> dict[str, Any]:
    """``IoU_prompted, BIoU_prompted``: means over all prompts; ``prompts``, and the share with IoU > 1/2.

    >>> score_prompted([{"prompted": {"iou": [1.0, 0.2], "biou": [1.0, 0.0], "class": [0, 0]}}])["IoU_prompted"]
    0.6
    """
    given = part(rows, "prompted")
    iou, biou = (np.array([v for r in given for v in r[name]], np.float64) for name in ("iou", "biou"))
    if not len(iou):
        return {"IoU_prompted": None, "BIoU_prompted": None, "prompted_found": None, "prompts": 0}
    return {
        "IoU_prompted": float(iou.mean()),
        "BIoU_prompted": float(biou.mean()),
        "prompted_found": float((iou > 0.5).mean()),
        "prompts": len(iou),
    }


def score_fates(rows: Rows, classes: Sequence[str]) -> dict[str, Any] | None:
    """Fates over the set: ``all``, ``classes``, ``newly`` (see ``tasks.fates.score``); None where no row has any."""
    given = part(rows, "fates")
    return fates.score(given, classes) if given else None


def part(rows: Rows, name: str) -> list[Any]:
    """That part of the rows that have it."""
    return [row[name] for row in rows if row.get(name) is not None]
