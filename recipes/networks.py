"""Build the network of a recipe with the library's own constructor, so that `save_pretrained` can store it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recipes.recipes import Recipe


def build(recipe: Recipe) -> nn.Module:
    """A freshly initialised network (seeded by the recipe); `encoder_weights=None`: nothing is downloaded."""
    torch.manual_seed(recipe.seed)
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.network}
    if recipe.library == "smp":
        import segmentation_models_pytorch as smp

        return smp.create_model(**arguments, encoder_weights=None, in_channels=3, classes=len(recipe.classes))
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    names = dict(enumerate(recipe.classes))
    config = SegformerConfig(
        **arguments, id2label=names, label2id={name: i for i, name in names.items()}, num_labels=len(names)
    )
    return SegformerForSemanticSegmentation(config)


def pick(output: object) -> Tensor:
    """The class scores in whatever a network returns."""
    return output if isinstance(output, Tensor) else output.logits


def logits(network: nn.Module, pixels: Tensor) -> Tensor:
    """Raw class scores `(B,C,h,w)` of normalised pixels, at the network's own resolution."""
    return pick(network(pixels))
