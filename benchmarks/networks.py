"""Networks to measure on: real architectures, random weights, nothing to download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from robustseg.models import wrap
from robustseg.models.base import Adapter

__all__ = ["NETWORKS", "make"]


def segformer_b0(classes: int) -> nn.Module:
    """SegFormer-B0 (transformer, 3.7 M parameters, output at a quarter of the size)."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes))


def unet_r18(classes: int) -> nn.Module:
    """U-Net with a ResNet-18 (CNN, 14.3 M parameters, output at full size)."""
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, classes=classes)


def small_cnn(classes: int) -> nn.Module:
    """Four convolutions at full size (tiny: whatever an attack adds shows most here)."""

    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]

    return nn.Sequential(*block(3, 16), *block(16, 32), *block(32, 32), nn.Conv2d(32, classes, 1))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "segformer-b0": segformer_b0,
    "unet-r18": unet_r18,
    "small-cnn": small_cnn,
}


def make(name: str, classes: int = 19, seed: int = 0) -> Adapter:
    """A network of `NETWORKS` with random weights, wrapped with ImageNet's normalisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = NETWORKS[name](classes)
    model = wrap(
        module,
        classes=[f"class-{i}" for i in range(classes)],
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    return replace(model, spec=replace(model.spec, ref=name))
