"""What an image might show where it cannot be seen: the harmonic in-fill, a function of the visible pixels alone.

It is the picture with the least squared gradient that agrees with what is visible (Laplace's equation, with borders
that nothing crosses), found from coarse to fine: every scale starts from the one below and is relaxed a few times. All
of it is means of visible pixels, so the values stay within theirs, a gradient passes, and what is hidden has no
influence at all, which certificates rest on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["VERSION", "harmonic"]

VERSION = 1
SWEEPS = 12  # relaxations a scale
GREY = 0.5  # of a picture of which nothing is visible


def harmonic(images: Tensor, visible: Tensor) -> Tensor:
    """``images (B,C,H,W)`` where ``visible (H,W)`` bool, elsewhere what follows from there; visible pixels to the bit.

    >>> x = torch.tensor([0.0, 9.0, 9.0, 9.0, 1.0]).view(1, 1, 1, 5)
    >>> filled = harmonic(x, torch.tensor([[True, False, False, False, True]]))
    >>> [round(float(v), 2) for v in filled.flatten()]
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if bool(visible.all()):
        return images
    known = visible.to(images)[None, None]
    filled = _filled(torch.where(visible, images, 0), known)
    return torch.where(visible, images, filled)


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """``values``, 0 where ``known (1,1,H,W)`` is 0, with those places filled."""
    H, W = values.shape[-2:]
    if H == W == 1:
        return values + (1 - known) * GREY
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    coarse = F.avg_pool2d(values, 2, ceil_mode=True) / share.clamp_min(1e-9)
    below = _filled(coarse, (share > 0).to(values))
    x = torch.where(known > 0, values, F.interpolate(below, (H, W), mode="bilinear", align_corners=False))
    for _ in range(SWEEPS):
        p = F.pad(x, (1, 1, 1, 1), mode="replicate")
        around = (p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:]) / 4
        x = torch.where(known > 0, values, around)
    return x
