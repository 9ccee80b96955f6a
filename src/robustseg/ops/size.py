"""The one place that decides how large a label map is, and where scores are brought to that size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["WHOLE_IMAGE", "at_label_size", "label_size"]

WHOLE_IMAGE = "classification"  # the task whose label map is 1x1: one label for the whole image


def label_size(task: str, size: tuple[int, int]) -> tuple[int, int]:
    """The size of the label map of an image of ``size = (H,W)`` under a task.

    >>> label_size("semantic", (4, 6)), label_size("classification", (4, 6))
    ((4, 6), (1, 1))
    """
    return (1, 1) if task == WHOLE_IMAGE else (int(size[0]), int(size[1]))


def at_label_size(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of ``scores (B,C,h,w)`` to ``size = (H,W)``; the identity (no copy) where they agree.

    Convention: ``align_corners=False``, before the argmax, for loss and metric alike.
    """
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
