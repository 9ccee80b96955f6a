"""Content hashes of files, each file read once per process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from robustseg.errors import UserError

__all__ = ["of_file", "of_files"]


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered while size and modification time stay the same."""
    try:
        state = path.stat()
        return _of_file(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); was it moved?") from error


@cache
def _of_file(path: Path, size: int, mtime: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(how: str, groups: Iterable[tuple[str, tuple[Path, ...]]]) -> str:
    """16 hex digits over a text and named groups of files: name, size and bytes of each, never where it lies."""
    total = hashlib.sha256(how.encode())
    for name, paths in groups:
        total.update(f"\n{name}".encode())
        for path in paths:
            total.update(f"\t{of_file(path)}".encode())
    return total.hexdigest()[:16]
