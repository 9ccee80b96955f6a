"""Random scale-crop, flip and colour jitter on uint8 images held in memory; every draw comes from one generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

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


def nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    """A label map resized by nearest neighbour; codes of up to 24 bits stay exact."""
    exact = label if label.dtype == torch.uint8 else label.float()
    return F.interpolate(exact[None, None], size, mode="nearest-exact")[0, 0].to(label.dtype)


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
    """A random window of `(3,H,W)` uint8 resized to `crop`; labels by nearest neighbour; half of them mirrored.

    A label is a class, or a class plus 256 times the number of an object.

    `around`: a class; the window then holds one of its pixels, at a random place (where the class occurs).
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
    """Brightness, contrast, saturation and white balance per image, factors exp(U(-s, s)); `(B,3,H,W)` in [0,1]."""

    def factors(channels: int, s: float) -> Tensor:
        return torch.exp((torch.rand(images.shape[0], channels, 1, 1, generator=generator) * 2 - 1) * s)

    images = images * factors(1, strength) * factors(3, strength / 4)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factors(1, strength)
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * factors(1, strength)).clamp(0, 1)


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


def occurrence(labels: Tensor, classes: int) -> list[Tensor]:
    """For every class that occurs, as `(class, image indices)` rows: where it can be found."""
    seen = torch.stack([torch.bincount((label & 255).flatten().int(), minlength=256)[:classes] > 0 for label in labels])
    return [torch.cat([torch.tensor([c]), seen[:, c].nonzero()[:, 0]]) for c in range(classes) if seen[:, c].any()]


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
