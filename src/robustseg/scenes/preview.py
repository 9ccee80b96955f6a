"""Contact sheets: many frames on one picture, with what is known about them written beneath."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from robustseg.errors import UserError
from robustseg.scenes.billboard import KINDS
from robustseg.scenes.frame import Frame
from robustseg.scenes.render import Progress
from robustseg.scenes.store import encoded, write_bytes

LINE = 14
LARGEST = 64_000_000  # pixels of a texture


def sheet(rows: Sequence[Sequence[tuple[np.ndarray, str]]]) -> Image.Image:
    """Pictures (h,w,3) uint8 of one size with a caption each, laid out in rows."""
    h, w = rows[0][0][0].shape[:2]
    out = Image.new("RGB", (w * max(map(len, rows)), (h + LINE) * len(rows)), "white")
    pen = ImageDraw.Draw(out)
    for j, row in enumerate(rows):
        for i, (picture, text) in enumerate(row):
            out.paste(Image.fromarray(picture), (i * w, j * (h + LINE)))
            pen.text((i * w + 3, j * (h + LINE) + h + 1), text, fill="black")
    return out


def outlined(frame: Frame) -> np.ndarray:
    """The picture with the edge of the board's visible pixels in magenta."""
    mask = np.pad(frame.board_mask, 1)
    inner = mask[1:-1, 1:-1]
    whole = inner & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    picture = frame.rgb.copy()
    picture[inner & ~whole] = (255, 0, 255)
    return picture


def facts(frame: Frame) -> dict:
    """Distance, angle and size in the picture of a frame's board, and its pose, in plain values."""
    if frame.board is None:
        raise UserError("this frame has no billboard")
    distance, angle = frame.board.seen_from(-frame.T_cw[:3, :3].T @ frame.T_cw[:3, 3])
    return {
        "distance_m": round(distance, 3), "angle_deg": round(angle, 2), "board_pixels": int(frame.board_mask.sum()),
        "K": frame.K.tolist(), "T_cw": frame.T_cw.tolist(),
    }  # fmt: skip


def kinds_of(scene: str, kind: str) -> tuple[str, ...]:
    """The kinds of billboard that are meant, none for streets; raises UserError for unknown names."""
    if scene not in ("billboard", "street"):
        raise UserError(f"no scene {scene!r}; choose billboard or street")
    if kind not in (*KINDS, "all"):
        raise UserError(f"no billboard of kind {kind!r}; choose one of {', '.join(KINDS)} or all")
    return () if scene == "street" else KINDS if kind == "all" else (kind,)


def parse_sun(text: str | None) -> tuple[float, float] | None:
    """ELEVATION,AZIMUTH in degrees; the elevation lies between 2 and 90.

    >>> parse_sun("35,-120")
    (35.0, -120.0)
    """
    if text is None:
        return None
    try:
        elevation, azimuth = (float(v) for v in text.split(","))
    except ValueError:
        raise UserError(f"sun {text!r} is not ELEVATION,AZIMUTH in degrees, e.g. 35,120") from None
    if not (2 <= elevation <= 90 and abs(azimuth) <= 360):
        raise UserError(f"sun {text!r}: the elevation lies in 2 to 90 degrees, the azimuth in -360 to 360")
    return elevation, azimuth


def read_texture(path: Path) -> np.ndarray:
    """A picture file as uint8 sRGB (h,w,3); raises UserError where there is none, or it is none or too large."""
    if not path.is_file():
        raise UserError(f"texture {path} is no file; give a PNG or JPEG file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            with Image.open(path) as picture:
                if picture.width * picture.height > LARGEST:
                    raise UserError(f"texture {path} has {picture.width} x {picture.height} pixels; make it smaller")
                return np.array(picture.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as e:
        raise UserError(f"texture {path} cannot be read as a picture ({e}); give a PNG or JPEG file") from None


def preview_billboards(
    film: Callable[[str], Sequence[Frame]], kinds: Sequence[str], out: Path, progress: Progress | None = None
) -> Path:
    """Writes preview.png and preview.json: a row a kind; `film(kind)` gives its frames. Returns the picture's path."""
    rows, known = [], {}
    for done, kind in enumerate(kinds, 1):
        frames = film(kind)
        told = [facts(f) for f in frames]
        captions = [f"{kind} {t['distance_m']:.1f} m {t['angle_deg']:.0f} deg {t['board_pixels']} px" for t in told]
        rows.append([(outlined(f), text) for f, text in zip(frames, captions, strict=True)])
        board = frames[0].board
        corners = board.corners.round(4).tolist() if board else None
        known[kind] = {"size_m": board.size if board else None, "corners": corners, "poses": told}
        if progress:
            progress(done, len(kinds))
    return _written(out, rows, known)


def preview_streets(
    film: Callable[[int], Frame], count: int, out: Path, columns: int = 4, progress: Progress | None = None
) -> Path:
    """Writes preview.png and preview.json: streets 0 ... count - 1, `columns` a row. Returns the picture's path."""
    cells = []
    for index in range(count):
        cells.append((film(index).rgb, str(index)))
        if progress:
            progress(index + 1, count)
    rows = [cells[k : k + columns] for k in range(0, count, columns)]
    return _written(out, rows, {"count": count})


def _written(out: Path, rows, known: dict) -> Path:
    write_bytes(out / "preview.png", encoded(sheet(rows), "PNG"))
    write_bytes(out / "preview.json", (json.dumps(known, indent=1) + "\n").encode())
    return out / "preview.png"
