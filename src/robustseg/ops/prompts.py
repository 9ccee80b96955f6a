"""What a prompted model is asked with: a box around a mask, or a point inside it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["KINDS", "boxes", "of_masks", "points"]

KINDS = ("box", "point")


def of_masks(masks: Tensor, kind: str) -> Tensor:
    """``boxes`` or ``points`` of masks, by the name of the kind."""
    return boxes(masks) if kind == "box" else points(masks)


def boxes(masks: Tensor) -> Tensor:
    """Tight boxes ``(…,4)`` float (x0, y0, x1, y1) of masks ``(…,H,W)``, x1 and y1 past the last pixel; empty: zeros.

    >>> boxes(torch.tensor([[[0, 1, 1], [0, 0, 0]]]).bool())
    tensor([[1., 0., 3., 1.]])
    """
    columns, rows = masks.any(-2), masks.any(-1)

    def span(line: Tensor) -> tuple[Tensor, Tensor]:
        n = line.shape[-1]
        line = line.long()
        there = line.amax(-1) > 0
        first, last = line.argmax(-1), n - line.flip(-1).argmax(-1)
        return torch.where(there, first, 0), torch.where(there, last, 0)

    (x0, x1), (y0, y1) = span(columns), span(rows)
    return torch.stack([x0, y0, x1, y1], -1).float()


def points(masks: Tensor) -> Tensor:
    """The deepest pixel of every mask ``(…,H,W)`` as float ``(…,2)``, column and row; empty: zeros.

    Deepest (the first of several): furthest from every pixel that is not the mask's, those around the image included
    (Euclidean). Always inside the mask, unlike the middle of its box.

    >>> points(torch.tensor([[[0, 1, 0, 0, 0], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1]]]).bool())
    tensor([[2., 2.]])
    """
    from scipy.ndimage import distance_transform_edt

    def deepest(mask: Tensor, box: Tensor) -> tuple[int, int]:
        x0, y0, x1, y1 = (int(v) for v in box)
        if x1 == x0:
            return 0, 0
        part = np.pad(mask[y0:y1, x0:x1].numpy(), 1)  # what lies around a tight box is not the mask's
        depth = np.asarray(distance_transform_edt(part))
        row, column = divmod(int(depth.argmax()), part.shape[1])
        return x0 + column - 1, y0 + row - 1

    size, around = masks.shape[-2:], boxes(masks).cpu()
    found = [deepest(m, b) for m, b in zip(masks.cpu().reshape(-1, *size), around.reshape(-1, 4), strict=True)]
    return torch.tensor(found, dtype=torch.float32, device=masks.device).view(*masks.shape[:-2], 2)
