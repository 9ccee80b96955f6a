"""From [0,1] RGB pixels to what a network was trained on: resize, channel order, range, normalisation, padding.

All of it is differentiable and part of the graph, so that an attack's gradient is with respect to the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["IMAGENET", "Prepare", "Resize", "extent"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def extent(tensor: Tensor) -> tuple[int, int]:
    """Height and width, the last two sizes.

    >>> extent(torch.zeros(2, 3, 4, 5))
    (4, 5)
    """
    return tensor.shape[-2], tensor.shape[-1]


@dataclass(frozen=True)
class Resize:
    """A rule for the size at which the network sees an image of ``(H, W)``.

    ``height, width``: this size; with ``keep_aspect`` the axis that needs less scaling decides for both (DPT).
    ``shortest`` (with ``longest`` as a cap): the aspect ratio stays. ``multiple``: rounded to a multiple of it,
    ``up`` or to the ``nearest``. ``rounding="down"`` (torchvision's detectors) or ``"half"`` (SAM): one factor for both
    sides, the larger that keeps to ``shortest`` and ``longest``, then whole pixels.

    >>> Resize(shortest=100).of(50, 80)
    (100, 160)
    >>> Resize(shortest=100, longest=120, multiple=32, rounding="up").of(50, 80)
    (96, 128)
    >>> Resize(shortest=100, longest=120, rounding="down").of(50, 81), Resize(longest=120, rounding="half").of(50, 81)
    ((74, 120), (74, 120))
    """

    height: int | None = None
    width: int | None = None
    shortest: int | None = None
    longest: int | None = None
    keep_aspect: bool = False
    multiple: int = 1
    rounding: Literal["up", "nearest", "down", "half"] = "nearest"
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    antialias: bool = True

    def of(self, H: int, W: int) -> tuple[int, int]:
        """The size ``(h, w)`` for an image of ``(H, W)``."""
        if self.rounding in ("down", "half"):
            sides = ((self.shortest, min(H, W)), (self.longest, max(H, W)))
            factor = min(wanted / side for wanted, side in sides if wanted)
            more = 0.5 if self.rounding == "half" else 0.0
            return int(H * factor + more), int(W * factor + more)
        h, w = self._raw(H, W)
        if self.multiple == 1:
            return round(h), round(w)
        if self.rounding == "up":
            return math.ceil(h / self.multiple) * self.multiple, math.ceil(w / self.multiple) * self.multiple
        return round(h / self.multiple) * self.multiple, round(w / self.multiple) * self.multiple

    def _raw(self, H: int, W: int) -> tuple[float, float]:
        if self.height and self.width:
            fy, fx = self.height / H, self.width / W
            if self.keep_aspect:
                fy = fx = fx if abs(1 - fx) < abs(1 - fy) else fy
            return fy * H, fx * W
        short, side = self.shortest or self.longest or min(H, W), float(self.shortest or 0)
        if self.longest and max(H, W) / min(H, W) * short > self.longest:
            side = self.longest * min(H, W) / max(H, W)  # the cap decides; the fraction counts for the long side
            short = round(side)
        if min(H, W) == short:
            return H, W
        side = side or short
        return (short, int(side * W / H)) if H <= W else (int(side * H / W), short)


@dataclass(frozen=True)
class Prepare:
    """How a network wants its pixels. Order: resize, channel order, range, normalise, pad (bottom and right).

    ``scale``: what [0,1] is multiplied by before the normalisation (255 for networks trained on 0..255);
    ``mean, std`` are in the network's channel order and range. ``multiple``: sides are padded to it; ``square``: to
    this size; ``fill``: with the mean colour (zero after normalisation) or black. ``split``: side of the windows
    along the long side.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    resize: Resize | None = None
    multiple: int = 1
    square: int | None = None
    fill: Literal["mean", "black"] = "mean"
    split: int | None = None

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return len(self.mean)

    def resized(self, images: Tensor) -> Tensor:
        """Images at the network's size; the same tensor where nothing is to be done."""
        if self.resize is None:
            return images
        size = self.resize.of(*extent(images))
        if size == extent(images):
            return images
        mode = self.resize.interpolation
        if mode == "nearest":
            return F.interpolate(images, size, mode=mode)
        return F.interpolate(images, size, mode=mode, align_corners=False, antialias=self.resize.antialias)

    def normalised(self, images: Tensor) -> Tensor:
        """Channel order, range, mean and deviation."""
        if self.channel_order == "bgr":
            images = images.flip(1)
        if not any(self.mean) and all(s == 1 for s in self.std):
            return images if self.scale == 1 else images * self.scale
        # (scale*x - mean)/std = (x - mean/scale) * scale/std, one subtraction and one division
        mean, std = _constants(self.mean, self.std, self.scale, images.device, images.dtype)
        return (images - mean) / std

    def padded(self, images: Tensor) -> Tensor:
        """Sides filled up at the bottom and on the right, after the normalisation."""
        H, W = images.shape[-2:]
        height, width = -(-H // self.multiple) * self.multiple, -(-W // self.multiple) * self.multiple
        if self.square:
            height, width = max(height, self.square), max(width, self.square)
        if (height, width) == (H, W):
            return images
        pad = (0, width - W, 0, height - H)
        if self.fill == "mean" or not any(self.mean):
            return F.pad(images, pad)
        mean, std = _constants(self.mean, self.std, self.scale, images.device, images.dtype)
        return F.pad(images + mean / std, pad) - mean / std

    def __call__(self, images: Tensor) -> Tensor:
        """Everything in order."""
        return self.padded(self.normalised(self.resized(images)))


@lru_cache(maxsize=64)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], scale: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Kept per device: a copy from the host in every step would make the device wait."""
    with torch.inference_mode(False):
        m, s = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) / scale for v in (mean, std))
        return m.to(device, dtype), s.to(device, dtype)
