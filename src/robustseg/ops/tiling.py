"""A small picture repeated over a large one."""

from __future__ import annotations

from torch import Tensor

__all__ = ["tiled"]


def tiled(tile: Tensor, size: tuple[int, int]) -> Tensor:
    """``tile (B,C,h,w)`` repeated from the top left over ``size = (H,W)``, cut at the right and at the bottom.

    Differentiable: a tile's gradient is the sum of those of its copies.

    >>> import torch
    >>> tiled(torch.tensor([[[[1, 2]]]]), (2, 3)).tolist()
    [[[[1, 2, 1], [1, 2, 1]]]]
    """
    H, W = size
    h, w = tile.shape[-2:]
    return tile.repeat(1, 1, -(-H // h), -(-W // w))[..., :H, :W]
