"""Pictures side by side with their captions, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Tile", "legend", "sheet"]

GAP, TEXT, LINE = 8, 13, 17  # pixels: between tiles, size of letters, from line to line
INK, PAPER = (20, 20, 24), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """A picture and what stands under it; ``near``: pictures are enlarged without smoothing (label maps)."""

    picture: Image.Image
    caption: str
    near: bool = False


def sheet(
    rows: Sequence[Sequence[Tile]],
    title: str,
    below: Sequence[str],
    path: Path,
    *,
    colours: Mapping[str, Sequence[int]] | None = None,
    width: int = 320,
) -> Path:
    """Rows of tiles, each ``width`` pixels wide, under a title and over a legend of ``colours`` and lines of text."""
    font, large = ImageFont.load_default(TEXT), ImageFont.load_default(TEXT + 4)
    columns = max(len(row) for row in rows)
    made = [[_sized(tile, width) for tile in row] for row in rows]
    lines = [[_wrapped(tile.caption, font, width) for tile in row] for row in rows]
    total = columns * (width + GAP) + GAP
    text = [line for part in below for line in _wrapped(part, font, total - 2 * GAP)]
    heights = [
        max(p.height for p in pictures) + LINE * max(len(c) for c in captions) + 2 * GAP
        for pictures, captions in zip(made, lines)
    ]
    key = legend(colours or {}, total - 2 * GAP)
    canvas = Image.new("RGB", (total, LINE + 3 * GAP + sum(heights) + key.height + LINE * len(text) + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, GAP), title, INK, large)
    top = LINE + 3 * GAP
    for pictures, captions, height in zip(made, lines, heights):
        for column, (picture, caption) in enumerate(zip(pictures, captions)):
            left = GAP + column * (width + GAP)
            canvas.paste(picture, (left, top))
            for k, line in enumerate(caption):
                draw.text((left, top + picture.height + 3 + k * LINE), line, INK, font)
        top += height
    canvas.paste(key, (GAP, top))
    top += key.height + GAP
    for k, line in enumerate(text):
        draw.text((GAP, top + k * LINE), line, INK, font)
    canvas.save(path)
    return path


def legend(colours: Mapping[str, Sequence[int]], width: int) -> Image.Image:
    """Names beside their colours, in columns, as a picture of this width."""
    font, column = ImageFont.load_default(TEXT), 110
    columns = max(1, width // column)
    picture = Image.new("RGB", (width, -(-len(colours) // columns) * LINE + 1), PAPER)
    draw = ImageDraw.Draw(picture)
    for n, (name, colour) in enumerate(colours.items()):
        left, top = (n % columns) * column, (n // columns) * LINE
        draw.rectangle((left, top, left + TEXT, top + TEXT), fill=tuple(colour))
        draw.text((left + TEXT + 5, top), name, INK, font)
    return picture


def _sized(tile: Tile, width: int) -> Image.Image:
    """The picture as wide as a tile."""
    picture = tile.picture.convert("RGB")
    if picture.width == width:
        return picture
    how = Image.Resampling.NEAREST if tile.near else Image.Resampling.LANCZOS
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), how)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines no longer than ``width`` pixels."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
