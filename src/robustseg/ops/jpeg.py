"""JPEG as a function that can be differentiated: what libjpeg does to an image, without the file.

YCbCr, colour at half size, 8×8 cosine transform, quantisation with the tables of the standard (ITU-T T.81, annex K)
scaled by quality as libjpeg scales them, and all the way back. Entropy coding loses nothing and is left out. Only
rounding has no useful gradient; ``rounding`` says what takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cubic", "hard_cubic", "jpeg", "straight", "tables"]

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # the rest is 99
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def straight(x: Tensor) -> Tensor:
    """Rounded; the gradient passes as if it were not."""
    return x + (x.round() - x).detach()


def cubic(x: Tensor) -> Tensor:
    """``round(x) + (x - round(x))^3``: smooth, and its own gradient. Shin & Song, NeurIPS 2017 workshop."""
    whole = x.detach().round()
    return whole + (x - whole) ** 3


def hard_cubic(x: Tensor) -> Tensor:
    """Rounded, with the gradient of :func:`cubic`: what would be rounded to 0 anyway hardly pulls."""
    soft = cubic(x)
    return soft + (x.round() - soft).detach()


def tables(quality: Tensor) -> tuple[Tensor, Tensor]:
    """Quantisation tables ``(B,8,8)`` of luma and chroma at ``quality (B,)`` from 1 to 100, as libjpeg makes them.

    >>> int(tables(torch.tensor([50.0]))[0][0, 0, 0]), int(tables(torch.tensor([90.0]))[0][0, 0, 0])
    (16, 3)
    """
    q = quality.double().round().clamp(1, 100)
    scale = torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q).view(-1, 1, 1)
    luma = torch.tensor(LUMA, dtype=torch.float64, device=quality.device)
    chroma = torch.full((8, 8), 99.0, dtype=torch.float64, device=quality.device)
    chroma[:4, :4] = torch.tensor(CHROMA, dtype=torch.float64, device=quality.device)
    luma, chroma = (((t * scale + 50) / 100).floor().clamp(1, 255) for t in (luma, chroma))
    return luma, chroma


def jpeg(images: Tensor, quality: Tensor, rounding: Callable[[Tensor], Tensor] = straight) -> Tensor:
    """RGB ``(B,3,H,W)`` in [0,1] as it comes back from a JPEG file of ``quality (B,)``, colour at half size (4:2:0).

    Differentiable; any size. Equal to Pillow's within a grey level in the mean (the tests say how far).
    """
    H, W = images.shape[-2:]
    padded = F.pad(images, (0, -W % 16, 0, -H % 16), mode="replicate")
    ycc = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_YCC), padded * 255)
    luma, chroma = (t.to(images) for t in tables(quality))
    y = _coded(ycc[:, :1] - 128, luma, rounding) + 128
    colour = _coded(F.avg_pool2d(ycc[:, 1:], 2), chroma, rounding)
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)  # libjpeg's "fancy" one
    rgb = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_RGB), torch.cat([y, colour], 1))
    return (rgb / 255).clamp(0, 1)[..., :H, :W]


def _coded(plane: Tensor, table: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    """Planes ``(B,C,H,W)`` through transform, quantisation and back."""
    B, C, H, W = plane.shape
    basis = _basis().to(plane)
    step = table.view(B, 1, 1, 1, 8, 8)
    blocks = plane.view(B, C, H // 8, 8, W // 8, 8).transpose(3, 4)
    found = rounding(basis @ blocks @ basis.T / step) * step
    return (basis.T @ found @ basis).transpose(3, 4).reshape(B, C, H, W)


def _basis() -> Tensor:
    """The orthonormal cosine transform of eight values, one frequency a row."""
    k = torch.arange(8, dtype=torch.float64)
    rows = torch.cos(math.pi * k.view(-1, 1) * (2 * k + 1) / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows
