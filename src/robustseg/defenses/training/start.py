"""What a training starts from: all weights of a model, fresh ones, or those of another model's backbone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.defenses.training.recipe import Recipe
from robustseg.errors import UserError
from robustseg.models import load_model
from robustseg.models.base import Adapter
from robustseg.models.weights import load as load_weights
from robustseg.types import QueryOutput

__all__ = ["begin", "deep", "fresh", "layers", "take_backbone"]

FAMILIES = ("hf/", "smp/")
BACKBONES = ("segformer", "model.pixel_level_module.encoder", "backbone", "encoder", "model")


def begin(recipe: Recipe, device: torch.device) -> Adapter:
    """The model of a recipe before its first step. Raises UserError for models that could not be written again."""
    model = load_model(recipe.start)
    spec = model.spec
    if not isinstance(model, Adapter) or not spec.family.startswith(FAMILIES):
        raise UserError(
            f"{recipe.start} ({spec.family}) cannot be trained here; a Hugging Face or segmentation_models_pytorch "
            "model can: zoo:NAME, hf:FOLDER, smp:FOLDER"
        )
    if spec.task not in ("semantic", "universal"):
        raise UserError(f"{recipe.start} does {spec.task}; semantic and universal models can be trained here")
    p = model.prepare
    if p.channel_order != "rgb" or p.scale != 1 or p.split or p.square or (p.resize and not p.resize.height):
        raise UserError(
            f"{recipe.start}: its preparation of pixels cannot be written down with the result; "
            "say ?size=native&norm=imagenet (or half, none) behind the reference"
        )
    if spec.task == "universal" and any(side % p.multiple for side in recipe.crop):
        raise UserError(f"crop = {recipe.crop[0]}x{recipe.crop[1]}: {recipe.start} wants multiples of {p.multiple}")
    if recipe.fresh:
        torch.manual_seed(recipe.seed)
        model = replace(model, module=fresh(model.module))
    if recipe.backbone:
        take_backbone(model.module, *_source(recipe.backbone))
    for parameter in model.module.parameters():
        parameter.requires_grad_(True)
    return model.to(device)


def fresh(module: nn.Module) -> nn.Module:
    """The same network with new weights, drawn from torch's generator as its library draws them."""
    made: Any = type(module)
    config: Any = module.config  # type: ignore[assignment]
    if isinstance(config, Mapping):
        return made(**{**{k: v for k, v in config.items() if not k.startswith("_")}, "encoder_weights": None})
    return made(copy.deepcopy(config))


def _source(text: str) -> tuple[Mapping[str, Tensor], str]:
    """Weights by name, of a model reference or of a file."""
    if Path(text).suffix in (".safetensors", ".pt", ".pth", ".bin"):
        return load_weights(text), text
    return load_model(text).module.state_dict(), text


def take_backbone(module: nn.Module, state: Mapping[str, Tensor], source: str) -> int:
    """Fill the backbone of ``module`` from the weights of another network; how many tensors it took.

    Names are those of the loaded networks, compared behind the names of both backbones. Raises UserError unless every
    tensor of the backbone is there in its shape.
    """
    prefix = next((b for b in BACKBONES if _has(module, b)), None)
    if prefix is None:
        raise UserError(f"this network has no part that is known as a backbone ({', '.join(BACKBONES)})")
    own = module.get_submodule(prefix).state_dict()
    best: tuple[list[str], dict[str, Tensor]] = (list(own), {})
    for cut in ("", *(f"{b}." for b in BACKBONES)):
        theirs = {name.removeprefix(cut): value for name, value in state.items() if name.startswith(cut)}
        missing = [n for n, v in own.items() if n not in theirs or theirs[n].shape != v.shape]
        if len(missing) < len(best[0]):
            best = missing, {n: theirs[n] for n in own if n in theirs}
    missing, found = best
    if missing:
        raise UserError(
            f"{source} lacks {len(missing)} of the {len(own)} tensors of the backbone {prefix!r}, or has them in "
            f"another shape: {', '.join(missing[:3])}; it must be the same architecture"
        )
    module.get_submodule(prefix).load_state_dict(found)
    return len(found)


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True


def layers(raw: Any) -> QueryOutput:
    """The queries of every decoder layer; those before the last as ``extras["layers"]``."""
    earlier = [
        QueryOutput(a["class_queries_logits"].float(), a["masks_queries_logits"].float())
        for a in raw.auxiliary_logits or ()
    ]
    return QueryOutput(raw.class_queries_logits.float(), raw.masks_queries_logits.float(), {"layers": earlier})


def deep(model: Adapter, module: Any) -> Adapter:
    """The model as it is trained: through ``module``, and with the predictions of every decoder layer if it has any."""
    if model.spec.family != "hf/mask2former":
        return replace(model, module=module)
    return replace(model, module=partial(module, output_auxiliary_logits=True), head=layers)  # type: ignore[arg-type]
