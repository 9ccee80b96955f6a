"""The doctor's questions to models that give segments: do they find the true objects at all?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from robustseg.models.findings import Finding
from robustseg.models.variants import variants
from robustseg.ops import boxes as bx
from robustseg.ops.prompts import of_masks
from robustseg.ops.size import at_label_size
from robustseg.types import DataSet, Output, QueryOutput, RegionOutput, Sample

__all__ = ["SEGMENTS", "accuracy", "asked", "countable", "found", "objects"]

SEGMENTS = ("instance", "prompted")  # tasks of models that have no score for every pixel
MOST = 16  # objects of an image that a prompted model is asked for
BETTER = 0.1  # how many more of the objects another preparation must find to be named


def objects(sample: Sample, dataset: DataSet, table: Tensor) -> tuple[Tensor, Tensor]:
    """Masks ``(S,H,W)`` and model classes ``(S,)`` (-1: none) of the countable true objects; crowds are left out."""
    masks, names = _objects(sample, dataset, table)
    real = masks.flatten(1).any(1)
    return masks[real][:MOST], names[real][:MOST]


def countable(dataset: DataSet) -> Tensor:
    """``(C,)`` bool: the classes whose objects are told apart; all where the data set does not say."""
    things = getattr(dataset, "things", ())
    return torch.tensor([not things or name in things for name in dataset.classes])


def _objects(sample: Sample, dataset: DataSet, table: Tensor) -> tuple[Tensor, Tensor]:
    thing = countable(dataset)
    if sample.segments is not None:
        keep = ~sample.segments.crowd & thing[sample.segments.categories]
        return sample.segments.masks[keep], table[sample.segments.categories[keep]]
    if sample.instances is None or sample.labels is None:
        return torch.zeros(0, *sample.image.shape[-2:], dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    masks: list[Tensor] = []
    names: list[int] = []
    for number in sample.instances.unique().tolist():
        mask = sample.instances == number
        label = int(sample.labels[mask].mode().values)
        if number and 0 <= label < len(table) and label != dataset.ignore and thing[label]:
            masks.append(mask)
            names.append(int(table[label]))
    if not masks:
        return torch.zeros(0, *sample.image.shape[-2:], dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    return torch.stack(masks), torch.tensor(names)


def asked(model: Any, masks: Tensor) -> Callable[[Tensor], Output]:
    """The model as one that takes images only: a prompted one is asked for ``masks (S,H,W)`` by its kind of prompt.

    Without any mask it is asked for the middle half of the image.
    """
    if model.spec.task != "prompted":
        return model
    H, W = masks.shape[-2:]
    if not len(masks):
        masks = torch.zeros(1, H, W, dtype=torch.bool)
        masks[:, H // 4 : -(-3 * H // 4), W // 4 : -(-3 * W // 4)] = True
    return partial(_prompted, model, of_masks(masks, model.spec.prompt))


def _prompted(model: Callable[..., Output], prompts: Tensor, images: Tensor) -> Output:
    return model(images, prompts=prompts.to(images).expand(len(images), -1, -1))


@torch.no_grad()
def found(output: Output, masks: Tensor, names: Tensor) -> Sequence[float]:
    """For every true object how well it is found, 0 to 1.

    Regions: whether a region of its class, with probability at least 1/2, overlaps its box by half. Prompts: the IoU of
    the answer with the mask.
    """
    boxes = of_masks(masks, "box")
    if isinstance(output, RegionOutput):
        p = output.class_logits[0].softmax(-1).cpu() * output.present[0].cpu()[:, None]
        hits = []
        for box, name in zip(boxes, names.tolist()):
            if name > 0:
                close = bx.iou(output.boxes[0, :, name].cpu(), box[None])[:, 0] >= 0.5
                hits.append(float(bool((close & (p[:, name] >= 0.5)).any())))
        return hits
    assert isinstance(output, QueryOutput)
    size: Any = tuple(masks.shape[-2:])
    answer = at_label_size(output.mask_logits, size)[0].cpu() > 0
    inter, union = (answer & masks).flatten(1).sum(1), (answer | masks).flatten(1).sum(1)
    return (inter / union.clamp_min(1)).tolist()


def accuracy(model: Any, scored: list[tuple[Tensor, Tensor, Tensor]]) -> Iterator[Finding]:
    """Whether the objects of ``(image, masks, classes)`` are found, and whether another preparation finds more."""
    right = _share(model, model, scored)
    if right is None:
        return
    best, name = right, ""
    for description, variant in variants(model):
        share = _share(model, variant, scored) or 0.0
        if share > best:
            best, name = share, description
    what = "the mean IoU of prompted masks is" if model.spec.task == "prompted" else "the share of objects found is"
    if best > right + BETTER:
        yield Finding(
            "clean-accuracy-low",
            "error",
            f"{what} {right:.1%}, but with {name} it would be {best:.1%}: wrong preprocessing",
        )
    elif right < 0.1:
        yield Finding("clean-accuracy-low", "error", f"{what} {right:.1%}: wrong weights, class order or preprocessing")


def _share(model: Any, call: Callable[..., Output], scored: list[tuple[Tensor, Tensor, Tensor]]) -> float | None:
    values: list[float] = []
    with torch.no_grad():
        for image, masks, names in scored:
            ask = (
                call if model.spec.task != "prompted" else partial(_prompted, call, of_masks(masks, model.spec.prompt))
            )
            values += found(ask(image), masks, names)
    return sum(values) / len(values) if values else None
