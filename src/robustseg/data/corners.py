"""``corners.json``: where a board is in each picture of a folder, ``{"NAME": [[x, y], [x, y], [x, y], [x, y]]}``.

Corners run clockwise from the top left, in pixels of the picture as a viewer shows it; see `physical.quad`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from robustseg.data.images import SUFFIXES
from robustseg.data.layout import safe_id
from robustseg.errors import UserError

__all__ = ["read_corners"]

LARGEST = 16 * 2**20


def read_corners(path: str | Path, ids: Sequence[str], ref: str) -> dict[str, object]:
    """Image id -> corners as they are written, not yet held against the picture; images may be left out.

    A name may have its suffix and its folders. Raises UserError for a file that cannot be read and for a name that no
    image of ``ref`` has.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f'--place {path}: no such file; write {{"NAME": [[x, y], [x, y], [x, y], [x, y]]}}, or --place auto'
        )
    if file.stat().st_size > LARGEST:
        raise UserError(f"{file} is larger than {LARGEST >> 20} MiB; that is no table of corners")
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as problem:
        raise UserError(f"{file}: not valid JSON ({problem})") from None
    if not isinstance(found, dict) or not found:
        raise UserError(f'{file}: needs {{"NAME": [[x, y], [x, y], [x, y], [x, y]]}}, a name for each picture')
    made: dict[str, object] = {}
    for name, corners in found.items():
        one = safe_id(_stem(name))
        if one not in ids:
            near = difflib.get_close_matches(one, ids, 1)
            raise UserError(f"{file}: {ref} has no image {name!r}; did you mean {(near or list(ids)[:1])[0]}?")
        if one in made:
            raise UserError(f"{file}: {name} stands there twice")
        made[one] = corners
    return made


def _stem(name: str) -> str:
    """The name without the suffix of a picture.

    >>> _stem("a/b.1.JPG"), _stem("b.1")
    ('a/b.1', 'b.1')
    """
    ending = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(ending)]
