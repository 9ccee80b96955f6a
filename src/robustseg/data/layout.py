"""Finding images and their label files in folders, and giving them ids."""

from __future__ import annotations

import re
from pathlib import Path

from robustseg.data.images import SUFFIXES
from robustseg.data.refs import SCHEMES, Ref
from robustseg.errors import UserError

__all__ = ["chosen_split", "find", "folder", "match", "safe_id", "splits"]


def safe_id(name: str) -> str:
    """An image id from a relative path without suffix: no separators, no control characters, no leading dot.

    >>> safe_id("frankfurt/000001")
    'frankfurt__000001'
    """
    text = re.sub(r"[\\/]+", "__", name)
    text = re.sub(r"[\x00-\x1f\x7f:*?\"<>|]", "_", text)
    return re.sub(r"^\.+", "_", text) or "_"


def folder(path: Path, ref: str, what: str = "folder") -> Path:
    """``path`` if it is a folder, else a UserError that names the nearest parent that exists."""
    if path.is_dir():
        return path
    there = next((p for p in path.parents if p.is_dir()), Path("."))
    inside = ", ".join(splits(there)[:8]) or "no folders"
    raise UserError(f"data {ref}: {what} {path} does not exist; {there} has: {inside}")


def chosen_split(ref: Ref, present: list[str]) -> str:
    """The split that ``ref`` names; UserError, listing those present, if it names none or one that is not there."""
    if ref.split in present:
        return ref.split
    wrong = f"no split '{ref.split}'" if ref.split else f"needs a split, as in {SCHEMES[ref.scheme].example}"
    raise UserError(f"data {ref.text}: {wrong} (present: {', '.join(present) or 'none'})")


def splits(path: Path) -> list[str]:
    """Names of the folders in ``path``, sorted, hidden ones left out."""
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def find(root: Path, suffixes: tuple[str, ...] = SUFFIXES, ending: str = "") -> dict[str, Path]:
    """All files under ``root`` by relative path without ``ending`` and suffix; hidden files and folders left out."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix.lower() not in suffixes or any(part.startswith(".") for part in relative.parts):
            continue
        stem = relative.with_suffix("").as_posix()
        if not stem.endswith(ending) or path.is_dir():
            continue
        key = stem[: len(stem) - len(ending)] if ending else stem
        if key in found:
            raise UserError(f"{path}: same name as {found[key].name}; an image may exist only once, remove one")
        found[key] = path
    return found


def match(images: dict[str, Path], others: dict[str, Path], root: Path, what: str = "label file") -> None:
    """Raise UserError unless every image has its file of the other kind and the other way round."""
    for have, lack, message in (
        (images, others, f"image without {what} in {root}"),
        (others, images, f"{what} without image"),
    ):
        missing = [have[key] for key in have if key not in lack]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"missing pair: {missing[0]}{more}: {message}; add it or remove the other one")
