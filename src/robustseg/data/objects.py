"""Objects where a data set has no instance maps: connected components."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SMALLEST", "components", "visible"]

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


def visible(values: np.ndarray, smallest: int) -> np.ndarray:
    """Object numbers ``(H,W)`` without the objects of fewer than ``smallest`` pixels: those get 0, in place.

    What is left of such an object is its class: in panoptic truth a crowd, neither a hit nor a miss.

    >>> import numpy as np
    >>> visible(np.array([[0, 7, 7, 9]]), 2).tolist()
    [[0, 7, 7, 0]]
    """
    import numpy as np

    if smallest > 1:
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        values[(counts < smallest)[places].reshape(values.shape)] = 0
    return values
