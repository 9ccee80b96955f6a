"""A place for a board in a photograph that nobody has marked, from what the model sees there.

Rules: of the model's prediction, the pixels of buildings, walls and fences (`SURFACES`) are taken for a surface. The
board is an upright rectangle of the wanted shape, parallel to the image plane; the largest of which 95 % lie on surface
and that covers from 0.5 % to 8 % of the picture; of several as large the one nearest to the middle. Where there is
none: a rectangle of 4 % of the picture about the point at half its width and two fifths of its height, whatever is
there. A wall seen at an angle is thus hung with a board that is not flat against it: mark corners where that matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURFACES", "find_place"]

SURFACES = ("building", "wall", "fence", "house", "skyscraper", "billboard", "facade")
ON = 0.95
SMALLEST, LARGEST, ANYWHERE = 0.005, 0.08, 0.04  # of the picture
STEP = 0.92
MIDDLE = (0.5, 0.4)


def find_place(labels: NDArray[np.integer], classes: Sequence[str], aspect: float) -> tuple[list[list[float]], str]:
    """Corners (x, y) clockwise from the top left in a label map ``(H,W)``, and on what: a class name or "anywhere".

    ``aspect``: width over height.

    >>> labels = np.zeros((40, 60), int)
    >>> labels[4:14, 20:40] = 1
    >>> find_place(labels, ["road", "building"], 2.0)
    ([[20.0, 4.0], [40.0, 4.0], [40.0, 14.0], [20.0, 14.0]], 'building')
    """
    H, W = labels.shape
    surface = [c for c, name in enumerate(classes) if _is_surface(name)]
    on = np.isin(labels, surface)
    sums = np.pad(on.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    area = LARGEST
    while area >= SMALLEST:
        h, w = _size((H, W), area, aspect)
        if 0 < h <= H and 0 < w <= W:
            inside = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
            rows, columns = np.nonzero(inside >= ON * h * w)
            if len(rows):
                off = (columns + w / 2 - MIDDLE[0] * W) ** 2 + (rows + h / 2 - MIDDLE[1] * H) ** 2
                best = int(off.argmin())
                top, left = int(rows[best]), int(columns[best])
                there = labels[top : top + h, left : left + w]
                counts = {c: int((there == c).sum()) for c in surface}
                return _corners(top, left, h, w), classes[max(counts, key=lambda c: counts[c])]
        area *= STEP
    h, w = _size((H, W), ANYWHERE, aspect)
    h, w = min(h, H), min(w, W)
    top = min(max(round(MIDDLE[1] * H - h / 2), 0), H - h)
    return _corners(top, round(MIDDLE[0] * W - w / 2), h, w), "anywhere"


def _is_surface(name: str) -> bool:
    """By the first word of a class name: "building-other-merged", "wall, brick".

    >>> _is_surface("Wall-brick"), _is_surface("wallet")
    (True, False)
    """
    words = re.findall(r"[a-z]+", name.lower())
    return bool(words) and words[0] in SURFACES


def _size(picture: tuple[int, int], share: float, aspect: float) -> tuple[int, int]:
    area = share * picture[0] * picture[1]
    return max(round((area / aspect) ** 0.5), 1), max(round((area * aspect) ** 0.5), 1)


def _corners(top: int, left: int, h: int, w: int) -> list[list[float]]:
    ends = [(left, top), (left + w, top), (left + w, top + h), (left, top + h)]
    return [[float(x), float(y)] for x, y in ends]
