"""Build the network of a recipe with the library's own constructor, so that `save_pretrained` can store it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from recipes.recipes import Recipe
from recipes.universal import bearings, grid, places, waves
from robustseg.types import QueryOutput

HEAD = "dense_head"  # reads classes from the pixel features of a mask classifier; for the training only


def build(recipe: Recipe) -> nn.Module:
    """A freshly initialised network (seeded by the recipe); `encoder_weights=None`: nothing is downloaded."""
    torch.manual_seed(recipe.seed)
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.network}
    if recipe.task == "classification":
        return _classifier(recipe, arguments)
    if recipe.library == "smp":
        import segmentation_models_pytorch as smp

        return smp.create_model(**arguments, encoder_weights=None, in_channels=3, classes=len(recipe.classes))
    if recipe.task == "universal":
        return _mask2former(recipe, arguments)
    if recipe.library == "maskrcnn":
        from robustseg.models.maskrcnn_net import build as build_regions

        return build_regions(regions_config(recipe))
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    names = dict(enumerate(recipe.classes))
    config = SegformerConfig(
        **arguments, id2label=names, label2id={name: i for i, name in names.items()}, num_labels=len(names)
    )
    return SegformerForSemanticSegmentation(config)


def _classifier(recipe: Recipe, arguments: dict) -> nn.Module:
    """One label for the whole image: a network of timm, or a plain ViT with its CLS token."""
    names = dict(enumerate(recipe.classes))
    if recipe.library == "timm":
        import timm

        return timm.create_model(**timm_config(recipe)["model_args"], model_name=arguments["architecture"],
                                 num_classes=len(names))  # fmt: skip
    from transformers import ViTConfig, ViTForImageClassification

    label2id = {name: i for i, name in names.items()}
    return ViTForImageClassification(ViTConfig(**arguments, id2label=names, label2id=label2id))


def timm_config(recipe: Recipe) -> dict:
    """config.json in timm's own layout, JSON-able."""
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.network}
    name = arguments.pop("architecture")
    return {"architecture": name, "num_classes": len(recipe.classes), "model_args": arguments}


def regions_config(recipe: Recipe) -> dict:
    """What `robustseg.models.maskrcnn_net.build` needs, JSON-able."""
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.network}
    return {"classes": len(recipe.classes), "mean": list(recipe.mean), "std": list(recipe.std), **arguments}


def _mask2former(recipe: Recipe, arguments: dict) -> nn.Module:
    from transformers import AutoConfig, Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    names = dict(enumerate(recipe.classes))
    backbone = {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.pop("backbone_config")}
    stages = [f"stage{i}" for i in range(1, 5)]
    config = Mask2FormerConfig(
        backbone_config=AutoConfig.for_model(**backbone, out_features=stages),
        id2label=names, label2id={name: i for i, name in names.items()}, num_labels=len(names), **arguments,
    )  # fmt: skip
    network = Mask2FormerForUniversalSegmentation(config)
    if recipe.place:
        _settle(network, sum(not thing for thing in recipe.is_thing))
    network.add_module(HEAD, nn.Conv2d(config.mask_feature_size, len(names) + bearings(recipe), 1))
    return network


@torch.no_grad()
def _settle(network: Any, stuff: int) -> None:
    """Queries for objects start from the place where each is at home, and patches, where they can, from their own."""
    decoder, fine = network.model.transformer_module, 128
    code = decoder.position_embedder((1, 1, fine, fine), torch.device("cpu"), torch.float32)[0]
    home = places(len(decoder.queries_embedder.weight) - stuff)
    at = (home * fine).long()
    decoder.queries_embedder.weight[stuff:] = code[:, at[:, 0], at[:, 1]].T
    for name, weight in network.named_parameters():
        if name.endswith("position_embeddings"):
            side = round(weight.shape[1] ** 0.5)
            weight.copy_(waves(grid((side, side)), weight.shape[2]))
    decoder.queries_features.weight[stuff:] = waves(home, decoder.queries_features.weight.shape[1])


def bare(network: nn.Module) -> nn.Module:
    """A copy without what only the training needs."""
    network = copy.deepcopy(network)
    if hasattr(network, HEAD):
        delattr(network, HEAD)
    return network


def pick(output: Any) -> Any:
    """The class scores, or the queries, in whatever a network returns."""
    if hasattr(output, "class_queries_logits"):
        return QueryOutput(output.class_queries_logits.float(), output.masks_queries_logits.float())
    return output if isinstance(output, Tensor) else output.logits


def logits(network: nn.Module, pixels: Tensor) -> Tensor:
    """Raw class scores `(B,C,h,w)` of normalised pixels, at the network's own resolution."""
    return pick(network(pixels))
