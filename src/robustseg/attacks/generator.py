"""A perturbation made by a network in one forward pass: its weights are what an attacker has learned beforehand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Generator"]

CELL = 8  # three halvings


class Generator(nn.Module):
    """``θ = radius · tanh(U(x, cue))`` for images ``x (B,C,H,W)`` of any size.

    ``cue (B,1,H,W)`` tells it what is wanted: 1 where the class shall appear, -1 where it shall go, 0 elsewhere.
    ``radius``: the largest change of a pixel; 1 is none but that of the box. A U-Net after Chen, Wang, Crandall, WACV
    2022, arXiv 2104.01732: three strided convolutions, a fourth without stride, transposed ones with skips. Ours
    differs: fewer channels, padding (any size), normalisation in groups (an image never sees its batch), the cue.

    >>> Generator(3, 4, 0.1)(torch.zeros(2, 3, 10, 12), torch.zeros(2, 1, 10, 12)).shape
    torch.Size([2, 3, 10, 12])
    """

    radius: torch.Tensor

    def __init__(self, channels: int, width: int, radius: float) -> None:
        super().__init__()
        self.radius: Tensor
        w = width
        self.register_buffer("radius", torch.tensor(float(radius)))
        self.down1 = nn.Conv2d(channels + 1, w, 3, 2, 1)
        self.down2 = nn.Sequential(nn.Conv2d(w, 2 * w, 5, 2, 2), _norm(2 * w), nn.ReLU())
        self.down3 = nn.Sequential(nn.Conv2d(2 * w, 4 * w, 5, 2, 2), _norm(4 * w), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(4 * w, 8 * w, 3, 1, 1), _norm(8 * w), nn.ReLU())
        self.up3 = nn.Sequential(nn.Conv2d(8 * w, 4 * w, 3, 1, 1), _norm(4 * w), nn.ReLU())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(8 * w, 2 * w, 4, 2, 1), _norm(2 * w), nn.ReLU())
        self.up1 = nn.Sequential(nn.ConvTranspose2d(4 * w, w, 4, 2, 1), _norm(w), nn.ReLU())
        self.out = nn.ConvTranspose2d(2 * w, channels, 4, 2, 1)

    def features(self, images: Tensor, cue: Tensor) -> Tensor:
        """What the perturbation is made of, at half the (padded) size: ``(B,2·width,h,w)``."""
        x = torch.cat([2 * images - 1, cue], 1)
        x = F.pad(x, (0, -x.shape[-1] % CELL, 0, -x.shape[-2] % CELL), mode="replicate")
        one = F.relu(self.down1(x))
        two = self.down2(one)
        three = self.down3(two)
        up = torch.cat([self.up3(self.deep(three)), three], 1)
        up = torch.cat([self.up2(up), two], 1)
        return torch.cat([self.up1(up), one], 1)

    def forward(self, images: Tensor, cue: Tensor) -> Tensor:
        """The perturbation, of the shape of ``images``; not yet cut to their box."""
        H, W = images.shape[-2:]
        return self.radius * self.out(self.features(images, cue))[..., :H, :W].tanh()


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(channels // 8, 1), channels)
