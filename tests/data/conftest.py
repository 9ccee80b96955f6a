"""Writers of tiny picture files, whole and broken."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def png(path: Path, values: object, *, mode: str | None = None, palette: list[int] | None = None) -> Path:
    """Save an array as a PNG of its natural mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values))
    if palette is not None:
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette(palette)
    (picture if mode is None else picture.convert(mode)).save(path)
    return path


def jpg(path: Path, values: object) -> Path:
    """Save an array as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values)).save(path, quality=95, subsampling=0)
    return path


def raw_png(path: Path, width: int, height: int, depth: int, colour: int, rows: list[bytes]) -> Path:
    """Write a PNG byte by byte (filter 0), for kinds that Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The writers, and ``photo(h, w, seed)`` and ``labels(h, w, classes, seed)`` arrays to write."""

    def photo(height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def labels(height: int = 6, width: int = 8, classes: int = 3, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, classes, (height, width), dtype=np.uint8)

    return SimpleNamespace(png=png, jpg=jpg, raw_png=raw_png, photo=photo, labels=labels)
