"""Clean scores by the same path as every robustness score: the library's models, prediction, statistics, scoring."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.networks import pick
from recipes.recipes import Recipe
from robustseg.models import load_model, wrap
from robustseg.tasks import decode, instance, panoptic
from robustseg.tasks.scoring import score
from robustseg.tasks.semantic import predict, statistics
from robustseg.tasks.truth import segments
from robustseg.types import Model, Sample, Segments


def in_training(network: nn.Module, recipe: Recipe) -> Model:
    """A network as the zoo will present it: normalisation and padding of the recipe. Puts it in eval mode."""
    return wrap(
        network,
        classes=recipe.classes,
        mean=recipe.mean,
        std=recipe.std,
        multiple=recipe.multiple,
        output=pick,
        name=recipe.name,
    )


def exported(recipe: Recipe, folder: Path) -> Model:
    """The model that users get from an exported folder."""
    return load_model(f"{recipe.library}:{folder}")


def summary(scores: dict) -> dict[str, float]:
    """The scores a card begins with, in its order, to four digits."""
    names = ("PQ", "SQ", "RQ", "PQ_th", "PQ_st", "AP", "AP50", "aAcc", "mIoU")
    return {name: round(scores[name], 4) for name in names if scores.get(name) is not None}


def measure_task(model: Model, images: Tensor, labels: Tensor, recipe: Recipe, *, bfloat16: bool = False) -> dict:
    """Every score that the recipe's task has."""
    if recipe.task == "semantic":
        return measure(model, images, labels, ignore=recipe.ignore, bfloat16=bfloat16)
    return measure_segments(model, images, labels, recipe, bfloat16=bfloat16)


@torch.inference_mode()
def measure_segments(
    model: Model, images: Tensor, codes: Tensor, recipe: Recipe, *, bfloat16: bool = False, batch: int = 4
) -> dict:
    """PQ, SQ, RQ (all, things, stuff), AP, AP50 and, for a universal model, aAcc and mIoU over the data set.

    uint8 images `(N,3,H,W)`; codes `(N,H,W)`: label + 256 * object number.
    """
    classes, things = len(recipe.classes), recipe.is_thing
    dense, maps, found = [], [], []
    for i in range(0, len(images), batch):
        code = codes[i : i + batch]
        size = tuple(code.shape[-2:])
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = model(images[i : i + batch].float() / 255)
        dense += statistics(predict(output, size), (code & 255).long(), classes=classes, ignore=recipe.ignore)
        for one, m, d in zip(code, decode.panoptic(output, size, things), decode.instances(output, size, things)):
            truth = segments(Sample("", one[None], (one & 255).long(), one >> 8), things, recipe.ignore)
            maps.append(panoptic.statistics(m, painted(truth), classes))
            thing = torch.tensor(things)[truth.categories]
            found.append(matches(d, truth.masks[thing], truth.categories[thing], truth.crowd[thing]))
    scores = score(dense, recipe.classes) | panoptic.quality(maps, things)
    scores["PQ_per_class"] = dict(zip(recipe.classes, scores.pop("per_class")))
    ap = instance.average_precision(found, recipe.classes)
    return scores | {"AP": ap["AP"], "AP50": ap["AP50"]}


def painted(truth: Segments) -> panoptic.PanopticMap:
    """Segments that do not overlap, as a map of ids."""
    ids = (truth.masks * torch.arange(1, len(truth) + 1)[:, None, None]).sum(0)
    return panoptic.PanopticMap(ids.numpy(), truth.categories.numpy(), truth.crowd.numpy())


def matches(detections: decode.Instances, masks: Tensor, categories: Tensor, crowd: Tensor) -> dict:
    """Statistics of average precision of one image."""
    mine, true = detections.masks.numpy(), masks.numpy()
    areas = [m.reshape(len(m), -1).sum(1) for m in (mine, true)]
    iou = instance.mask_iou(mine, true, crowd.numpy())
    scores, labels = detections.scores.numpy(), detections.labels.numpy()
    return instance.statistics(iou, scores, labels, areas[0], categories.numpy(), areas[1], crowd.numpy())


@torch.inference_mode()
def measure(
    model: Model, images: Tensor, labels: Tensor, *, ignore: int = 255, bfloat16: bool = False, batch: int = 4
) -> dict:
    """aAcc, mIoU over the data set and IoU per class (None: absent); uint8 images `(N,3,H,W)`, labels `(N,H,W)`."""
    classes, rows = model.spec.classes, []
    for i in range(0, len(images), batch):
        truth = labels[i : i + batch].long()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = model(images[i : i + batch].float() / 255)
        prediction = predict(output, tuple(truth.shape[-2:]))
        rows += statistics(prediction, truth, classes=len(classes), ignore=ignore)
    return score(rows, classes)
