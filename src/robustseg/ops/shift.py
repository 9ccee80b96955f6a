"""Masks moved by whole pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["shifted"]


def shifted(masks: Tensor, dx: int, dy: int) -> Tensor:
    """``masks (...,H,W)`` moved ``dx`` pixels to the right and ``dy`` down; what leaves the picture is gone.

    >>> shifted(torch.tensor([[1, 2, 3]]), 1, 0).tolist(), shifted(torch.tensor([[1, 2, 3]]), -2, 0).tolist()
    ([[0, 1, 2]], [[3, 0, 0]])
    """
    h, w = masks.shape[-2:]
    out = torch.zeros_like(masks)
    y, x = slice(max(dy, 0), h + min(dy, 0)), slice(max(dx, 0), w + min(dx, 0))
    back_y, back_x = slice(max(-dy, 0), h + min(-dy, 0)), slice(max(-dx, 0), w + min(-dx, 0))
    if abs(dx) < w and abs(dy) < h:
        out[..., y, x] = masks[..., back_y, back_x]
    return out
