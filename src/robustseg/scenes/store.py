"""The layout of a rendered set on disk: one picture, three maps and a depth per index, and meta.json."""

from __future__ import annotations

import io
import json
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from robustseg.scenes.frame import Frame

FOLDERS = {"images": "jpg", "labels": "png", "instances": "png", "parts": "png", "depth": "png"}
VERSION = 1


def path_of(root: Path, folder: str, index: int) -> Path:
    """Where one file of one index lies."""
    return root / folder / f"{index:06d}.{FOLDERS[folder]}"


def write_frame(root: Path, index: int, frame: Frame) -> None:
    """Write one frame; every file appears under its name only when it is complete."""
    centimetres = np.where(np.isfinite(frame.depth_z), np.clip(np.rint(frame.depth_z * 100), 0, 65534), 65535)
    maps = {
        "depth": centimetres.astype(np.uint16),
        "parts": frame.parts,
        "instances": frame.instance.astype(np.uint16),
        "labels": frame.label,
    }
    for folder, values in maps.items():
        write_bytes(path_of(root, folder, index), encoded(Image.fromarray(values), "PNG", optimize=True))
    picture = encoded(Image.fromarray(frame.rgb), "JPEG", quality=95, subsampling=0)
    write_bytes(path_of(root, "images", index), picture)


def complete(root: Path, index: int, size: tuple[int, int]) -> bool:
    """Whether all files of an index are there, decode to the end and have the size (width, height)."""
    for folder in FOLDERS:
        try:
            with Image.open(path_of(root, folder, index)) as image:
                image.load()
                if image.size != tuple(size):
                    return False
        except (OSError, SyntaxError, ValueError):
            return False
    return True


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """An image file as bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a passing name beside the target, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    passing.write_bytes(data)
    os.replace(passing, path)


def read_meta(root: Path) -> dict | None:
    """meta.json, or None where there is none."""
    path = root / "meta.json"
    return json.loads(path.read_text()) if path.exists() else None


def write_meta(root: Path, meta: dict) -> None:
    """Write meta.json whole."""
    write_bytes(root / "meta.json", (json.dumps(meta, indent=1) + "\n").encode())
