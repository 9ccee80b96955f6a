"""The one data set: lists of files and how to read them. Readers only build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from robustseg.data import hashing, resize
from robustseg.data.images import read_image
from robustseg.data.labels import LabelCode, read_ids, read_labels, same_size
from robustseg.data.objects import components
from robustseg.errors import UserError
from robustseg.types import Sample

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Pair", "PairDataSet"]


@dataclass(frozen=True)
class Pair:
    """The files of one image; whatever is None does not exist in the set."""

    id: str
    image: Path
    labels: Path | None = None
    instances: Path | None = None
    parts: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that exist, in a fixed order."""
        return tuple(p for p in (self.image, self.labels, self.instances, self.parts) if p is not None)


@dataclass(frozen=True)
class PairDataSet:
    """Images with their truth, read when asked for; see :class:`robustseg.types.DataSet`.

    ``code``: what label values mean. ``things``: names of the countable classes. Instance values under ``stuff_below``
    and those in ``object_void`` are no objects. ``parts``: region name -> value in the part files. ``size``: the (H,W)
    that everything is resized to. ``table``: class index -> new index or ignore, after a class map. ``limit``: how many
    images are shown.
    Objects: instance files where the set has them, else connected components of each thing class.
    """

    ref: str
    classes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    code: LabelCode | None
    things: tuple[str, ...] = ()
    ignore: int = 255
    task: str = "semantic"
    stuff_below: int = 1
    object_void: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    table: tuple[int, ...] | None = None
    limit: int | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids in order: unique, and safe as file names."""
        return tuple(pair.id for pair in self.pairs[: self.limit])

    def __len__(self) -> int:
        return len(self.pairs[: self.limit])

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[: self.limit][index]
        image = read_image(pair.image)
        size = (image.shape[1], image.shape[2])
        labels = self._labels(pair, size)
        instances = self._instances(pair, size, labels)
        regions = self._regions(pair, size)
        if self.size is not None:
            image = resize.image(image, self.size)
            labels = None if labels is None else resize.nearest(labels, self.size)
            instances = None if instances is None else resize.nearest(instances, self.size)
            regions = {name: resize.nearest(mask, self.size) for name, mask in regions.items()}
        return Sample(pair.id, image, labels, instances, regions)

    def _labels(self, pair: Pair, size: tuple[int, int]) -> torch.Tensor | None:
        if pair.labels is None or self.code is None:
            return None
        labels = read_labels(pair.labels, self.code)
        same_size(pair.image, size, pair.labels, labels.shape)
        out = torch.from_numpy(labels)
        if self.table is not None:
            lookup = torch.full((max(self.ignore, len(self.table)) + 1,), self.ignore, dtype=torch.int64)
            lookup[: len(self.table)] = torch.tensor(self.table, dtype=torch.int64)
            out = lookup[out]
        return out

    def _instances(self, pair: Pair, size: tuple[int, int], labels: torch.Tensor | None) -> torch.Tensor | None:
        if pair.instances is not None:
            values = _integers(pair, pair.instances, size, "instance file")
            values[values < self.stuff_below] = 0
            for value in self.object_void:
                values[values == value] = 0
            return torch.from_numpy(values)
        if labels is None or not self.things:
            return None
        return components(labels, [self.classes.index(name) for name in self.things])

    def _regions(self, pair: Pair, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        if pair.parts is None:
            return {}
        values = torch.from_numpy(_integers(pair, pair.parts, size, "part file"))
        return {name: values == value for name, value in self.parts.items()}

    def digest(self) -> str:
        """Content hash, 16 hex digits: bytes of all files of the split, and how they are read.

        ``limit`` stays out, so that a longer run continues a shorter one; paths stay out, so that a copy is equal.
        """
        parts = sorted(self.parts.items())
        how = f"{self.task}|{self.classes}|{self.things}|{self.ignore}|{self.stuff_below}|{self.object_void}|{parts}"
        how += f"|{self.size}|{self.table}|{self.code.text if self.code else None}"
        void = self.code.void_mask if self.code else None
        return hashing.of_files(how, [*((p.id, p.files) for p in self.pairs), ("void", (void,) if void else ())])

    def subset(self, limit: int | None) -> PairDataSet:
        """The first ``limit`` images (None: all), under the same digest."""
        if limit is not None and limit < 1:
            raise UserError(f"a limit of {limit} images leaves nothing; use 1 or more")
        return replace(self, limit=limit)


def _integers(pair: Pair, path: Path, size: tuple[int, int], what: str) -> np.ndarray:
    """Raw integers of a file that must have the size of the image."""
    values = read_ids(path, what=what)
    same_size(pair.image, size, path, values.shape)
    return values
