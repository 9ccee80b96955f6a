"""What the truth of an image says about segments: objects one by one, stuff by class, crowds apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.ops import prompts
from robustseg.types import Model, Sample, Segments, SegmentTarget, SemanticTarget

if TYPE_CHECKING:
    from robustseg.tasks.predict import Prediction

__all__ = ["of_prediction", "segments", "target", "things_of"]


def segments(sample: Sample, things: Sequence[bool], ignore: int) -> Segments:
    """The segments of a sample, its own where it brings them; class indices are those of its labels.

    Every object number is a segment, of the class of most of its counted pixels; every stuff class is one segment;
    pixels of a thing class without a number are a crowd of that class. Ignored pixels are in no segment.

    >>> labels, objects = torch.tensor([[0, 1, 1, 255]]), torch.tensor([[0, 1, 0, 0]])
    >>> s = segments(Sample("a", torch.zeros(3, 1, 4), labels, objects), [False, True], 255)
    >>> s.masks.long().tolist(), s.categories.tolist(), s.crowd.tolist()
    ([[[0, 1, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 1, 0]]], [1, 0, 1], [False, False, True])
    """
    if sample.segments is not None:
        return sample.segments
    assert sample.labels is not None
    labels = sample.labels
    valid = labels != ignore
    thing = torch.tensor(list(things), dtype=torch.bool)
    countable = thing[torch.where(valid, labels, 0)] & valid
    objects = torch.zeros_like(labels) if sample.instances is None else sample.instances.long() * countable
    masks: list[Tensor] = []
    categories: list[int] = []
    crowd: list[bool] = []
    for number in objects.unique().tolist():
        if number:
            mask = objects == number
            masks.append(mask)
            categories.append(int(torch.bincount(labels[mask]).argmax()))
            crowd.append(False)
    rest = torch.where(valid & (objects == 0), labels, -1)
    for category in rest.unique().tolist():
        if category >= 0:
            masks.append(rest == category)
            categories.append(category)
            crowd.append(bool(thing[category]))
    stacked = torch.stack(masks) if masks else torch.zeros(0, *labels.shape, dtype=torch.bool)
    return Segments(stacked, torch.tensor(categories, dtype=torch.int64), torch.tensor(crowd, dtype=torch.bool))


def target(samples: Sequence[Sample], things: Sequence[bool], ignore: int, prompt: str = "box") -> SegmentTarget:
    """The truth of a batch, padded to the largest number of segments.

    ``prompts`` are the boxes of the segments, or with ``prompt="point"`` a pixel deep inside each.
    """
    labels = torch.stack([s.labels for s in samples])  # type: ignore[arg-type]
    return _padded([segments(s, things, ignore) for s in samples], labels, things, ignore, prompt)


def of_prediction(found: Prediction, things: Sequence[bool], truth: SemanticTarget | None = None) -> SegmentTarget:
    """What a model says, as a target: its panoptic segments, else its instances with a score of at least 1/2.

    Where the truth is ignored, so is this.
    """
    assert found.labels is not None
    ignore = 255 if truth is None else truth.ignore
    labels = found.labels if truth is None else torch.where(truth.valid, found.labels, ignore)
    each = []
    for i in range(len(labels)):
        if found.panoptic is not None:
            p = found.panoptic[i]
            numbers = torch.arange(1, len(p.categories) + 1).view(-1, 1, 1)
            masks, categories = torch.from_numpy(p.ids)[None] == numbers, torch.from_numpy(p.categories)
        else:
            assert found.instances is not None
            one = found.instances[i]
            sure = one.scores >= 0.5
            masks, categories = one.masks[sure].cpu(), one.labels[sure].cpu()
        masks = masks & (labels[i] != ignore).cpu()
        keep = masks.flatten(1).any(1)
        each.append(Segments(masks[keep], categories[keep].long(), torch.zeros(int(keep.sum()), dtype=torch.bool)))
    return _padded(each, labels, things, ignore).to(labels.device)


def things_of(model: Model) -> list[bool]:
    """Which of a model's classes are countable, as far as it knows."""
    return [name in model.spec.things for name in model.spec.classes]


def _padded(
    each: Sequence[Segments], labels: Tensor, things: Sequence[bool], ignore: int, prompt: str = "box"
) -> SegmentTarget:
    most, (H, W) = max(len(s) for s in each), labels.shape[-2:]
    masks = torch.zeros(len(each), most, H, W, dtype=torch.bool)
    categories = torch.full((len(each), most), -1, dtype=torch.int64)
    crowd = torch.zeros(len(each), most, dtype=torch.bool)
    for i, s in enumerate(each):
        masks[i, : len(s)], categories[i, : len(s)], crowd[i, : len(s)] = s.masks, s.categories, s.crowd
    thing = torch.tensor(list(things), dtype=torch.bool)
    return SegmentTarget(labels, ignore, masks, categories, crowd, thing, prompts.of_masks(masks, prompt))
