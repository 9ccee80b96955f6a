"""Data seen through the model's eyes: labels in model class indices, only the pixels that count."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from robustseg.data.class_map import read_class_map
from robustseg.data.classes import match, remap
from robustseg.data.segments import kept_segments, remap_segments, remap_things
from robustseg.errors import UserError
from robustseg.evaluation.key import canonical
from robustseg.ops import digest, seeds
from robustseg.tasks import truth
from robustseg.types import DataSet, ModelSpec, Sample, Segments

__all__ = ["Item", "Mapped", "class_map_digest", "index", "item"]


@dataclass(frozen=True)
class Item:
    """One image of a run: its place in the data set, id, size and content hash (which seeds its draws)."""

    position: int
    id: str
    size: tuple[int, int]
    content: str


@dataclass(frozen=True)
class Mapped:
    """A data set whose labels are model class indices; a DataSet itself. ``count`` says which pixels stay.

    ``countable (C,)``: which model classes are things. ``blind``: the model knows no classes (prompted masks), so that
    every object of the data is one of its only class, and stuff is nothing.
    """

    data: DataSet
    classes: tuple[str, ...]
    table: Tensor
    ignore: int
    count: Callable[[Sample], Tensor] | None = None
    countable: tuple[bool, ...] = ()
    blind: bool = False

    @staticmethod
    def of(data: DataSet, spec: ModelSpec, class_map: Mapping[str, str] | str | Path | None = None) -> Mapped:
        """Match by class name, else by ``class_map``. Raises UserError for data classes that the model lacks."""
        classes = spec.classes
        ignore = 255 if len(classes) <= 255 else 65535
        if spec.task == "prompted":
            table = torch.full((max(data.ignore, len(data.classes) - 1) + 1,), ignore, dtype=torch.int64)
            table[: len(data.classes)] = 0
            return Mapped(data, classes, table, ignore, countable=(True,), blind=True)
        table = match(data.classes, classes, class_map=class_map, data_ignore=data.ignore, ignore=ignore)
        names = getattr(data, "things", ())
        own = [name in spec.things for name in classes]  # of classes that the data lack, the model knows best
        flags = [name in names for name in data.classes]
        things = remap_things(flags, table[: len(data.classes)], len(classes), own)
        return Mapped(data, classes, table, ignore, countable=things if names else tuple(own))

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the countable model classes."""
        return tuple(name for name, thing in zip(self.classes, self.countable, strict=True) if thing)

    @property
    def detections(self) -> int:
        """How many detections an image are judged."""
        return int(getattr(self.data, "detections", 100))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the truth can score."""
        return tuple(getattr(self.data, "tasks", ("semantic",)))

    @property
    def ref(self) -> str:
        """As the data set's."""
        return self.data.ref

    @property
    def task(self) -> str:
        """As the data set's."""
        return self.data.task

    @property
    def ids(self) -> Sequence[str]:
        """As the data set's."""
        return self.data.ids

    @property
    def size(self) -> tuple[int, int] | None:
        """The size everything is resized to, if any."""
        return getattr(self.data, "size", None)

    def __len__(self) -> int:
        return len(self.data)

    def whole(self, index: int) -> Sample:
        """The sample with all its pixels: what regions are made from."""
        sample = self.data[index]
        if sample.labels is None:
            raise UserError(f"data {self.ref}: image {sample.id} has no labels; scores need ground truth")
        segments = sample.segments
        if self.blind:
            segments = self._objects(sample)
        elif segments is not None:
            segments = remap_segments(segments, self.table, self.ignore, self.countable)
        return replace(sample, labels=remap(sample.labels, self.table), segments=segments)

    def _objects(self, sample: Sample) -> Segments:
        """What a prompted model is asked for: every counted object, whatever its class."""
        things = [name in getattr(self.data, "things", ()) for name in self.data.classes]
        found = truth.segments(sample, things, self.data.ignore)
        keep = torch.tensor(things, dtype=torch.bool)[found.categories] & ~found.crowd
        number = int(keep.sum())
        none = torch.zeros(number, dtype=torch.int64)
        return Segments(found.masks[keep], none, none.bool())

    def counted(self, sample: Sample) -> Sample:
        """The sample with every pixel ignored that does not count."""
        if self.count is None:
            return sample
        keep = self.count(sample)
        assert sample.labels is not None
        if keep.shape != sample.labels.shape:
            raise UserError(f"count: {self.ref} have one label an image; write class:NAME or not:class:NAME")
        labels = torch.where(keep, sample.labels, self.ignore)
        segments = None if sample.segments is None else kept_segments(sample.segments, keep)
        return replace(sample, labels=labels, segments=segments)

    def __getitem__(self, index: int) -> Sample:
        return self.counted(self.whole(index))

    def digest(self) -> str:
        """As the data set's; the class map and ``count`` stand in the run key by themselves."""
        return self.data.digest()


def class_map_digest(class_map: Mapping[str, str] | str | Path | None) -> str | None:
    """Hash of a class map's content, wherever it came from."""
    return None if class_map is None else digest.of_json(json.loads(canonical(read_class_map(class_map))))


def item(position: int, sample: Sample) -> Item:
    """What a run keeps in mind of one image."""
    height, width = sample.image.shape[-2:]
    return Item(position, sample.id, (int(height), int(width)), seeds.content_ids(sample.image[None])[0])


def index(data: DataSet, number: int, tick: Callable[[int, int], None] | None = None) -> list[Item]:
    """Reads the first ``number`` images once: sizes, content hashes, and broken files before the work begins."""
    items, seen = [], set()
    for position in range(number):
        sample = data[position]
        if sample.id in seen:
            raise UserError(f"data {data.ref}: two images are called {sample.id}; ids must differ")
        seen.add(sample.id)
        items.append(item(position, sample))
        if tick:
            tick(position + 1, number)
    return items
