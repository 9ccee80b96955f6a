"""What a prediction of segments is worth, image by image: JSON-able statistics that add."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks import boundary, fates, instance, panoptic
from robustseg.tasks.decode import Instances
from robustseg.tasks.overlap import areas, box_iou, intersections, iou_of, layers, mask_boxes
from robustseg.tasks.panoptic import PanopticMap
from robustseg.tasks.predict import Prediction
from robustseg.types import SegmentTarget

__all__ = ["rows", "truth_map"]

Array = NDArray[Any]
SURE = 0.5  # score from which a detection is a segment of the image, for boundaries and fates


def rows(
    prediction: Prediction,
    target: SegmentTarget,
    *,
    tasks: Collection[str],
    clean: Prediction | None = None,
    most: int = instance.MOST,
) -> list[dict[str, Any]]:
    """One dictionary an image, with the parts that ``tasks`` (semantic, panoptic, instance, prompted) ask for.

    ``panoptic``: IoU sum, TP, FP, FN per class. ``instance``, ``boxes``: matches of masks and boxes. ``boundary``: see
    ``tasks.boundary.score``. ``prompted``: ``iou`` and ``biou`` of every prompt, and its ``class``. ``fates``: see
    ``tasks.fates``; of panoptic segments, or of the detections with a score of at least 1/2 where there is no panoptic
    map. ``most`` detections an image and class are judged, COCO's 100 by default. ``clean``: the prediction for the
    clean images of the same batch.
    """
    return [_row(prediction, target, i, set(tasks), clean, most) for i in range(len(target))]


def truth_map(target: SegmentTarget, i: int) -> PanopticMap:
    """The true panoptic map of image i; void: ignored, or in no segment. Of overlapping masks the first wins.

    >>> import torch
    >>> masks = torch.tensor([[[[1, 1, 0, 0]], [[0, 0, 1, 0]]]]).bool()
    >>> t = SegmentTarget(torch.tensor([[[0, 255, 1, 1]]]), 255, masks, torch.tensor([[0, 1]]), torch.zeros(1, 2) > 0)
    >>> truth_map(t, 0).ids.tolist()
    [[1, 0, 2, 0]]
    """
    real = (target.categories[i] >= 0).cpu()
    masks = target.masks[i].cpu()[real].numpy()
    ids = np.zeros(masks.shape[1:], np.int64)
    for layer in layers(masks):
        ids = np.where(ids == 0, layer, ids)
    ids *= target.valid[i].cpu().numpy()
    return PanopticMap(ids, target.categories[i].cpu()[real].numpy(), target.crowd[i].cpu()[real].numpy())


def _row(
    found: Prediction, target: SegmentTarget, i: int, tasks: set[str], clean: Prediction | None, most: int
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    classes = len(target.things)
    edges: dict[str, Any] = {}
    if "semantic" in tasks and found.labels is not None:
        edges |= boundary.classes(found.labels[i].cpu().numpy(), target.labels[i].cpu().numpy(), classes, target.ignore)
    if "panoptic" in tasks and found.panoptic is not None:
        truth = truth_map(target, i)
        row["panoptic"] = panoptic.statistics(found.panoptic[i], truth, classes)
        before = None if clean is None or clean.panoptic is None else clean.panoptic[i]
        row["fates"] = _panoptic_fates(found.panoptic[i], truth, before)
        edges |= _panoptic_edges(found.panoptic[i], truth, classes)
    if "instance" in tasks and found.instances is not None:
        objects = _Objects(target, i)
        one = _Overlap(found.instances[i], objects)
        row["instance"] = objects.statistics(one.iou(), found.instances[i], one.area, most)
        row["boxes"] = objects.statistics(one.box_iou(), found.instances[i], one.box_area, most)
        if "fates" not in row:
            earlier = None if clean is None or clean.instances is None else _Overlap(clean.instances[i], objects)
            row["fates"] = _instance_fates(one, earlier)
            edges |= _instance_edges(one, objects, classes)
    if edges:
        row["boundary"] = edges
    if "prompted" in tasks and found.masks is not None:
        row["prompted"] = _prompted(found.masks[i].cpu().numpy(), target, i)
    return row


# ------------------------------------------------------------------------------------------------ panoptic


def _panoptic_fates(now: PanopticMap, truth: PanopticMap, before: PanopticMap | None) -> list[list[Any]]:
    if before is None:
        return fates.entries(fates.of_maps(now, truth))
    # against the clean prediction as if it were the truth: which invented segments it had too
    both = fates.of_maps(now, before)
    seen = ((both.classes[:, None] == both.named[None]) & (both.iou() > 0.5)).any(0)
    return fates.entries(fates.of_maps(now, truth), fates.of_maps(before, truth), seen)


def _panoptic_edges(now: PanopticMap, truth: PanopticMap, classes: int) -> dict[str, Any]:
    """Boundary IoU of every true segment with the segment of its class that fits best, summed per class."""
    overlaps = fates.of_maps(now, truth)
    ids = now.ids * (truth.ids > 0)  # void is in no mask
    biou = boundary.pairs([ids], [truth.ids], len(now.categories), len(truth.categories))
    counted = slice(None) if truth.crowd is None else ~truth.crowd
    return _edges(overlaps.iou(), biou[counted], overlaps.classes, overlaps.named, overlaps.truth > 0, classes)


def _edges(iou: Array, biou: Array, true: Array, named: Array, there: Array, classes: int) -> dict[str, Any]:
    same = np.where(true[:, None] == named[None], iou, 0.0)
    each = np.zeros(len(true))
    if same.shape[1]:
        best = same.argmax(1)
        each = np.where(same.max(1) > 0, biou[np.arange(len(true)), best], 0.0)
    return {
        "sum": np.bincount(true[there], weights=each[there], minlength=classes)[:classes].tolist(),
        "segments": np.bincount(true[there], minlength=classes)[:classes].tolist(),
    }


# ------------------------------------------------------------------------------------------------ instances


class _Objects:
    """The true objects of an image: masks, classes, crowds, areas, boxes."""

    def __init__(self, target: SegmentTarget, i: int) -> None:
        categories = target.categories[i].cpu()
        thing = target.things.cpu()[categories.clamp_min(0)] & (categories >= 0)
        masks = target.masks[i].cpu()
        self.masks = (masks if bool(thing.all()) else masks[thing]).numpy()  # hundreds of nuclei are 100 MB
        self.classes = categories[thing].numpy()
        self.crowd = target.crowd[i].cpu()[thing].numpy()
        self.boxes = mask_boxes(self.masks)
        self.area = areas(self.masks, self.boxes)
        self.maps = layers(self.masks, self.boxes)

    def statistics(self, iou: Array, found: Instances, area: Array, most: int) -> dict[str, Any]:
        """Matches of detections with these objects; as official, an object's size is its mask's, also for boxes."""
        return instance.statistics(
            iou, found.scores.numpy(), found.labels.numpy(), area, self.classes, self.area, self.crowd, most
        )


class _Overlap:
    """Detections of an image against its objects; masks that several detections share are compared once."""

    def __init__(self, found: Instances, objects: _Objects) -> None:
        self.found, self.objects = found, objects
        masks = found.masks.numpy()
        if found.query is None:
            first, again = np.arange(len(masks)), np.arange(len(masks))
        else:
            _, first, again = np.unique(found.query.numpy(), return_index=True, return_inverse=True)
        self.masks = masks
        shared = masks if found.query is None else masks[first]
        self.inter = intersections(shared, objects.masks, objects.maps)[again]
        self.area = areas(shared)[again]
        self.boxes = found.boxes.numpy().astype(np.float64)
        self.box_area = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)

    def iou(self) -> Array:
        return iou_of(self.inter, self.area, self.objects.area, self.objects.crowd)

    def box_iou(self) -> Array:
        return box_iou(self.boxes, self.objects.boxes, self.objects.crowd)

    def sure(self) -> fates.Overlaps:
        """The detections with a score of at least 1/2 as segments."""
        sure = self.found.scores.numpy() >= SURE
        named, crowd = self.found.labels.numpy()[sure], self.objects.crowd
        inter = self.inter[sure].T
        own = self.objects.classes[:, None] == named[None]
        on_crowd = np.where(own & crowd[:, None], inter, 0).sum(0)
        return fates.Overlaps(
            inter[~crowd], self.objects.area[~crowd], self.area[sure], np.zeros_like(on_crowd), on_crowd,
            self.objects.classes[~crowd], named,
        )  # fmt: skip


def _instance_fates(now: _Overlap, before: _Overlap | None) -> list[list[Any]]:
    if before is None:
        return fates.entries(now.sure())
    sure, had = (o.found.scores.numpy() >= SURE for o in (now, before))
    masks, masks_before = now.masks[np.flatnonzero(sure)], before.masks[np.flatnonzero(had)]
    same = now.found.labels.numpy()[sure][:, None] == before.found.labels.numpy()[had][None]
    iou = instance.mask_iou(masks, masks_before, np.zeros(len(masks_before), bool))
    return fates.entries(now.sure(), before.sure(), (same & (iou > 0.5)).any(1))


def _instance_edges(now: _Overlap, objects: _Objects, classes: int) -> dict[str, Any]:
    overlaps = now.sure()
    iou = overlaps.iou()
    # only the best of its class for every object: few masks, few layers
    same = np.where(overlaps.classes[:, None] == overlaps.named[None], iou, 0.0)
    best = np.unique(same.argmax(1)) if same.size else np.zeros(0, int)
    masks = now.masks[np.flatnonzero(now.found.scores.numpy() >= SURE)[best]]
    counted = ~objects.crowd
    true = objects.maps if counted.all() else layers(objects.masks[counted], objects.boxes[counted])
    biou = boundary.pairs(layers(masks), true, len(masks), int(counted.sum()))
    return _edges(iou[:, best], biou, overlaps.classes, overlaps.named[best], overlaps.truth > 0, classes)


# ------------------------------------------------------------------------------------------------ prompted


def _prompted(masks: Array, target: SegmentTarget, i: int) -> dict[str, Any]:
    """IoU and boundary IoU of the answers to the prompts that count."""
    counted = target.counted[i].cpu().numpy()
    valid = target.valid[i].cpu().numpy()
    answers, truth = masks[counted] & valid, target.masks[i].cpu().numpy()[counted] & valid
    inter = np.array([np.count_nonzero(a & b) for a, b in zip(answers, truth)], np.float64)
    union = np.array([np.count_nonzero(a | b) for a, b in zip(answers, truth)], np.float64)
    edges = [boundary.pairs([a.astype(np.int64)], [b.astype(np.int64)], 1, 1)[0, 0] for a, b in zip(answers, truth)]
    return {
        "iou": np.divide(inter, union, out=np.zeros_like(inter), where=union > 0).tolist(),
        "biou": [float(e) for e in edges],
        "class": target.categories[i].cpu().numpy()[counted].tolist(),
    }
