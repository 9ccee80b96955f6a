"""Opening picture files safely: every way in which a file can be broken is one clear line that names it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_PIXELS", "opened", "png_header"]

MAX_PIXELS = 80_000_000  # below Pillow's own warning level; 10000 x 8000


@contextmanager
def opened(path: Path, formats: tuple[str, ...], what: str) -> Iterator[Image]:
    """Open ``path`` as one of Pillow's ``formats`` and turn every fault into a UserError naming the file.

    Refused: missing, zero-byte, unknown format, more than ``MAX_PIXELS`` pixels, and files that end early, also where
    some other library has told Pillow to put up with those. The pixels must be read inside the ``with`` block.
    """
    from PIL import Image, ImageFile

    if not path.is_file():
        raise UserError(f"{path}: {what} is missing or is no file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: {what} is empty (0 bytes); copy it again")
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with Image.open(path, formats=formats) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise UserError(f"{path}: {what} has {width}x{height} pixels, more than {MAX_PIXELS}; cut or shrink it")
            yield picture
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {what} has far more than {MAX_PIXELS} pixels; cut or shrink it") from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path}: {what} is not a readable {'/'.join(formats)} file") from error
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read this {what}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: {what} is broken or ends early ({error}); copy it again") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def png_header(path: Path) -> tuple[int, int] | None:
    """``(bit depth, colour type)`` of a PNG file, None for other formats (PNG specification, 11.2.2)."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return head[24], head[25]
