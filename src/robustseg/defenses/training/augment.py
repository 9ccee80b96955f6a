"""Random scale-crop, flip and colour jitter of 8-bit images; every draw comes from a generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from robustseg.data.resize import nearest

__all__ = ["GREY", "colour_jitter", "scale_crop", "uniform", "window"]

GREY = 114  # what lies outside the photograph; the label there is ignored


def uniform(generator: Generator, low: float, high: float) -> float:
    """One number in [low, high)."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def window(image: Tensor, label: Tensor, top: int, left: int, height: int, width: int, ignore: int):
    """Cut a window that may reach over the border: grey pixels, ignored label."""
    H, W = label.shape
    y0, y1, x0, x1 = max(top, 0), min(top + height, H), max(left, 0), min(left + width, W)
    pad = (x0 - left, left + width - x1, y0 - top, top + height - y1)
    image, label = image[:, y0:y1, x0:x1], label[y0:y1, x0:x1]
    if any(pad):
        image, label = F.pad(image, pad, value=GREY), F.pad(label, pad, value=ignore)
    return image, label


def scale_crop(
    image: Tensor,
    label: Tensor,
    crop: tuple[int, int],
    zoom: tuple[float, float],
    stretch: float,
    ignore: int,
    generator: Generator,
    around: int | None = None,
) -> tuple[Tensor, Tensor]:
    """A random window of ``(3,H,W)`` uint8 resized to ``crop``; labels by nearest neighbour; half of them mirrored.

    ``zoom`` is crop pixels per original pixel, drawn log-uniformly. A label is a class, or a class plus 256 times the
    number of an object. ``around``: a class; the window then holds one of its pixels, at a random place (where the
    class occurs).
    """
    factor = math.exp(uniform(generator, math.log(zoom[0]), math.log(zoom[1])))
    aspect = math.exp(uniform(generator, -stretch, stretch))
    height, width = round(crop[0] / factor), round(crop[1] / factor * aspect)
    spare_y, spare_x = label.shape[0] - height, label.shape[1] - width
    rows, columns = sorted((0, spare_y)), sorted((0, spare_x))
    if around is not None and len(places := ((label & 255) == around).nonzero()):
        y, x = places[int(uniform(generator, 0, len(places)))].tolist()
        rows = [min(max(v, y - height + 1), y) for v in rows]
        columns = [min(max(v, x - width + 1), x) for v in columns]
    top, left = round(uniform(generator, *rows)), round(uniform(generator, *columns))
    image, label = window(image, label, top, left, height, width, ignore)
    image = F.interpolate(image[None], crop, mode="bilinear", antialias=True)[0]
    label = nearest(label, crop)
    if uniform(generator, 0, 1) < 0.5:
        image, label = image.flip(-1), label.flip(-1)
    return image, label


def colour_jitter(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation and white balance per image, factors exp(U(-s, s)); ``(B,3,H,W)`` in [0,1]."""

    def factors(channels: int, s: float) -> Tensor:
        return torch.exp((torch.rand(images.shape[0], channels, 1, 1, generator=generator) * 2 - 1) * s)

    images = images * factors(1, strength) * factors(3, strength / 4)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factors(1, strength)
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * factors(1, strength)).clamp(0, 1)
