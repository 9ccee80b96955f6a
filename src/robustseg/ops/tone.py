"""From light to the picture, in the graph: sRGB and the tone curve of the rendered scenes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["display", "to_linear", "to_srgb"]


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB in [0,1] -> linear light (IEC 61966-2-1), any shape.

    >>> to_linear(torch.tensor([0.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    curved = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, curved)


def to_srgb(linear: Tensor) -> Tensor:
    """Linear light -> sRGB in [0,1], any shape; what is outside [0,1] is clipped and has no gradient.

    The ends themselves keep theirs, else a black patch could never leave black.
    """
    x = torch.where((linear >= 0) & (linear <= 1), linear, linear.detach().clamp(0, 1))
    curved = 1.055 * x.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(x <= 0.0031308, 12.92 * x, curved)


def display(exposed: Tensor) -> Tensor:
    """Exposed linear light -> sRGB in [0,1], element by element; the same curve as `scenes.tone.display`.

    Narkowicz's fit of ACES, x(2.51x+0.03)/(x(2.43x+0.59)+0.14) (2015), then sRGB. Light above about 8 is white.

    >>> display(torch.tensor([0.0, 100.0])).round().tolist()
    [0.0, 1.0]
    """
    x = torch.where(exposed >= 0, exposed, 0)
    return to_srgb(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14))
