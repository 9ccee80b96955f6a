"""The one place where scores are brought to the size of the labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["at_label_size"]


def at_label_size(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of ``scores (B,C,h,w)`` to ``size = (H,W)``; the identity (no copy) where they agree.

    Convention: ``align_corners=False``, before the argmax, for loss and metric alike.
    """
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
