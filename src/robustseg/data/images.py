"""Picture file -> float32 RGB in [0,1]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.data.files import opened, png_header
from robustseg.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["FORMATS", "SUFFIXES", "read_image"]

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def read_image(path: Path) -> Tensor:
    """Read a picture as ``(3,H,W)`` float32 RGB in [0,1].

    Rules: 8-bit values are divided by 255 and 16-bit values by 65535; grey becomes three equal channels; palettes are
    looked up; alpha is dropped (the stored colour stays, nothing is blended); the EXIF rotation is applied, as every
    viewer does; embedded colour profiles are not applied, as in the usual training pipelines.
    Raises UserError, naming the file, for what is broken, for CMYK and for other colour spaces: their RGB values
    depend on a profile, so they must be converted by hand.
    """
    import numpy as np
    import torch
    from PIL import ImageOps

    with opened(path, FORMATS, "image") as picture:
        if _is_wide_colour(path, picture):
            high, low = _wide_colour(path)
            values = (high.astype(np.float32) * 256 + low) / 65535
        else:
            ImageOps.exif_transpose(picture, in_place=True)
            values = _values(path, picture)
    pixels = np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(pixels)


def _values(path: Path, picture: Image) -> np.ndarray:
    import numpy as np

    mode = picture.mode
    if mode in ("RGB", "RGBA"):
        return np.asarray(picture)[..., :3] / np.float32(255)
    if mode in ("P", "PA", "1", "L", "LA"):
        return np.asarray(picture.convert("RGBA" if mode == "PA" else "RGB"))[..., :3] / np.float32(255)
    if mode.startswith("I;16"):
        return np.repeat(np.asarray(picture)[..., None] / np.float32(65535), 3, axis=2)
    if mode == "CMYK":
        raise UserError(f"{path}: CMYK image; its RGB colours depend on a profile: convert it to RGB first")
    raise UserError(f"{path}: image mode '{mode}' cannot be read exactly; convert it to 8-bit RGB first")


def _is_wide_colour(path: Path, picture: Image) -> bool:
    """16 bits a channel and more than one channel: Pillow would drop the low byte without a word."""
    header = png_header(path)
    if header is not None:
        depth, colour = header
        if depth == 16 and colour == 4:
            raise UserError(f"{path}: 16-bit grey image with alpha; remove the alpha channel")
        return depth == 16 and colour in (2, 6)
    bits: Any = getattr(picture, "tag_v2", {}).get(258, 8)  # TIFF BitsPerSample
    if isinstance(bits, tuple) and len(bits) > 1 and any(b != 8 for b in bits):
        raise UserError(f"{path}: TIFF with {bits[0]}-bit colour; convert it to a PNG")
    return False


def _wide_colour(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """High and low bytes ``(H,W,3)`` of a 16-bit colour PNG: the same bytes unpacked in either order."""
    import numpy as np
    from PIL import Image, ImageOps

    planes = []
    for order in ("16B", "16L"):  # big-endian unpacking keeps the high byte, little-endian the low one
        with Image.open(path, formats=("PNG",)) as picture:
            picture.tile = [tile._replace(args=f"{picture.mode};{order}") for tile in picture.tile]
            ImageOps.exif_transpose(picture, in_place=True)
            planes.append(np.asarray(picture)[..., :3])
    return planes[0], planes[1]
