"""Clean scores by the same path as every robustness score: the library's models, prediction, statistics, scoring."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.networks import pick
from recipes.recipes import Recipe
from robustseg.models import load_model, wrap
from robustseg.tasks.scoring import score
from robustseg.tasks.semantic import predict, statistics
from robustseg.types import Model


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
