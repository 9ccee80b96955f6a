"""A billboard: a flat surface in the world that somebody may print on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Board:
    """Where a texture hangs. corners (4,3) in world metres: top left, top right, bottom right, bottom left, as its
    reader sees them; a rectangle.

    kind: what it is (wall, roadside, truck, shirt); instance: its id in Frame.instance; carrier: the train id of what
    it hangs on, for those who want the truth under it (void where it stands alone).

    >>> b = Board("wall", np.array([[9.0, 1, 2], [9, -1, 2], [9, -1, 1], [9, 1, 1]]), 7, 2)
    >>> b.size, b.center.tolist(), b.normal.round().tolist() == [-1, 0, 0]
    ((2.0, 1.0), [9.0, 0.0, 1.5], True)
    """

    kind: str
    corners: np.ndarray
    instance: int
    carrier: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in metres."""
        tl, tr, _, bl = self.corners
        return float(np.linalg.norm(tr - tl)), float(np.linalg.norm(bl - tl))

    @property
    def center(self) -> np.ndarray:
        """Its middle (3,)."""
        return self.corners.mean(0)

    @property
    def normal(self) -> np.ndarray:
        """The unit vector (3,) that points at its reader."""
        tl, tr, _, bl = self.corners
        n = np.cross(bl - tl, tr - tl)
        return n / np.linalg.norm(n)

    def seen_from(self, eye) -> tuple[float, float]:
        """Distance in metres of its middle, and the angle in degrees between its normal and the line of sight.

        0 is straight in front, beyond 90 the back is seen.

        >>> b = Board("wall", np.array([[9.0, 1, 2], [9, -1, 2], [9, -1, 1], [9, 1, 1]]), 7, 2)
        >>> [round(v, 3) for v in b.seen_from((5.0, 4.0, 1.5))]
        [5.657, 45.0]
        """
        way = np.asarray(eye, float) - self.center
        distance = np.linalg.norm(way)
        cosine = np.clip(way @ self.normal / distance, -1, 1)
        return float(distance), float(np.degrees(np.arccos(cosine)))
