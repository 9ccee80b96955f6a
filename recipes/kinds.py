"""What a recipe's task changes in the training: the value that is minimised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes import universal
from recipes.losses import loss
from recipes.networks import HEAD, logits
from recipes.recipes import Recipe
from robustseg.defenses.training.classes import class_weights, counts

Objective = Callable[[nn.Module, Tensor, Tensor, bool], Tensor]  # network, normalised pixels, target, bfloat16


def objective(recipe: Recipe, labels: Tensor) -> Objective:
    """The training loss; labels `(N,H,W)` of the whole training set decide about weights."""
    kinds = {"semantic": _semantic, "universal": _universal, "instance": _regions, "classification": _classes}
    return kinds[recipe.task](recipe, labels)


def weights_of(recipe: Recipe, labels: Tensor) -> Tensor:
    """How much each class weighs in the loss, by how rare it is."""
    return class_weights(counts([labels], len(recipe.classes)), recipe.balance, recipe.heaviest)


def _semantic(recipe: Recipe, labels: Tensor) -> Objective:
    weights = weights_of(recipe, labels)

    def value(network: nn.Module, pixels: Tensor, target: Tensor, bfloat16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = logits(network, pixels)
        return loss(scores, target, weights, recipe.dice, recipe.ignore)

    return value


def _classes(recipe: Recipe, labels: Tensor) -> Objective:
    weights = weights_of(recipe, labels)

    def value(network: nn.Module, pixels: Tensor, target: Tensor, bfloat16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = logits(network, pixels)
        middle = target[:, target.shape[1] // 2, target.shape[2] // 2]  # a window may reach over the crop's border
        return F.cross_entropy(scores.float(), middle, weights, label_smoothing=recipe.smooth)

    return value


def _universal(recipe: Recipe, labels: Tensor) -> Objective:
    per_class = weights_of(recipe, labels & 255)
    per_query = torch.ones(len(recipe.classes) + 1)
    per_query[-1] = recipe.no_object

    def value(network: nn.Module, pixels: Tensor, target: Tensor, bfloat16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out = network(pixel_values=pixels, output_auxiliary_logits=True, output_hidden_states=True)
            scores = getattr(network, HEAD)(out.pixel_decoder_last_hidden_state)
        layers = [(a["class_queries_logits"], a["masks_queries_logits"]) for a in out.auxiliary_logits]
        layers.append((out.class_queries_logits, out.masks_queries_logits))
        classes, offsets = scores.split((len(recipe.classes), universal.bearings(recipe)), 1)
        pixels_know = loss(classes, target[:, ::2, ::2] & 255, per_class, recipe.dice, recipe.ignore)
        pixels_know = pixels_know + recipe.centres * universal.centre_loss(offsets, target, recipe)
        return universal.loss(layers, target, per_query, recipe) + recipe.dense * pixels_know

    return value


def _regions(recipe: Recipe, labels: Tensor) -> Objective:
    from torchvision.models.detection.image_list import ImageList

    def value(network: nn.Module, pixels: Tensor, target: Tensor, bfloat16: bool) -> Tensor:
        net: Any = network
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            features = net.backbone(pixels)
        features = {name: f.float() for name, f in features.items()}
        sizes = [tuple(pixels.shape[-2:])] * len(pixels)
        truth = [universal.objects(code, recipe) for code in target]
        proposals, first = net.rpn(ImageList(pixels, sizes), features, truth)
        _, second = net.roi_heads(features, proposals, sizes, truth)
        return torch.stack([*first.values(), *second.values()]).sum()

    return value
