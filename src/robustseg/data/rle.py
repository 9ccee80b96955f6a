"""COCO's mask codes -> boolean masks: run lengths as numbers or text, and polygons.

Convention of all three: pixels are counted down the columns, pixel (row, column) has the place ``column * H + row``,
and the first run is of zeros. Source: Lin et al., "Microsoft COCO", ECCV 2014, and the rules of the COCO mask tools.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_counts", "from_polygon", "read_text"]

Size = tuple[int, int]
SCALE = 5  # polygons are traced on a grid this many times finer than the pixels
MOST_STEPS = 10_000_000  # length of an outline on that grid


def from_counts(counts: Sequence[int] | NDArray[np.int64], size: Size) -> NDArray[np.bool_]:
    """Run lengths -> ``(H,W)`` bool. Raises ValueError where they do not fill the image exactly.

    >>> from_counts([1, 2, 3], (2, 3)).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    pixels = size[0] * size[1]
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n <= pixels for n in counts):
        raise ValueError(f"a run length is no whole number from 0 to {pixels}")
    runs = np.asarray(counts, dtype=np.int64)
    if int(runs.sum()) != pixels:
        raise ValueError(f"the runs fill {int(runs.sum())} pixels, but the mask has {size[0]}x{size[1]} = {pixels}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[1], size[0]).T


def read_text(text: str) -> NDArray[np.int64]:
    """Compressed run lengths -> numbers. Raises ValueError for text that is none.

    Each number is written in groups of five bits, low ones first, as the characters from "0" on; 32 says that more
    follow, and bit 16 of the last group is the sign. From the fourth number on they are differences to the one two
    places before.

    >>> read_text("53o0j0").tolist()
    [5, 3, 31, 29]
    """
    codes = np.frombuffer(text.encode("ascii", errors="replace"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not text.isascii():
        raise ValueError("not a compressed run-length text")
    last = (codes & 32) == 0
    if not last[-1]:
        raise ValueError("the compressed run lengths end in the middle of a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    groups = ends - starts + 1
    if groups.max() > 7:
        raise ValueError("a compressed run length has more than 35 bits")
    place = np.arange(len(codes)) - np.repeat(starts, groups)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * groups), 0)
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return numbers


def from_polygon(points: Sequence[float], size: Size) -> NDArray[np.bool_]:
    """One polygon ``[x0, y0, x1, y1, ...]`` -> ``(H,W)`` bool, pixel for pixel as the COCO tools fill it.

    Convention: pixel (row, column) covers [column, column+1) x [row, row+1). The outline is walked on a grid five times
    finer; where it crosses the middle of a column, the pixels below change between inside and outside.
    Raises ValueError for fewer than three points, points that are no numbers, and outlines of absurd length.

    >>> from_polygon([1, 1, 3, 1, 3, 2, 1, 2], (3, 4)).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    corners = _corners(points)
    across, down = _outline(corners)
    height, width = size
    steps = np.flatnonzero(across[1:] != across[:-1])
    left = np.minimum(across[steps], across[steps + 1]) - SCALE // 2
    top = np.minimum(down[steps], down[steps + 1]) - SCALE // 2
    inside = (left % SCALE == 0) & (left >= 0) & (left // SCALE < width)
    column, row = left[inside] // SCALE, np.clip(-(-top[inside] // SCALE), 0, height)
    mask = np.zeros((width, height), dtype=np.bool_)
    if len(column):  # only the columns that the outline crosses; it crosses each of them an even number of times
        first, count = int(column.min()), int(np.ptp(column)) + 1
        places = (column - first) * (height + 1) + row
        changes = np.bincount(places, minlength=count * (height + 1)).reshape(count, height + 1)[:, :height] & 1
        mask[first : first + count] = np.bitwise_xor.accumulate(changes.astype(np.bool_), axis=1)
    return mask.T


def _corners(points: Sequence[float]) -> NDArray[np.int64]:
    """Corners on the fine grid, ``(K+1,2)``, the first again at the end."""
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"a polygon needs three or more points x, y; this one has {len(points)} numbers")
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not abs(v) < 1e6 for v in points):
        raise ValueError("a polygon's coordinates must be numbers in pixels")
    fine = np.trunc(SCALE * np.asarray(points, dtype=np.float64).reshape(-1, 2) + 0.5).astype(np.int64)
    return np.concatenate([fine, fine[:1]])


def _outline(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every grid point on the way from corner to corner: one step along the longer side at a time, the other rounded.

    An edge is walked from its lower end of the longer side, so that both directions meet the same points.
    """
    start, end = corners[:-1], corners[1:]
    length = np.abs(end - start)
    flat = length[:, 0] >= length[:, 1]
    n = np.where(flat, length[:, 0], length[:, 1])
    if int(n.sum()) + len(n) > MOST_STEPS:
        raise ValueError("a polygon's outline is absurdly long")
    long, short = np.where(flat, 0, 1), np.where(flat, 1, 0)
    edge = np.arange(len(n))
    back = start[edge, long] > end[edge, long]
    low, high = np.where(back[:, None], end, start), np.where(back[:, None], start, end)
    rise = high[edge, short] - low[edge, short]
    slope = np.divide(rise, n, out=np.zeros(len(n)), where=n > 0)

    of = np.repeat(edge, n + 1)
    step = np.arange(len(of)) - np.repeat(np.cumsum(n + 1) - (n + 1), n + 1)
    step = np.where(back[of], n[of] - step, step)
    along = step + low[edge, long][of]
    aside = np.trunc(low[edge, short][of] + slope[of] * step + 0.5).astype(np.int64)
    return np.where(flat[of], along, aside), np.where(flat[of], aside, along)
