"""Random resizing and padding, undone on the scores: the image is moved, the label map is not.

An image is brought to a size of its own and laid at a random place on a grey canvas, which is as large as the largest
such image, so that a batch stays a batch. Scores are read back from where the image lay, at the model's own resolution.
Source: Xie, Wang, Zhang, Ren & Yuille, ICLR 2018, arXiv 1711.01991, for classifiers; the way back is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.ops import warp
from robustseg.types import DenseOutput, Output, QueryOutput

__all__ = ["RANDOMS", "Place", "resized", "undone"]

RANDOMS = 3  # factor, row, column
GREY = 0.5


@dataclass(frozen=True)
class Place:
    """Where an image lies on its canvas: ``(B,3,3)`` from canvas to image, both from -1 to 1; None: it fills it."""

    back: Tensor | None


def resized(images: Tensor, low: float, high: float, draws: Tensor) -> tuple[Tensor, Place]:
    """Images ``(B,C,H,W)`` by a factor from ``low`` to ``high`` on a canvas of ``high`` times their size.

    ``draws (B,3)`` in [0,1): factor, row, column; not looked at where ``low`` is ``high``, which moves nothing.
    Bilinear, with antialiasing where an image shrinks; the size it has already is no change, to the last bit.
    """
    H, W = int(images.shape[-2]), int(images.shape[-1])
    canvas = _size(H, W, high)
    if low == high:
        return _scaled(images, canvas), Place(None)
    made, back = [], []
    # sizes belong to the host: the one wait of a step behind this defence
    for image, (f, row, column) in zip(images, draws.tolist(), strict=True):
        h, w = _size(H, W, low + f * (high - low))
        top, left = int(row * (canvas[0] - h + 1)), int(column * (canvas[1] - w + 1))
        around = (left, canvas[1] - w - left, top, canvas[0] - h - top)
        made.append(F.pad(_scaled(image[None], (h, w)), around, value=GREY))
        y, x = _axis(top, h, canvas[0]), _axis(left, w, canvas[1])
        back.append([[x[0], 0.0, x[1]], [0.0, y[0], y[1]], [0.0, 0.0, 1.0]])
    return torch.cat(made), Place(torch.tensor(back, dtype=torch.float64, device=images.device))


def undone(output: Output, place: Place) -> Output:
    """Scores or masks of a canvas as those of the image on it; bilinear, as everywhere, before any argmax."""
    if place.back is None:
        return output
    if isinstance(output, DenseOutput):
        return replace(output, scores=warp.pixels(output.scores, place.back))
    assert isinstance(output, QueryOutput)  # who answers in boxes has been refused at the door
    return replace(output, mask_logits=warp.pixels(output.mask_logits, place.back))


def _size(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(round(height * factor), 1), max(round(width * factor), 1)


def _scaled(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _axis(start: int, length: int, whole: int) -> tuple[float, float]:
    """Scale and shift from -1..1 of the whole to -1..1 of the part.

    >>> _axis(2, 2, 4)
    (2.0, -1.0)
    """
    return whole / length, (whole - 2 * start - length) / length
