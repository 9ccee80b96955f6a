"""Clean scores by the same path as every robustness score: the library's models, prediction, statistics, scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipes.networks import pick
from recipes.recipes import Recipe
from robustseg.defenses.training.measure import rows as rows_of_batches
from robustseg.defenses.training.measure import segment_rows
from robustseg.models import load_model, maskrcnn, wrap
from robustseg.models.tiles import Tiled
from robustseg.models.zoo import load_folder
from robustseg.tasks.scoring import score
from robustseg.tasks.segment_scoring import score_instance, score_panoptic
from robustseg.types import Model

TASKS = {"universal": ("semantic", "panoptic", "instance"), "instance": ("semantic", "instance")}


def in_training(network: nn.Module, recipe: Recipe) -> Model:
    """A network as the zoo will present it: normalisation and padding of the recipe. Puts it in eval mode."""
    if recipe.library == "maskrcnn":
        return maskrcnn.adapter(network, recipe.classes, recipe.name, "maskrcnn", size="native")
    model = wrap(
        network,
        task=recipe.task,
        size=recipe.size if recipe.task == "classification" else None,
        classes=recipe.classes,
        mean=recipe.mean,
        std=recipe.std,
        multiple=recipe.multiple,
        output=pick,
        name=recipe.name,
        things=recipe.things,
    )
    return Tiled.of(model, **recipe.tiling) if recipe.tiles else model


def exported(recipe: Recipe, folder: Path) -> Model:
    """The model that users get from an exported folder."""
    return load_folder(folder) if recipe.library == "maskrcnn" else load_model(f"{recipe.library}:{folder}")


def exported_weights(recipe: Recipe, folder: Path) -> dict[str, Tensor]:
    """The tensors of an exported folder by their names in the network."""
    model = exported(recipe, folder)
    return dict((model.inner if isinstance(model, Tiled) else model).module.state_dict())


def summary(scores: dict) -> dict[str, float]:
    """The scores a card begins with, in its order, to four digits."""
    names = ("accuracy", "PQ", "SQ", "RQ", "PQ_th", "PQ_st", "AP", "AP50", "aAcc", "mIoU")
    names = ("accuracy", "mAcc") if "accuracy" in scores else names
    return {name: round(scores[name], 4) for name in names if scores.get(name) is not None}


def measure_task(model: Model, images: Sequence[Tensor], labels: Sequence[Tensor], recipe: Recipe, **how: Any) -> dict:
    """Every score that the recipe's task has; labels are codes (see `recipes.data`) where it has objects."""
    if recipe.task == "classification":
        return measure_labels(model, images, labels, **how)
    if recipe.task == "semantic":
        return measure(model, images, labels, ignore=recipe.ignore, **how)
    return measure_segments(model, images, labels, recipe, **how)


def batches(images: Sequence[Tensor], labels: Sequence[Tensor], most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Neighbours of one size together: float images `(b,3,H,W)` in [0,1] and int64 labels `(b,H,W)`."""
    start = 0
    while start < len(images):
        end = start + 1
        while end < min(start + most, len(images)) and images[end].shape == images[start].shape:
            end += 1
        pixels = torch.stack(list(images[start:end])).float() / 255
        yield pixels, torch.stack(list(labels[start:end])).long()
        start = end


@torch.inference_mode()
def measure(
    model: Model,
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    ignore: int = 255,
    bfloat16: bool = False,
    batch: int = 4,
) -> dict:
    """aAcc, mIoU over the data set and IoU per class (None: absent); uint8 images `(N,3,H,W)`, labels `(N,H,W)`."""
    return score(_rows(model, images, labels, ignore=ignore, bfloat16=bfloat16, batch=batch), model.spec.classes)


@torch.inference_mode()
def _rows(
    model: Model,
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    ignore: int = 255,
    bfloat16: bool = False,
    batch: int = 4,
) -> list[dict[str, Any]]:
    """The statistics of every image, in order."""
    return rows_of_batches(model, batches(images, labels, batch), ignore=ignore, bfloat16=bfloat16)


def measure_labels(model: Model, images: Sequence[Tensor], labels: Sequence[Tensor], **how: Any) -> dict:
    """Accuracy, its mean over classes, and per class, of one label an image: the middle of label maps `(N,H,W)`."""
    middle = [label[label.shape[0] // 2, label.shape[1] // 2].view(1, 1) for label in labels]
    rows = _rows(model, images, middle, batch=32, **how)
    found, names = score(rows, model.spec.classes), model.spec.classes
    right, true = (torch.tensor([row[k] for row in rows]).sum(0) for k in ("inter", "target"))
    each = {n: int(r) / int(t) if t else None for n, r, t in zip(names, right, true, strict=True)}
    return {"accuracy": found["aAcc"], "mAcc": found["mAcc"], "accuracy_per_class": each}


@torch.inference_mode()
def measure_segments(
    model: Model,
    images: Sequence[Tensor],
    codes: Sequence[Tensor],
    recipe: Recipe,
    *,
    bfloat16: bool = False,
    batch: int = 4,
) -> dict:
    """What `measure` gives, AP, and of a universal model PQ, SQ, RQ (all, things, stuff); codes as in `read`.

    As many detections an image are judged as the recipe says, so that AP is the one `robustseg evaluate` gives.
    """
    names, things, tasks = recipe.classes, recipe.is_thing, TASKS[recipe.task]
    dense, segments = segment_rows(
        model, batches(images, codes, batch), things, tasks, ignore=recipe.ignore, bfloat16=bfloat16,
        most=recipe.detections,
    )  # fmt: skip
    scores = score(dense, names) | score_instance(segments, names)
    return scores | (score_panoptic(segments, things, names) if "panoptic" in tasks else {})
