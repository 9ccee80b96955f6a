"""Object crops of street scenes: squares around objects and inside regions, each with one label.

Rules, so that a label is beyond doubt and an id always means the same crop: *objects* (and signs and lights, which are
connected regions) of at least ``AREA`` pixels and ``SIDE`` pixels along their longer side; the square is that side and
a margin, moved into the image; the object covers ``SHARE`` of it and more than any other object does. *Stuff*: the
largest squares that lie wholly inside a building or vegetation, ``PIECES`` a class and scene at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robustseg.data import refs, resize, street
from robustseg.data.labelled import LabelledSet
from robustseg.data.objects import components
from robustseg.data.pairs import PairDataSet
from robustseg.data.refs import Ref
from robustseg.types import Sample

__all__ = ["CLASSES", "Box", "boxes", "crops", "read"]

OBJECTS = ("person", "rider", "car", "truck", "bus", "motorcycle", "bicycle")
SMALL = ("traffic light", "traffic sign")
STUFF = ("building", "vegetation")
CLASSES = (*STUFF, *SMALL, *OBJECTS)
SIZE = (64, 64)
MARGIN = 0.1  # of the object's longer side, on each side
AREA, SIDE, SHARE = 100, 16, 0.08
PIECES, LARGEST = 2, 96  # stuff squares a class and scene, and their longest side
Box = tuple[int, int, int]  # top, left, side
Array = NDArray[np.integer]


@dataclass(frozen=True)
class Scenes:
    """The scenes that crops are cut from; the last one read is kept, since crops of one scene come in a row."""

    data: PairDataSet
    last: dict[int, Sample] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, place: int) -> Sample:
        if place not in self.last:
            self.last.clear()
            self.last[place] = self.data[place]
        return self.last[place]


@dataclass(frozen=True)
class Crop:
    """A square of a scene and its class; parts of people that the scene knows come along as regions."""

    id: str
    label: int
    scenes: Scenes = field(repr=False)
    place: int
    box: Box
    size: tuple[int, int]

    @property
    def text(self) -> str:
        """Where it was cut."""
        return f"{self.box}|{self.size}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the scene."""
        return self.scenes.data.pairs[self.place].files

    def read(self, size: tuple[int, int] | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The crop, resized once: to ``size``, or to its own (64x64)."""
        sample, (top, left, side) = self.scenes[self.place], self.box
        at = (slice(top, top + side), slice(left, left + side))
        wanted = size or self.size
        regions = {name: resize.nearest(mask[at], wanted) for name, mask in sample.regions.items()}
        return resize.image(sample.image[:, at[0], at[1]], wanted), regions


def read(ref: Ref) -> LabelledSet:
    """``street-crops:val``, ``street-crops:fit``, or the crops of a rendered folder."""
    other = refs.parse("street" + ref.text[ref.text.index(":") :])
    return replace(crops(street.read(other)), ref=ref.text)


def crops(data: PairDataSet, *, margin: float = MARGIN, size: tuple[int, int] = SIZE) -> LabelledSet:
    """All crops of street scenes, scene by scene. Ids: SCENE-NUMBER-CLASS."""
    scenes = Scenes(data)
    found = []
    for place in range(len(data)):
        sample = scenes[place]
        for number, (name, box) in enumerate(boxes(sample, data.classes, margin)):
            label = CLASSES.index(name)
            text = f"{sample.id}-{number:02d}-{name.replace(' ', '_')}"
            found.append(Crop(text, label, scenes, place, box, size))
    return LabelledSet(data.ref, CLASSES, tuple(found))


def boxes(sample: Sample, classes: tuple[str, ...], margin: float = MARGIN) -> Iterator[tuple[str, Box]]:
    """``(class, (top, left, side))`` of every crop of a scene whose labels are indices of ``classes``."""
    assert sample.labels is not None
    labels = sample.labels.numpy()
    if sample.instances is not None:
        yield from _around(sample.instances.numpy(), labels, classes, OBJECTS, margin)
    small = components(sample.labels, [classes.index(name) for name in SMALL], smallest=AREA).numpy()
    yield from _around(small, labels, classes, SMALL, margin)
    for name in STUFF:
        for box in _inside(labels == classes.index(name)):
            yield name, box


def _around(
    ids: Array, labels: Array, classes: tuple[str, ...], wanted: tuple[str, ...], margin: float
) -> Iterator[tuple[str, Box]]:
    """Squares around the objects of some classes, in the order of their numbers."""
    from scipy import ndimage

    for number, window in enumerate(ndimage.find_objects(ids), start=1):
        if window is None:
            continue
        mask = ids[window] == number
        label = int(np.bincount(labels[window][mask], minlength=256).argmax())
        tall, wide = mask.shape
        name = classes[label] if label < len(classes) else ""
        if name not in wanted or mask.sum() < AREA or max(tall, wide) < SIDE:
            continue
        top, left, side = _square(window, MARGIN, ids.shape)  # whatever the margin, the same objects are taken
        counts = np.bincount(ids[top : top + side, left : left + side].ravel(), minlength=number + 1)
        mine, others = counts[number], np.delete(counts[1:], number - 1)
        if mine >= SHARE * side * side and mine > others.max(initial=0):
            yield name, _square(window, margin, ids.shape)


def _square(window: tuple[slice, ...], margin: float, size: tuple[int, ...]) -> Box:
    """The square around a window, with a margin, moved into the image."""
    side = min(round(max(w.stop - w.start for w in window) * (1 + 2 * margin)), *size)
    top, left = (min(max((w.start + w.stop - side) // 2, 0), n - side) for w, n in zip(window, size))
    return int(top), int(left), int(side)


def _inside(mask: NDArray[np.bool_]) -> Iterator[Box]:
    """The largest squares inside a region, the second outside the first."""
    from scipy import ndimage

    free = np.pad(mask, 1)  # the image ends at its border
    for _ in range(PIECES):
        depth: Any = ndimage.distance_transform_cdt(free, metric="chessboard")
        radius = int(depth.max())
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        reach = min(radius, (LARGEST + 1) // 2) - 1  # a square of side 2 reach + 1 around the pixel
        side = 2 * reach + 1
        if side < SIDE:
            return
        yield int(y) - 1 - reach, int(x) - 1 - reach, side
        free[y - reach : y + reach + 1, x - reach : x + reach + 1] = False
