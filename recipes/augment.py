"""Augmented batches of uint8 images held in memory; every draw comes from one generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from robustseg.defenses.training.augment import colour_jitter, scale_crop, uniform


def stained(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Fluorescence as other microscopes show it; `(B,3,H,W)` in [0,1], dark ground, bright objects.

    Every image gets its own exposure, haze and noise; a `share` of them is printed dark on bright, in random colours,
    on a ground of two colours that are mixed in patches as in tissue.
    """

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, 1, 1, generator=generator)

    B, _, H, W = images.shape
    grey = images.mean(1, keepdim=True)
    low, high = grey.amin((2, 3), keepdim=True), grey.amax((2, 3), keepdim=True)
    grey = ((grey - low) / (high - low).clamp(min=0.02)).clamp(0, 1) ** torch.exp(draw(-0.5, 0.5, B, 1))
    haze = smooth(B, (H, W), (4,), generator) * draw(0, 0.35, B, 1) * (draw(0, 1, B, 1) < 0.5)
    noise = torch.randn(B, 3, H, W, generator=generator) * draw(0, 0.04, B, 1)
    dark = grey * draw(0.1, 1, B, 1) + haze
    tissue = smooth(B, (H, W), (6, 24), generator) * draw(0, 3, B, 1) - draw(0, 2, B, 1)
    ground = torch.lerp(draw(0.6, 1, B, 3), draw(0.4, 1, B, 3), tissue.clamp(0, 1))
    ink = draw(0, 0.6, B, 3)
    bright = ground + (ink - ground) * (grey * draw(0.6, 1, B, 1) + haze).clamp(0, 1)
    return (torch.where(draw(0, 1, B, 1) < share, bright, dark) + noise).clamp(0, 1)


def smooth(count: int, size: tuple[int, int], bumps: Sequence[int], generator: Generator) -> Tensor:
    """Smooth noise in [0,1], `(count,1,H,W)`: the mean of fields with so many bumps a side."""
    fields = [
        F.interpolate(torch.rand(count, 1, n, n, generator=generator), size, mode="bicubic").clamp(0, 1) for n in bumps
    ]
    return torch.stack(fields).mean(0)


def turned(image: Tensor, label: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """A square by a random multiple of 90 degrees."""
    quarters = int(uniform(generator, 0, 4))
    return image.rot90(quarters, (-2, -1)), label.rot90(quarters, (-2, -1))


def make_batch(
    images: Tensor,
    labels: Tensor,
    indices: list[int],
    *,
    crop: tuple[int, int],
    zoom: tuple[float, float],
    stretch: float,
    jitter: float,
    ignore: int,
    generator: Generator,
    places: Sequence[Tensor] = (),
    aware: float = 0.0,
    stain: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Augmented batch: float images `(B,3,h,w)` in [0,1] and int64 labels or codes `(B,h,w)`.

    With probability `aware` an index is replaced: a class is drawn (all alike, so rare ones are seen as often), then
    one of its images in `places` (see `occurrence`), and the window holds a pixel of it. `stain`: images of cells; they
    are turned as well, and this share of them changes its staining.
    """
    pairs = []
    for i in indices:
        around = None
        if aware and uniform(generator, 0, 1) < aware:
            row = places[int(uniform(generator, 0, len(places)))]
            around, i = int(row[0]), int(row[1 + int(uniform(generator, 0, len(row) - 1))])
        pairs.append(scale_crop(images[i], labels[i], crop, zoom, stretch, ignore, generator, around))
        if stain is not None:
            pairs[-1] = turned(*pairs[-1], generator)
    pixels = torch.stack([p for p, _ in pairs]).float() / 255
    if stain is not None:
        pixels = stained(pixels, stain, generator)
    return colour_jitter(pixels, jitter, generator), torch.stack([t for _, t in pairs]).long()
