"""Segments drawn on a transparent layer that lies on the photograph: tints, outlines, dashes, hatching, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layer", "centre", "loops", "scale_of"]

Mask = NDArray[np.bool_]
Colour = Sequence[int]
WIDTH = 960  # pixels that a layer is wide at least, about: numbers stay legible on small images


def scale_of(width: int) -> int:
    """How many times larger than the image its layer is drawn.

    >>> [scale_of(w) for w in (96, 512, 2048)]
    [10, 2, 1]
    """
    return max(1, round(WIDTH / width))


class Layer:
    """An RGBA picture ``scale`` times the image; masks are ``(H,W)`` bool at the size of the image."""

    def __init__(self, size: tuple[int, int]):
        self.scale = scale_of(size[1])
        self.pixels = np.zeros((size[0] * self.scale, size[1] * self.scale, 4), np.uint8)
        self.line = max(2, round(self.pixels.shape[1] / 420))

    def tint(self, mask: Mask, colour: Colour, strength: float) -> None:
        """Fill a mask; later fills replace earlier ones."""
        at, large = self._large(mask)
        self._fill(at, large, colour, strength)

    def hatch(self, mask: Mask, colour: Colour) -> None:
        """Diagonal stripes of a colour."""
        at, large = self._large(mask)
        rows, columns = np.ogrid[at]
        stripes = (rows + columns) % (5 * self.line) < 2 * self.line
        self._fill(at, large, colour, 0.12)
        self._fill(at, large & stripes, colour, 0.5)

    def outline(self, mask: Mask, colour: Colour, *, thin: bool = False) -> None:
        """A line inside the border of a mask, with a dark edge so that it stands out on any photograph."""
        at, large = self._large(mask)
        inner = eroded(large, 1 if thin else self.line)
        if not thin:
            self._fill(at, inner & ~eroded(inner, 1), (0, 0, 0), 0.55)
        self._fill(at, large & ~inner, colour, 0.6 if thin else 1.0)

    def dashes(self, mask: Mask, colour: Colour, *, faint: bool = False) -> None:
        """A dashed line along the border of a mask, on a dark one."""
        draw, s = self._draw(), self.scale
        dash = 4 * self.line
        alpha = 150 if faint else 255
        for corners in loops(mask):
            closed = [tuple((s * corner).tolist()) for corner in [*corners, corners[0]]]
            if not faint:
                draw.line(closed, fill=(0, 0, 0, 190), width=self.line + 2)
            for piece in pieces(closed, dash):
                draw.line(piece, fill=(*colour, alpha), width=max(1, self.line - faint))
        self._take()

    def prompt(self, prompt: Sequence[float], colour: Colour) -> None:
        """A prompt: a thin rectangle (x0,y0,x1,y1) in pixels of the image, or a cross on a pixel (column, row)."""
        if len(prompt) == 2:
            x, y = (self.scale * (v + 0.5) for v in prompt)
            draw, arm = self._draw(), 5 * self.line
            for width, shade in ((self.line + 2, (0, 0, 0, 200)), (self.line, (*colour, 255))):
                draw.line((x - arm, y, x + arm, y), fill=shade, width=width)
                draw.line((x, y - arm, x, y + arm), fill=shade, width=width)
            self._take()
            return
        x0, y0, x1, y1 = (self.scale * v for v in prompt)
        if x1 > x0 and y1 > y0:
            draw = self._draw()
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=(0, 0, 0, 200), width=self.line)
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=(*colour, 255), width=max(1, self.line - 1))
            self._take()

    def badge(self, mask: Mask, text: str, colour: Colour, name: str = "", *, above: bool = False) -> None:
        """A short text in the middle of a mask, or at its upper end, on a plate of that colour; its name if it fits."""
        from PIL import ImageFont

        at = upper_end(mask) if above else centre(mask)
        if at is None:
            return
        font = ImageFont.load_default(max(11, round(self.pixels.shape[1] / 42)))
        draw = self._draw()
        room = 0.8 * self.scale * mask.any(0).sum()
        if name and draw.textlength(f"{text} {name}", font=font) < room:
            text = f"{text} {name}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        wide, high, pad = right - left, bottom - top, max(2, self.line)
        height, width = self.pixels.shape[:2]
        y, x = ((v + 0.5) * self.scale for v in at)
        x = min(max(x - wide / 2, pad + 1), width - wide - pad - 2)
        y = min(max(y - high / 2, pad + 1), height - high - pad - 2)
        plate = (x - pad, y - pad, x + wide + pad, y + high + pad)
        draw.rounded_rectangle(plate, 2 * pad, fill=(*colour, 225), outline=(255, 255, 255, 200))
        light = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 150
        draw.text((x - left, y - top), text, font=font, fill=(0, 0, 0, 255) if light else (255, 255, 255, 255))
        self._take()

    def _large(self, mask: Mask) -> tuple[tuple[slice, slice], Mask]:
        """The mask at the layer's scale, cut to its box and a rim of one pixel of the image, and where that lies."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
        s = self.scale
        top, left = max(0, rows[0] - 1), max(0, columns[0] - 1)
        part = mask[top : rows[-1] + 2, left : columns[-1] + 2]
        at = slice(s * top, s * (top + part.shape[0])), slice(s * left, s * (left + part.shape[1]))
        return at, part.repeat(s, 0).repeat(s, 1)

    def _fill(self, at: tuple[slice, slice], where: Mask, colour: Colour, strength: float) -> None:
        self.pixels[at][where] = (*colour, round(255 * strength))

    def _draw(self) -> Any:
        from PIL import Image, ImageDraw

        self._image = Image.fromarray(self.pixels)
        return ImageDraw.Draw(self._image)

    def _take(self) -> None:
        self.pixels = np.array(self._image)


def eroded(mask: Mask, steps: int) -> Mask:
    """The mask without what lies within ``steps`` pixels of something else; the border of the picture is no border."""
    for _ in range(steps):
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        mask = inner
    return mask


def centre(mask: Mask) -> tuple[float, float] | None:
    """A place (row, column) deep inside the mask; None for an empty one.

    >>> centre(np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]], bool))
    (2.0, 2.0)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    up, left = rows[0], columns[0]
    part = mask[up : rows[-1] + 1, left : columns[-1] + 1]
    step = max(1, max(part.shape) // 64)
    if not part[::step, ::step].any():
        step = 1
    inner = np.pad(part[::step, ::step], 1)
    while (smaller := eroded(inner, 1)).any():
        inner = smaller
    where = np.argwhere(inner)
    middle = where[((where - where.mean(0)) ** 2).sum(1).argmin()]
    return float(up + step * (middle[0] - 1)), float(left + step * (middle[1] - 1))


def upper_end(mask: Mask) -> tuple[float, float] | None:
    """The middle of the uppermost row of a mask; None for an empty one."""
    rows = np.flatnonzero(mask.any(1))
    return (float(rows[0]), float(np.median(np.flatnonzero(mask[rows[0]])))) if len(rows) else None


def loops(mask: Mask) -> list[NDArray[np.int_]]:
    """The borders of a mask as closed lines of corners ``(n,2)`` (x, y), along the edges of its pixels.

    >>> [loop.tolist() for loop in loops(np.array([[1, 1]], bool))]
    [[[0, 0], [2, 0], [2, 1], [0, 1]]]
    """
    m = np.pad(mask, 1)
    inside = m[1:-1, 1:-1]
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # clockwise: along the top to the right, down the right side, along the bottom to the left, up the left side
    sides = (
        (m[:-2, 1:-1], (0, 0), (1, 0)), (m[1:-1, 2:], (1, 0), (1, 1)),
        (m[2:, 1:-1], (1, 1), (0, 1)), (m[1:-1, :-2], (0, 1), (0, 0)),
    )  # fmt: skip
    for beside, (ax, ay), (bx, by) in sides:
        for y, x in np.argwhere(inside & ~beside).tolist():
            following.setdefault((x + ax, y + ay), []).append((x + bx, y + by))
    found = []
    while following:
        start = min(following)
        at, line = start, [start]
        while True:
            onward = following[at]
            step = onward.pop()
            if not onward:
                del following[at]
            at = step
            if at == start:
                break
            line.append(at)
        found.append(np.array(straightened(line)))
    return found


def straightened(line: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners where a closed line turns."""
    n = len(line)
    return [
        line[k]
        for k in range(n)
        if (line[k][0] - line[k - 1][0], line[k][1] - line[k - 1][1])
        != (line[(k + 1) % n][0] - line[k][0], line[(k + 1) % n][1] - line[k][1])
    ]


def pieces(line: Sequence[tuple[int, ...]], dash: float) -> list[list[tuple[float, float]]]:
    """Every second stretch of length ``dash`` along a line."""
    points = np.array(line, float)
    along = np.concatenate([[0.0], np.abs(np.diff(points, axis=0)).sum(1).cumsum()])
    found = []
    for start in np.arange(0, along[-1], 2 * dash):
        end = min(start + dash, along[-1])
        between = along[(along > start) & (along < end)]
        stops = np.array([start, *between, end])
        x, y = (np.interp(stops, along, points[:, k]) for k in (0, 1))
        found.append(list(zip(x.tolist(), y.tolist(), strict=True)))
    return found
