"""Objects where a data set has no instance maps: connected components."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["SMALLEST", "components"]

SMALLEST = 16  # pixels; smaller specks are label noise and are no objects


def components(labels: Tensor, things: Iterable[int], *, smallest: int = SMALLEST) -> Tensor:
    """Number the 8-connected components of each thing class: ``(H,W)`` labels -> ``(H,W)`` int32, 0 = no object.

    Two touching objects of one class are one component. Components of fewer than ``smallest`` pixels get 0.

    >>> components(torch.tensor([[1, 0, 1], [0, 1, 0], [2, 0, 0]]), [1, 2], smallest=2)
    tensor([[1, 0, 1],
            [0, 1, 0],
            [0, 0, 0]], dtype=torch.int32)
    """
    import numpy as np
    from scipy import ndimage

    values = labels.numpy()
    out = np.zeros(values.shape, dtype=np.int32)
    count = 0
    for thing in things:
        mask = values == thing
        found = np.zeros(values.shape, dtype=np.int32)
        ndimage.label(mask, structure=np.ones((3, 3), dtype=int), output=found)
        number = int(found.max())
        sizes = np.bincount(found.ravel(), minlength=number + 1)
        keep = np.flatnonzero(sizes[1:] >= smallest) + 1
        new = np.zeros(number + 1, dtype=np.int32)
        new[keep] = count + 1 + np.arange(len(keep))
        out += new[found]
        count += len(keep)
    return torch.from_numpy(out)
