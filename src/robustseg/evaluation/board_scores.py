"""What a board's texture does outside the board: statistics a pose that add, by distance from the board, and intervals.

Networks look at a neighbourhood, so an effect fades with the distance from the board; rings say how fast. PQ stands
beside mIoU for models that give panoptic segments, where the frames have objects. Intervals resample poses, the same
draws for every texture; they say how steady the effect is along the drive, not what another street or seed would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.evaluation import referee
from robustseg.evaluation.beside import difference
from robustseg.evaluation.board_frames import View
from robustseg.evaluation.bootstrap import FEWEST, interval, resamples
from robustseg.tasks import panoptic
from robustseg.tasks.rows import rows as of_segments
from robustseg.tasks.scoring import mean_iou as miou_of
from robustseg.tasks.semantic import statistics
from robustseg.tasks.truth import things_of
from robustseg.types import Model, SegmentTarget

__all__ = ["RINGS", "gap", "observe", "scores"]

RINGS = (0, 8, 16, 32, 64)  # pixels of the frame from the board's edge; the last ring is open

Row = dict[str, Any]


def observe(model: Model, images: Sequence[Tensor], views: Sequence[View], clean: Sequence[Row] | None) -> list[Row]:
    """One row a pose: statistics against the truth and against the prediction of the ``clean`` rows, ring by ring.

    ``clean`` None: these are the clean ones. ``labels (H,W)`` is what the model says, for pictures.
    """
    things = things_of(model)
    found = []
    for i, (image, v) in enumerate(zip(images, views, strict=True)):
        segments = isinstance(v.target, SegmentTarget)
        tasks = ("semantic", "panoptic") if segments else ("semantic",)
        said = referee.predict(model, image, tasks=tasks, things=things)[0]
        assert said.labels is not None
        labels, target = said.labels.cpu(), v.target.labels.cpu()
        before = labels if clean is None else clean[i]["labels"][None]
        counts = target != v.target.ignore
        reference = torch.where(counts, before, v.target.ignore)
        classes = len(model.spec.classes)
        row: Row = {
            "truth": statistics(labels, target, classes=classes, ignore=v.target.ignore)[0],
            "clean": statistics(labels, reference, classes=classes, ignore=v.target.ignore)[0],
            "rings": _rings(labels[0], target[0], before[0], counts[0], v.away),
            "labels": labels[0],
        }
        if segments and said.panoptic is not None:
            assert isinstance(v.target, SegmentTarget)
            row["panoptic"] = of_segments(said, v.target.to("cpu"), tasks=("panoptic",))[0]["panoptic"]
        found.append(row)
    return found


def _rings(labels: Tensor, target: Tensor, before: Tensor, counts: Tensor, away: Tensor) -> list[list[int]]:
    """``[pixels, right, changed]`` of every ring; ``away (H,W)``: pixels to the board."""
    ring = torch.bucketize(away, away.new_tensor(RINGS), right=True) - 1
    return [
        [int(part.sum()), int((part & (labels == target)).sum()), int((part & (labels != before)).sum())]
        for part in (counts & (ring == k) for k in range(len(RINGS)))
    ]


def scores(rows: Sequence[Row], things: Sequence[bool]) -> dict[str, Any]:
    """``mIoU`` and ``aAcc`` against the truth, ``changed`` against the clean prediction, in shares; ``rings``; ``PQ``.

    The mIoU is that of all poses together. ``rings``: ``from`` and ``to`` in pixels (None: open), ``pixels``, ``aAcc``
    and ``changed``, None where nothing counts.
    """
    truth, clean = [r["truth"] for r in rows], [r["clean"] for r in rows]
    inter, pred, target = (np.sum([r[k] for r in truth], 0) for k in ("inter", "pred", "target"))
    valid = sum(r["valid"] for r in truth)
    ends: list[int | None] = [*RINGS[1:], None]
    rings = [
        {"from": low, "to": high, "pixels": int(n), "aAcc": float(right / n) if n else None,
         "changed": float(other / n) if n else None}
        for low, high, (n, right, other) in zip(RINGS, ends, np.sum([r["rings"] for r in rows], 0), strict=True)
    ]  # fmt: skip
    found = {
        "mIoU": float(miou_of(inter, pred, target)),
        "aAcc": sum(r["right"] for r in truth) / valid,
        "changed": 1 - sum(r["right"] for r in clean) / valid,
        "rings": rings,
    }
    if all("panoptic" in r for r in rows):
        quality = panoptic.quality_of(_tables(rows, things).sum(0), things)["PQ"]
        found["PQ"] = None if np.isnan(quality) else float(quality)
    return found


def gap(first: Sequence[Row], second: Sequence[Row], classes: Sequence[str], things: Sequence[bool]) -> dict[str, Any]:
    """Scores of ``first`` minus those of ``second``, on the same poses, with paired 95 % intervals (``ci95``).

    ``more``: in how many poses the first changes more pixels than the second. An interval is None for fewer than five
    poses.
    """
    against_truth = difference([r["truth"] for r in first], [r["truth"] for r in second], classes)
    against_clean = difference([r["clean"] for r in first], [r["clean"] for r in second], classes)
    pair = against_truth["ci95"]["changed"]  # against the truth this is the share of errors, 1 - aAcc
    found: dict[str, Any] = {
        "poses": len(first),
        "mIoU": against_truth["mIoU"],
        "aAcc": None if against_truth["changed"] is None else -against_truth["changed"],
        "changed": against_clean["changed"],
        "more": against_clean["more"],
        "ci95": {
            "mIoU": against_truth["ci95"]["mIoU"],
            "aAcc": pair and [-pair[1], -pair[0]],
            "changed": against_clean["ci95"]["changed"],
        },
    }
    if all("panoptic" in r for r in (*first, *second)):
        found["PQ"], found["ci95"]["PQ"] = _quality_gap(_tables(first, things), _tables(second, things), things)
    return found


def _tables(rows: Sequence[Row], things: Sequence[bool]) -> np.ndarray[Any, Any]:
    return panoptic.table([r["panoptic"] for r in rows], len(things))


def _quality_gap(one: Any, other: Any, things: Sequence[bool]) -> tuple[float | None, list[float] | None]:
    weights = np.vstack([np.ones((1, len(one))), resamples(len(one))])
    drawn = [
        panoptic.quality_of((weights @ t.reshape(len(t), -1)).reshape(len(weights), *t.shape[1:]), things)["PQ"]
        for t in (one, other)
    ]
    gaps = drawn[0] - drawn[1]
    return None if np.isnan(gaps[0]) else float(gaps[0]), None if len(one) < FEWEST else interval(gaps[1:])
