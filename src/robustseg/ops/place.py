"""A rectangle at a stated place of a picture: ``HEIGHTxWIDTH@X/Y``, in pixels, its middle at shares of the picture.

Convention: pixel i spans [i, i+1); the rectangle is laid on whole pixels, and what sticks out of the picture is cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.errors import UserError

__all__ = ["Place", "read"]

SHARE = r"(0|1|0?\.\d+|1\.0*|0\.\d*)"
FORM = re.compile(rf"([1-9]\d{{0,4}})x([1-9]\d{{0,4}})@{SHARE}/{SHARE}")


@dataclass(frozen=True)
class Place:
    """``size = (h,w)`` in pixels; ``at = (x,y)``, the middle, in shares of width and height of the picture."""

    size: tuple[int, int]
    at: tuple[float, float]

    def corner(self, picture: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the top left pixel in a picture of ``(H,W)``; negative where it sticks out.

        >>> Place((2, 4), (0.5, 0.0)).corner((10, 20))
        (-1, 8)
        """
        (h, w), (x, y) = self.size, self.at
        return round(y * picture[0] - h / 2), round(x * picture[1] - w / 2)

    def mask(self, picture: tuple[int, int]) -> Tensor:
        """Which pixels of a picture lie under it, ``(H,W)`` bool.

        >>> Place((2, 4), (0.5, 0.0)).mask((3, 6)).long().tolist()
        [[0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
        """
        top, left = self.corner(picture)
        found = torch.zeros(picture, dtype=torch.bool)
        found[max(top, 0) : max(top + self.size[0], 0), max(left, 0) : max(left + self.size[1], 0)] = True
        return found


def read(text: str) -> Place:
    """The place that a text means. Raises UserError for any other text.

    >>> read("64x128@0.5/0.75")
    Place(size=(64, 128), at=(0.5, 0.75))
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise UserError(f"'{text}' is no place; write HEIGHTxWIDTH@X/Y, pixels and shares, e.g. 64x128@0.5/0.5")
    return Place((int(found[1]), int(found[2])), (float(found[3]), float(found[4])))
