"""Gaussian blur with a width of its own for every image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["gaussian"]


def gaussian(images: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Images ``(B,C,H,W)`` blurred by ``sigma (B,)`` pixels, borders repeated; 0 leaves an image as it is.

    ``largest``: the largest sigma there may be. The kernel reaches three of it, whatever was drawn, so that an image
    has the same blur in any batch.

    >>> x = torch.zeros(1, 1, 1, 5); x[..., 2] = 1
    >>> bool(torch.equal(gaussian(x, torch.zeros(1), 1.0), x))
    True
    """
    reach = max(math.ceil(3 * largest), 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    width = sigma.to(offsets).clamp_min(1e-3).unsqueeze(1)
    kernel = torch.exp(-0.5 * (offsets / width) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images)
    B, C, H, W = images.shape
    weight = kernel.repeat_interleave(C, 0)
    flat = images.reshape(1, B * C, H, W)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), weight[:, None, None, :], groups=B * C)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), weight[:, None, :, None], groups=B * C)
    return flat.view(B, C, H, W)
