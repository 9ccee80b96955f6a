"""Which true segment a predicted one stands for, so that it keeps its number and its colour in every picture.

The decision is that of ``tasks.fates``: what is drawn as lost, flipped or invented is what the rows count as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks import fates
from robustseg.tasks.overlap import areas, intersections
from robustseg.tasks.predict import Prediction
from robustseg.tasks.rows import truth_map
from robustseg.types import SegmentTarget

__all__ = ["EXCUSED", "INVENTED", "Owned", "Shown", "owners", "seen", "true"]

Array = NDArray[Any]
INVENTED, EXCUSED = -1, -2
SURE = 0.5  # score from which a detection is drawn; the fates of the rows count the same ones


@dataclass(frozen=True)
class Shown:
    """The segments of one image: ``masks (N,H,W)`` bool, ``classes (N,)``; of prompted masks also ``prompts``,
    boxes ``(N,4)`` or points ``(N,2)``.

    ``void (H,W)``: pixels of no segment, where that says something. Of the truth also ``crowds (K,H,W)`` and their
    classes ``(K,)``. A true segment with index t has the number ``t + 1`` in pictures and tables.
    """

    masks: Array
    classes: Array
    void: Array | None = None
    prompts: Array | None = None
    crowds: Array = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    crowd_classes: Array = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Owned:
    """``owner (P,)``: index of the true segment that each predicted one stands for, else INVENTED or EXCUSED.

    ``fates``: one word a true segment. Excused: it lies on true void or on a crowd, where nothing is scored.
    """

    owner: Array
    fates: Sequence[str]


def true(target: SegmentTarget, i: int, task: str) -> Shown:
    """What there is to find in image i, in the order of the rows' fates."""
    size = target.masks.shape[-2:]
    if task == "panoptic":
        there = truth_map(target, i)
        masks = np.stack([there.ids == k + 1 for k in range(len(there.categories))] or [np.zeros(size, bool)])
        masks = masks[: len(there.categories)]
        void: Array | None = there.ids == 0
        classes, crowd = there.categories, np.asarray(there.crowd, bool)
    else:
        categories = target.categories[i].cpu()
        kept = categories >= 0
        if task == "instance":
            kept &= target.things.cpu()[categories.clamp_min(0)]
        masks, classes, void = target.masks[i].cpu()[kept].numpy(), categories[kept].numpy(), None
        crowd = target.crowd[i].cpu()[kept].numpy()
    if task == "prompted":
        assert target.prompts is not None
        return Shown(masks[~crowd], classes[~crowd], prompts=target.prompts[i].cpu()[kept].numpy()[~crowd])
    counted = ~crowd & masks.any((1, 2))
    return Shown(masks[counted], classes[counted], void, None, masks[crowd], classes[crowd])


def seen(prediction: Prediction, i: int, task: str, target: SegmentTarget) -> Shown:
    """What the model says of image i: panoptic segments, detections with a score of 1/2, or the answers to prompts."""
    if task == "panoptic":
        assert prediction.panoptic is not None
        found = prediction.panoptic[i]
        masks = found.ids[None] == np.arange(1, len(found.categories) + 1)[:, None, None]
        return Shown(masks, found.categories, found.ids == 0)
    if task == "instance":
        assert prediction.instances is not None
        one = prediction.instances[i]
        sure = (one.scores >= SURE).cpu()
        return Shown(one.masks.cpu()[sure].numpy(), one.labels.cpu()[sure].numpy())
    assert prediction.masks is not None
    counted = target.counted[i].cpu()
    masks = prediction.masks[i].cpu()[: len(counted)][counted].numpy()  # padded to the most prompts of its batch
    return Shown(masks, target.categories[i].cpu()[counted].numpy())


def overlaps(found: Shown, truth: Shown) -> fates.Overlaps:
    """How predicted and true segments lie, for ``tasks.fates``."""
    area = areas(found.masks)
    void = np.zeros(len(area), np.int64) if truth.void is None else areas(found.masks & truth.void)
    same = found.classes[:, None] == truth.crowd_classes[None]
    on_crowd = np.where(same, intersections(found.masks, truth.crowds), 0).sum(1) if same.size else 0
    inter = intersections(found.masks, truth.masks).T
    return fates.Overlaps(
        inter, areas(truth.masks), area, void, void + on_crowd, truth.classes.astype(int), found.classes.astype(int)
    )


def owners(found: Shown, truth: Shown) -> Owned:
    """The true segment of every predicted one.

    >>> whole, half = np.ones((1, 1, 4), bool), np.array([[[1, 1, 1, 0]]], bool)
    >>> owners(Shown(half, np.array([2])), Shown(whole, np.array([2])))
    Owned(owner=array([0]), fates=['kept'])
    >>> owners(Shown(half, np.array([1])), Shown(whole, np.array([2]))).fates
    ['flipped']
    """
    o = overlaps(found, truth)
    words = [e[1] for e in fates.entries(o)[: len(truth.classes)]]
    iou, same = o.iou(), o.classes[:, None] == o.named[None]
    claims = np.zeros(iou.shape, bool)
    for t, word in enumerate(words):
        if word == "kept":
            claims[t] = same[t] & (iou[t] > 0.5)
        elif word == "flipped":
            claims[t, iou[t].argmax()] = True
        elif word == "merged":  # one segment covers most of several true ones
            covers = 2 * o.inter > o.truth[:, None]
            joint = same[t] & covers[t] & (covers.sum(0) > 1)
            claims[t, np.where(joint, iou[t], -1).argmax()] = True
        elif word == "split":
            claims[t] = same[t] & (2 * o.inter[t] > o.predicted)
    owner = np.where((o.predicted > 0) & (2 * o.excused <= o.predicted), INVENTED, EXCUSED)
    if len(words):
        # a claim on a segment of the own class goes before one on another's, then the larger part counts
        weight = np.where(claims, o.inter * np.where(same, 2.0, 1.0), -1.0)
        owner = np.where(claims.any(0), weight.argmax(0), owner)
    return Owned(owner, words)
