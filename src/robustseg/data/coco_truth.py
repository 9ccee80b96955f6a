"""The truth of one COCO image: its segments from polygons, run lengths or a panoptic PNG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustseg.data import rle
from robustseg.data.coco_json import Entry
from robustseg.data.files import opened
from robustseg.data.labels import same_size
from robustseg.data.pairs import Pair, Truth
from robustseg.errors import UserError
from robustseg.types import Segments

__all__ = ["Instances", "Regions"]

MOST_MASK_BYTES = 1 << 31
LARGEST_ID = (1 << 31) - 1


@dataclass(frozen=True)
class _Coco:
    """``entries`` by sample id; ``index``: category id -> class index; ``things``: ids of the countable categories."""

    path: Path
    entries: Mapping[str, Entry]
    index: Mapping[int, int]
    ignore: int
    things: frozenset[int]

    @property
    def files(self) -> tuple[Path, ...]:
        """The annotation file: read beside the images and PNGs."""
        return (self.path,)

    def entry(self, pair: Pair, size: tuple[int, int]) -> Entry:
        """What the file says of an image, whose size must be the one it says."""
        entry = self.entries[pair.id]
        if entry.size is not None:
            same_size(pair.image, size, self.path, entry.size)
        if len(entry.segments) * size[0] * size[1] > MOST_MASK_BYTES:
            raise UserError(
                f"{self.path}: image {entry.file}: {len(entry.segments)} masks of its size need too much memory"
            )
        return entry

    def segments(self, entry: Entry, masks: NDArray[np.bool_]) -> Segments:
        """Masks of an entry's segments, in its order, with their classes and crowd flags."""
        categories = [self.index[s["category_id"]] for s in entry.segments]
        crowd = [bool(s.get("iscrowd", 0)) for s in entry.segments]
        return Segments(
            torch.from_numpy(masks),
            torch.tensor(categories, dtype=torch.int64),
            torch.tensor(crowd, dtype=torch.bool),
        )


@dataclass(frozen=True)
class Instances(_Coco):
    """Objects with a mask each, which may overlap; the smaller one then gives label and instance number.

    Instance numbers are the annotation ids, or places from 1 on where an id of the image is no positive 32-bit number.
    """

    text: str = "coco instances; the smaller object on top; crowds have no label"

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Truth:
        entry = self.entry(pair, size)
        masks = np.zeros((len(entry.segments), *size), dtype=np.bool_)
        for mask, segment in zip(masks, entry.segments):
            mask |= _decoded(segment, size, self.path)
        seen = np.asarray(masks.any((1, 2)))
        entry = Entry(entry.file, entry.size, tuple(s for s, some in zip(entry.segments, seen) if some))
        segments = self.segments(entry, masks[seen])
        return Truth(*self._painted(entry, segments, size), segments)

    def _painted(self, entry: Entry, segments: Segments, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and instance numbers, the largest object first, so that the smallest is on top."""
        labels = torch.full(size, self.ignore, dtype=torch.int64)
        instances = torch.zeros(size, dtype=torch.int32)
        numbers = [s["id"] for s in entry.segments]
        if any(not 0 < n <= LARGEST_ID for n, crowd in zip(numbers, segments.crowd) if not crowd):
            numbers = list(range(1, len(numbers) + 1))
        areas = segments.masks.flatten(1).sum(1)
        for k in areas.argsort(descending=True, stable=True).tolist():
            if not segments.crowd[k]:
                labels[segments.masks[k]] = segments.categories[k]
                instances[segments.masks[k]] = numbers[k] if entry.segments[k]["category_id"] in self.things else 0
        return labels, instances


@dataclass(frozen=True)
class Regions(_Coco):
    """Segments as the regions of one PNG, whose colours are ids (red + 256 green + 65536 blue); 0 is void.

    Instance numbers are those ids, of countable segments that are no crowds.
    """

    text: str = "coco panoptic"

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Truth:
        entry = self.entry(pair, size)
        assert pair.instances is not None
        ids = _colour_ids(pair.instances)
        same_size(pair.image, size, pair.instances, ids.shape)
        numbers = [s["id"] for s in entry.segments]
        painted, inverse = np.unique(ids, return_inverse=True)
        inverse = inverse.reshape(size)
        _same_ids(pair.instances, self.path, set(painted.tolist()) - {0}, set(numbers))
        place = {number: k for k, number in enumerate(painted.tolist())}
        masks = np.zeros((len(numbers), *size), dtype=np.bool_)
        label = np.full(len(painted), self.ignore, dtype=np.int64)
        number_of = np.zeros(len(painted), dtype=np.int32)
        for mask, segment in zip(masks, entry.segments):
            k = place[segment["id"]]
            np.equal(inverse, k, out=mask)
            label[k] = self.index[segment["category_id"]]
            if segment["category_id"] in self.things and not segment.get("iscrowd", 0):
                number_of[k] = segment["id"]
        labels, instances = torch.from_numpy(label[inverse]), torch.from_numpy(number_of[inverse])
        return Truth(labels, instances, self.segments(entry, masks))


def _decoded(segment: Mapping[str, Any], size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    """The mask of one instance annotation."""
    code = segment["segmentation"]
    try:
        if isinstance(code, list):
            if not code or not all(isinstance(points, list) for points in code):
                raise ValueError("its segmentation is no list of polygons")
            mask = np.zeros(size, dtype=np.bool_)
            for points in code:
                mask |= rle.from_polygon(points, size)
            return mask
        if code.get("size") != list(size):
            raise ValueError(f"its run lengths are of a mask of size {str(code.get('size'))[:40]}, not {list(size)}")
        counts = code.get("counts")
        if isinstance(counts, str):
            counts = rle.read_text(counts)
        elif not isinstance(counts, list):
            raise ValueError('its run lengths have no "counts"')
        return rle.from_counts(counts, size)
    except ValueError as error:
        raise UserError(f"{path}: annotation {segment['id']}: {error}") from error


def _colour_ids(path: Path) -> NDArray[np.int64]:
    """A panoptic PNG as ids ``(H,W)``."""
    with opened(path, ("PNG",), "panoptic PNG") as picture:
        if picture.mode != "RGB":
            raise UserError(f"{path}: panoptic PNG has mode {picture.mode}, not RGB: its colours are the segment ids")
        red, green, blue = np.moveaxis(np.array(picture).astype(np.int64), 2, 0)
    return red + 256 * green + 65536 * blue


def _same_ids(png: Path, listed: Path, painted: set[int], numbers: set[int]) -> None:
    """Every id of the PNG is a segment and every segment has a pixel, else one of the two files is another's."""
    for have, lack, what in (
        (painted, numbers, f"is in no segments_info of {listed}"),
        (numbers, painted, f"of {listed} has no pixel here"),
    ):
        wrong = sorted(have - lack)
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise UserError(f"{png}: segment id {wrong[0]}{more} {what}; the two files do not belong together")
