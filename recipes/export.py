"""Write a trained network in the layout that its library reads, with what RobustSeg needs to know beside it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from torch import nn

from recipes.networks import regions_config, timm_config
from recipes.recipes import Recipe
from robustseg.models.zoo import load_folder


def export(network: nn.Module, recipe: Recipe, folder: Path) -> None:
    """config.json, model.safetensors in half precision, as the library writes them; robustseg.json without scores."""
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(network).to(memory_format=torch.contiguous_format).half().eval()
    if recipe.library in ("maskrcnn", "timm"):
        from safetensors.torch import save_file

        config = regions_config(recipe) if recipe.library == "maskrcnn" else timm_config(recipe)
        save_file(half.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    else:
        half.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes files that only their owner may read
    describe(network, recipe, folder, {})


def describe(network: nn.Module, recipe: Recipe, folder: Path, clean: dict) -> None:
    """robustseg.json: adapter, classes, normalisation, sizes, licence and the clean scores that were measured."""
    facts = {
        "adapter": recipe.library,
        "task": recipe.task,
        "classes": list(recipe.classes),
        **({"things": list(recipe.things)} if recipe.things else {}),
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "ignore_index": recipe.ignore,
        "multiple": recipe.multiple,
        **({"resize": "native"} if recipe.library == "maskrcnn" else {}),
        **({"tiles": recipe.tiling} if recipe.tiles else {}),
        **({"resize": list(recipe.size)} if recipe.task == "classification" else {}),
        "size": list(recipe.size),
        "parameters": sum(p.numel() for p in network.parameters()),
        "licence": recipe.licence,
        "data": f"{recipe.data}:val" if recipe.data.startswith("street") else recipe.data,
        "clean": clean,
    }
    (folder / "robustseg.json").write_text(json.dumps(facts, indent=2) + "\n")


def reload(recipe: Recipe, folder: Path) -> nn.Module:
    """The network in float32, rebuilt from the exported folder alone."""
    if recipe.library == "smp":
        import segmentation_models_pytorch as smp

        return smp.from_pretrained(str(folder)).float().eval()
    if recipe.library in ("maskrcnn", "timm") or recipe.task == "classification":
        return load_folder(folder).module
    from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation

    family = AutoModelForUniversalSegmentation if recipe.task == "universal" else AutoModelForSemanticSegmentation
    return family.from_pretrained(folder, dtype=torch.float32).eval()
