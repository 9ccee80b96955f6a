"""Words for pixels in a run: ``region`` (where an attacker may write) and ``count`` (what enters loss and metric)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from robustseg.data.region import region
from robustseg.errors import UserError
from robustseg.ops import digest
from robustseg.types import DataSet, Sample

__all__ = ["Mask", "canonical", "mask"]

Mask = Callable[[Sample], Tensor]  # a sample with labels in model classes -> (H,W) bool
NOT = "not:"


def mask(text: str, data: DataSet, *, whole_images: bool = False) -> Mask:
    """The pixels that ``text`` names, as ``robustseg.data.region`` reads it; ``not:TEXT`` is all others.

    ``whole_images``: labels are of images, so that no class and no object says which pixels are meant.
    """
    if whole_images and text.removeprefix(NOT).startswith(("class:", "instance:")):
        raise UserError(
            f"region {text}: {data.ref} have one label an image; name pixels by a mask FILE, DIR or clothing"
        )
    if text.startswith(NOT):
        inner = mask(text[len(NOT) :], data, whole_images=whole_images)
        return lambda sample: ~inner(sample)
    return region(text, data)


def canonical(text: str | None) -> str | None:
    """The text for the run key: the content of a file or folder in place of its path."""
    if text is None:
        return None
    head = NOT if text.startswith(NOT) else ""
    path = Path(text[len(head) :]).expanduser()
    files = sorted(path.glob("*.png")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        return text
    return f"{head}file:" + digest.of_json([[f.name if path.is_dir() else "", f.read_bytes().hex()] for f in files])
