"""Cloth by formula: fashion images of our own, so that no photograph needs to be bundled.

Every pattern is a colour design of the plane, seen through the weave of its threads: the grain that tells cloth from
paint. All tile seamlessly at 64 pixels a repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PATTERNS", "cloth"]

REPEAT = 64  # pixels
THREAD = 4
SAMPLES = 4  # a pixel, each way

Colour = tuple[float, float, float]
Field = Callable[[Tensor, Tensor], Tensor]


def _stripes(at: Tensor, edges: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Bands across ``at`` in repeats: (from, to, value) in shares of the repeat, 0 elsewhere."""
    u = (at / REPEAT) % 1
    value = torch.zeros_like(u)
    for low, high, height in edges:
        value = torch.where((u >= low) & (u < high), height, value)
    return value


def _tartan(x: Tensor, y: Tensor) -> Tensor:
    """Warp and weft of the same sett, twilled: every second pair of threads shows the one, then the other."""
    sett = ((0.0, 0.3, 1.0), (0.44, 0.5, 2.0), (0.62, 0.68, 2.0), (0.8, 0.84, 3.0))
    over = ((x + y) // 2 % 2) == 0
    return torch.where(over, _stripes(x, sett), _stripes(y, sett))


def _houndstooth(x: Tensor, y: Tensor) -> Tensor:
    """Four dark, four light threads both ways, twilled two and two."""
    dark_x, dark_y = (x // 8) % 2, (y // 8) % 2
    return torch.where(((x + y) // 4 % 2) == 0, dark_x, dark_y)


def _herringbone(x: Tensor, y: Tensor) -> Tensor:
    """Diagonals that turn round every sixteen pixels."""
    turned = torch.where((x // 16) % 2 == 0, x, -x)
    return ((turned + y) // 4 % 2).to(x)


def _breton(x: Tensor, y: Tensor) -> Tensor:
    """Level stripes, one third of the height."""
    return _stripes(y * 4, ((0.0, 0.34, 1.0),))


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Dots of a fifth of their distance, every second row moved by half."""
    side = REPEAT / 4
    row = torch.floor(y / side)
    u, v = ((x + (row % 2) * side / 2) / side) % 1 - 0.5, (y / side) % 1 - 0.5
    return (u**2 + v**2 < 0.26**2).to(x)


def _blossom(x: Tensor, y: Tensor) -> Tensor:
    """Five-petalled flowers with a heart, in two sizes."""
    value = torch.zeros_like(x)
    for cx, cy, size, turn in ((0.25, 0.25, 0.20, 0.3), (0.75, 0.7, 0.24, 1.1), (0.72, 0.2, 0.10, 0.0),
                               (0.22, 0.75, 0.12, 0.7)):  # fmt: skip
        u, v = ((x / REPEAT - cx + 0.5) % 1 - 0.5), ((y / REPEAT - cy + 0.5) % 1 - 0.5)
        radius, angle = torch.sqrt(u**2 + v**2), torch.atan2(v, u)
        petals = size * (0.72 + 0.28 * torch.cos(5 * (angle + turn)))
        value = torch.where(radius < petals, 1.0, value)
        value = torch.where(radius < 0.28 * size, 2.0, value)
    return value


PATTERNS: dict[str, tuple[Field, tuple[Colour, ...]]] = {
    "tartan": (_tartan, ((0.10, 0.22, 0.17), (0.45, 0.09, 0.12), (0.09, 0.12, 0.30), (0.86, 0.72, 0.30))),
    "houndstooth": (_houndstooth, ((0.88, 0.86, 0.82), (0.13, 0.13, 0.15))),
    "herringbone": (_herringbone, ((0.47, 0.41, 0.34), (0.27, 0.23, 0.20))),
    "breton": (_breton, ((0.90, 0.89, 0.85), (0.12, 0.17, 0.36))),
    "dots": (_dots, ((0.16, 0.24, 0.42), (0.92, 0.90, 0.86))),
    "blossom": (_blossom, ((0.33, 0.42, 0.36), (0.90, 0.62, 0.60), (0.95, 0.85, 0.45))),
}


def cloth(name: str, size: tuple[int, int], repeat: int = REPEAT) -> Tensor:
    """The pattern ``name`` as an image ``(3,H,W)`` in [0,1] of ``size``, always the same; ``repeat`` in pixels.

    >>> cloth("dots", (64, 128)).shape, bool(torch.equal(cloth("dots", (64, 64)), cloth("dots", (64, 128))[..., 64:]))
    (torch.Size([3, 64, 128]), True)
    """
    field, colours = PATTERNS[name]
    # several samples a pixel, so that a small repeat is the picture from further away
    lines = [(torch.arange(n * SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES * REPEAT / repeat for n in size]
    y, x = torch.meshgrid(*(line.floor() for line in lines), indexing="ij")
    plain = torch.tensor(colours, dtype=torch.float64)[field(x, y).long()]
    # threads go over and under: a ridge along each, by turns the warp's and the weft's
    over = ((x // THREAD + y // THREAD) % 2) == 0
    across = torch.where(over, x, y) % THREAD
    ridge = torch.sin(math.pi * (across + 0.5) / THREAD)
    shaded = (plain * (0.82 + 0.22 * ridge).unsqueeze(-1)).clamp(0, 1).permute(2, 0, 1)
    return F.avg_pool2d(shaded, SAMPLES).float()
