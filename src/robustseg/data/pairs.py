"""The one data set: lists of files and how to read them. Readers only build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from robustseg.data import hashing, resize
from robustseg.data.images import read_image
from robustseg.data.labels import LabelCode, read_ids, read_labels, same_size
from robustseg.data.objects import components, visible
from robustseg.data.segments import remap_segments, resized_segments
from robustseg.errors import UserError
from robustseg.types import Sample, Segments

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ALL_TASKS", "Pair", "PairDataSet", "Truth", "TruthReader", "integers"]

ALL_TASKS = ("semantic", "instance", "panoptic")


@dataclass(frozen=True)
class Pair:
    """The files of one image; whatever is None does not exist in the set. ``masks``: one file an object."""

    id: str
    image: Path
    labels: Path | None = None
    instances: Path | None = None
    parts: Path | None = None
    masks: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that exist, in a fixed order."""
        return tuple(p for p in (self.image, self.labels, self.instances, self.parts, *self.masks) if p is not None)


@dataclass(frozen=True)
class Truth:
    """What is true of one image, in the data set's own class indices; see :class:`robustseg.types.Sample`."""

    labels: torch.Tensor | None = None
    instances: torch.Tensor | None = None
    segments: Segments | None = None

    def resized(self, size: tuple[int, int]) -> Truth:
        """At (H,W), nearest throughout."""
        labels, instances = (None if v is None else resize.nearest(v, size) for v in (self.labels, self.instances))
        return Truth(labels, instances, None if self.segments is None else resized_segments(self.segments, size))


class TruthReader(Protocol):
    """Truth that is more than a label file: ``(pair, size) -> Truth``, all of it ``size`` = (H,W) large.

    ``text`` says how it reads and ``files`` what it reads beside the files of the pairs; both enter the digest.
    """

    @property
    def text(self) -> str: ...
    @property
    def files(self) -> tuple[Path, ...]: ...
    def __call__(self, pair: Pair, size: tuple[int, int]) -> Truth: ...


@dataclass(frozen=True)
class PairDataSet:
    """Images with their truth, read when asked for; see :class:`robustseg.types.DataSet`.

    ``code``: what label values mean. ``things``: names of the countable classes. Instance values under ``stuff_below``
    and those in ``object_void`` are no objects, nor are those of fewer than ``smallest`` pixels. ``parts``: region name
    -> value in the part files. ``size``: the (H,W)
    that everything is resized to. ``table``: class index -> new index or ignore, after a class map. ``limit``: how many
    images are shown. ``truth`` reads labels, instances and segments in place of ``code`` and its files; ``check``
    raises UserError where the class indices of an image and the raw values of its instance file cannot belong together.
    ``detections``: how many an image are judged, COCO's 100 unless its images hold more objects.
    Objects: instance files where the set has them, else connected components of each thing class. Components only
    serve recall by object size: two cars that touch are one, so they are no instance truth, and ``tasks`` (what the
    truth can score) names "instance" and "panoptic" for sets with true instances alone.
    """

    ref: str
    classes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    code: LabelCode | None
    things: tuple[str, ...] = ()
    ignore: int = 255
    task: str = "semantic"
    stuff_below: int = 1
    smallest: int = 1
    detections: int = 100
    object_void: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    table: tuple[int, ...] | None = None
    limit: int | None = None
    tasks: tuple[str, ...] = ("semantic",)
    truth: TruthReader | None = None
    check: Callable[[Pair, np.ndarray, np.ndarray], None] | None = None

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
        truth = self._with_components(self._renamed(self._read(pair, size)))
        regions = self._regions(pair, size)
        if self.size is not None:
            image = resize.image(image, self.size)
            truth = truth.resized(self.size)
            regions = {name: resize.nearest(mask, self.size) for name, mask in regions.items()}
        return Sample(pair.id, image, truth.labels, truth.instances, regions, truth.segments)

    def _read(self, pair: Pair, size: tuple[int, int]) -> Truth:
        if self.truth is not None:
            return self.truth(pair, size)
        labels = instances = None
        if pair.labels is not None and self.code is not None:
            values = read_labels(pair.labels, self.code)
            same_size(pair.image, size, pair.labels, values.shape)
            labels = torch.from_numpy(values)
        if pair.instances is not None:
            values = integers(pair, pair.instances, size, "instance file")
            if self.check is not None and labels is not None:
                self.check(pair, labels.numpy(), values)
            values[values < self.stuff_below] = 0
            for value in self.object_void:
                values[values == value] = 0
            instances = torch.from_numpy(visible(values, self.smallest))
        return Truth(labels, instances)

    def _renamed(self, truth: Truth) -> Truth:
        """The truth under the class map."""
        if self.table is None or truth.labels is None:
            return truth
        lookup = torch.full((max(self.ignore, len(self.table)) + 1,), self.ignore, dtype=torch.int64)
        lookup[: len(self.table)] = torch.tensor(self.table, dtype=torch.int64)
        segments = truth.segments
        if segments is not None:
            things = [name in self.things for name in self.classes]
            segments = remap_segments(segments, lookup, self.ignore, things)
        return Truth(lookup[truth.labels], truth.instances, segments)

    def _with_components(self, truth: Truth) -> Truth:
        """Where nobody drew objects: connected components, for recall by size alone (see the class)."""
        if truth.labels is None or truth.instances is not None or not self.things:
            return truth
        return replace(truth, instances=components(truth.labels, [self.classes.index(name) for name in self.things]))

    def _regions(self, pair: Pair, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        if pair.parts is None:
            return {}
        values = torch.from_numpy(integers(pair, pair.parts, size, "part file"))
        return {name: values == value for name, value in self.parts.items()}

    def digest(self) -> str:
        """Content hash, 16 hex digits: bytes of all files of the split, and how they are read.

        ``limit`` stays out, so that a longer run continues a shorter one; paths stay out, so that a copy is equal.
        """
        parts = sorted(self.parts.items())
        how = f"{self.task}|{self.classes}|{self.things}|{self.ignore}|{self.stuff_below}|{self.object_void}|{parts}"
        how += f"|{self.size}|{self.table}|{self.code.text if self.code else None}"
        how += f"|{self.smallest}" if self.smallest > 1 else ""
        how += f"|{self.detections} detections" if self.detections != 100 else ""
        void = self.code.void_mask if self.code else None
        shared: list[tuple[str, tuple[Path, ...]]] = [("void", (void,) if void else ())]
        if self.truth is not None:
            how += f"|{self.truth.text}"
            shared.append(("truth", self.truth.files))
        return hashing.of_files(how, [*((p.id, p.files) for p in self.pairs), *shared])

    def subset(self, limit: int | None) -> PairDataSet:
        """The first ``limit`` images (None: all), under the same digest."""
        if limit is not None and limit < 1:
            raise UserError(f"a limit of {limit} images leaves nothing; use 1 or more")
        return replace(self, limit=limit)


def integers(pair: Pair, path: Path, size: tuple[int, int], what: str) -> np.ndarray:
    """Raw integers of a file that must have the size of the image."""
    values = read_ids(path, what=what)
    same_size(pair.image, size, path, values.shape)
    return values
