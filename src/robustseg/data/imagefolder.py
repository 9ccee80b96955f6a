"""Any classification data as a folder: ``PATH/CLASS/*.png|jpg``, nested or not; the folders name the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from robustseg.data import layout
from robustseg.data.folder import SPLIT_NAMES
from robustseg.data.images import read_image
from robustseg.data.labelled import LabelledSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["read"]


@dataclass(frozen=True)
class File:
    """One picture file and its class."""

    id: str
    label: int
    path: Path
    text: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The picture."""
        return (self.path,)

    def read(self, size: tuple[int, int] | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The picture at its own size; no regions."""
        return read_image(self.path), {}


def read(ref: Ref) -> LabelledSet:
    """The pictures of ``PATH`` or ``PATH/SPLIT``; a class is a folder that holds a picture, in alphabetical order.

    Raises UserError for pictures outside any class folder, and where splits were not told apart.
    """
    assert ref.path is not None
    root = layout.folder(ref.path, ref.text)
    if ref.split is not None:
        root = layout.folder(root / ref.split, ref.text, "split")
    folders = layout.splits(root)
    if ref.split is None and folders and {name.lower() for name in folders} <= SPLIT_NAMES:
        layout.chosen_split(ref, folders)  # says which there are
    found = layout.find(root)
    loose = next((path for key, path in found.items() if "/" not in key), None)
    if loose is not None:
        raise UserError(f"{loose}: lies in no class folder; put it into {root / 'CLASS' / loose.name}, or move it away")
    classes = tuple(dict.fromkeys(key.split("/")[0] for key in sorted(found)))
    if not classes:
        raise UserError(f"data {ref.text}: no pictures in folders of classes; wanted {root / 'CLASS' / 'NAME.png'}")
    place = {name: index for index, name in enumerate(classes)}
    files = tuple(File(layout.safe_id(key), place[key.split("/")[0]], found[key]) for key in sorted(found))
    return LabelledSet(ref.text, classes, files, ignore=255 if len(classes) <= 255 else 65535)
