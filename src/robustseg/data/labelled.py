"""Images with one label each, for classifiers: the same contract as segmentation data, with a label map of 1x1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from robustseg.data import hashing, resize
from robustseg.errors import UserError
from robustseg.types import Sample

__all__ = ["Labelled", "LabelledSet"]


class Labelled(Protocol):
    """One image: its id, class index, the files it comes from, and what else decides its pixels, as text.

    ``read(size)``: image ``(3,h,w)`` in [0,1] and named regions ``(h,w)`` bool, at ``size`` if one is given.
    """

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> int: ...
    @property
    def files(self) -> tuple[Path, ...]: ...
    @property
    def text(self) -> str: ...
    def read(self, size: tuple[int, int] | None) -> tuple[Tensor, Mapping[str, Tensor]]: ...


@dataclass(frozen=True)
class LabelledSet:
    """Labelled images, read when asked for; see :class:`robustseg.types.DataSet`.

    ``size``: the (H,W) of every image, None for its own. ``table``: class index -> new index or ignore, after a class
    map; ``limit``: how many images are shown. ``labels`` of a sample are ``(1,1)``.
    """

    ref: str
    classes: tuple[str, ...]
    pairs: tuple[Labelled, ...]
    ignore: int = 255
    size: tuple[int, int] | None = None
    table: tuple[int, ...] | None = None
    limit: int | None = None
    things: tuple[str, ...] = field(default=(), repr=False)
    task: str = "classification"
    tasks: tuple[str, ...] = ("classification",)

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids in order: unique, and safe as file names."""
        return tuple(pair.id for pair in self.pairs[: self.limit])

    def __len__(self) -> int:
        return len(self.pairs[: self.limit])

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[: self.limit][index]
        image, regions = pair.read(self.size)
        if self.size is not None:
            image = resize.image(image, self.size)
            regions = {name: resize.nearest(mask, self.size) for name, mask in regions.items()}
        label = pair.label if self.table is None else self.table[pair.label]
        return Sample(pair.id, image, torch.tensor([[label]]), regions=regions)

    def digest(self) -> str:
        """Content hash, 16 hex digits: files, labels, and how they are read; paths and ``limit`` stay out."""
        how = f"{self.task}|{self.classes}|{self.ignore}|{self.size}|{self.table}"
        return hashing.of_files(how, [(f"{p.id}|{p.label}|{p.text}", p.files) for p in self.pairs])

    def subset(self, limit: int | None) -> LabelledSet:
        """The first ``limit`` images (None: all), under the same digest."""
        if limit is not None and limit < 1:
            raise UserError(f"a limit of {limit} images leaves nothing; use 1 or more")
        return replace(self, limit=limit)
