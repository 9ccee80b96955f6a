"""Changing the size of image and truth together (``--resize HxW``)."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from robustseg.errors import UserError

__all__ = ["image", "nearest", "parse_size"]

LARGEST = 16384  # pixels a side; what is larger is a slip of the finger


def parse_size(text: str, sides: str = "HEIGHTxWIDTH", example: str = "256x512") -> tuple[int, int]:
    """``"256x512"`` -> (height, width); ``sides``: what an option calls them, in its order.

    >>> parse_size("256x512")
    (256, 512)
    """
    match = re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", text)
    if not match or not all(int(n) for n in match.groups()):
        raise UserError(f"size '{text}' is not {sides} in pixels, e.g. {example}")
    if max(int(n) for n in match.groups()) > LARGEST:
        raise UserError(f"size '{text}' is larger than {LARGEST} pixels a side; choose a smaller one")
    return int(match[1]), int(match[2])


def image(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(3,h,w)`` in [0,1] to ``(3,H,W)``: bilinear with antialiasing, pixel centres at half integers."""
    if tuple(pixels.shape[1:]) == tuple(size):
        return pixels
    out = torch.nn.functional.interpolate(pixels[None], size, mode="bilinear", align_corners=False, antialias=True)
    return out[0].clamp(0, 1)


def nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(h,w)`` labels, ids or masks to ``(H,W)``: the value under each new pixel's centre, never a mixture.

    Convention: output pixel i looks at input floor((i + 1/2) h / H), exactly in integers. Any dtype.

    >>> nearest(torch.tensor([[1, 2, 3, 4]]), (1, 2))
    tensor([[2, 4]])
    """
    rows, columns = (_sources(old, new) for old, new in zip(values.shape, size))
    return values[rows][:, columns]


def _sources(old: int, new: int) -> Tensor:
    return (2 * torch.arange(new) + 1) * old // (2 * new)
