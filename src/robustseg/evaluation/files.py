"""Files that are whole or not there, and names for them. Standard library only."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from robustseg.errors import UserError

__all__ = ["folder_for", "slug", "write_json"]


def folder_for(path: str | Path) -> Path:
    """The folder, made where it is missing. Raises UserError where it cannot be, or is a file."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"{folder} cannot be a folder for results ({problem.strerror}); name another") from None
    return folder


def write_json(path: Path, value: Any) -> None:
    """Written beside and moved into place: a reader never sees half a file. Raises UserError where it cannot be."""
    try:
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        draft.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as problem:
        raise UserError(f"cannot write {path}: {problem.strerror}; the rows in the store are safe") from problem


def slug(text: str) -> str:
    """A file name from any text.

    >>> slug("pgd:eps=8/255,steps=20")
    'pgd_eps=8_255_steps=20'
    """
    return re.sub(r"[^\w.=-]+", "_", text)
