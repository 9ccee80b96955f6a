"""The baseline of an attack without a ball: noise as long as what it did, on the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustseg.ops import seeds

__all__ = ["equal_noise"]

HALVINGS = 40


def equal_noise(images: Tensor, attacked: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """``images (B,C,H,W)`` under normal noise whose L2 length is that of ``attacked - images``, image by image.

    Only pixels that were changed are, and pixels stay in [0,1]: the factor is found by bisection, after the cut.
    Raises nothing; where so much noise does not fit into the box, it is as long as it can be.

    >>> x = torch.full((1, 3, 4, 4), 0.5)
    >>> found = equal_noise(x, x + 0.1, ["a"], 0)
    >>> round(float((found - x).norm() / (0.1 * torch.ones_like(x)).norm()), 4)
    1.0
    """
    delta = attacked - images
    changed = (delta != 0).any(1, keepdim=True)
    length = delta.double().flatten(1).norm(dim=1)
    noise = seeds.normal(images, [seeds.generator(seed, f"{i}/equal-noise") for i in ids]) * changed

    def made(factor: Tensor) -> Tensor:
        return (images + factor.view(-1, 1, 1, 1).to(noise) * noise).clamp(0, 1)

    low = torch.zeros_like(length)
    high = torch.full_like(length, 1e4)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = (made(middle) - images).double().flatten(1).norm(dim=1) < length
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return made(low)
