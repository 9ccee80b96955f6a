"""``region=`` and ``count=``: which pixels of an image, as text -> boolean masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from robustseg.data import resize
from robustseg.data.classes import key
from robustseg.data.labels import read_mask
from robustseg.errors import UserError
from robustseg.ops import place

if TYPE_CHECKING:
    from robustseg.types import DataSet, Sample

__all__ = ["Region", "region"]

NAMED = ("clothing", "skin")
FORMS = "a mask FILE, a DIR of masks named ID.png, clothing, skin, class:NAME, instance:ID or box:HxW@X/Y"


class Region(Protocol):
    """``(sample) -> (H,W)`` bool; all False means that the image has no such pixels: it is *not applicable*."""

    def __call__(self, sample: Sample) -> Tensor: ...


def region(text: str, data: DataSet) -> Region:
    """Parse a region once for a data set and return the function that makes the mask of each sample.

    ``class:NAME`` goes by the data set's class names, ``instance:ID`` by the sample's instance map. In a mask file
    non-zero means True; it has the size of the image, or of the image before ``--resize``, and is then resized with
    it. A mask folder need not hold every image: those without a mask are not applicable.
    Raises UserError for text without meaning, for unknown classes and for masks of another size.
    """
    kind, colon, value = text.partition(":")
    if colon and kind == "class":
        return _of_class(value, data)
    if colon and kind == "instance":
        return _of_instance(value, data)
    if colon and kind == "box":
        return _of_box(value)
    if text in NAMED:
        return _named(text, data)
    path = Path(text).expanduser()
    if path.is_dir():
        return _from_files(lambda sample: path / f"{sample.id}.png", data, optional=True)
    if path.is_file():
        return _from_files(lambda sample: path, data, optional=False)
    raise UserError(f"region '{text}' is neither a file or folder that exists nor one of: {FORMS}")


def _of_class(name: str, data: DataSet) -> Region:
    places = {key(known): index for index, known in enumerate(data.classes)}
    if key(name) not in places:
        raise UserError(f"region class:{name}: the data have no such class; they have {', '.join(data.classes)}")
    index = places[key(name)]

    def mask(sample: Sample) -> Tensor:
        if sample.labels is None:
            raise UserError(f"region class:{name}: image {sample.id} has no labels")
        return sample.labels == index

    return mask


def _of_instance(number: str, data: DataSet) -> Region:
    if not number.isdecimal() or int(number) == 0:
        raise UserError(f"region instance:{number}: an instance is a number from 1 on")

    def mask(sample: Sample) -> Tensor:
        if sample.instances is None:
            raise UserError(f"region instance:{number}: image {sample.id} of {data.ref} has no instances")
        return sample.instances == int(number)

    return mask


def _of_box(text: str) -> Region:
    box = place.read(text)
    return lambda sample: box.mask((int(sample.image.shape[1]), int(sample.image.shape[2])))


def _named(name: str, data: DataSet) -> Region:
    def mask(sample: Sample) -> Tensor:
        if name not in sample.regions:
            raise UserError(
                f"region {name}: {data.ref} has no {name} masks; rendered street scenes have "
                "them, for other data give region=FILE, DIR or class:NAME"
            )
        return sample.regions[name]

    return mask


def _from_files(file: Callable[[Sample], Path], data: DataSet, *, optional: bool) -> Region:
    resized = getattr(data, "size", None) is not None

    def mask(sample: Sample) -> Tensor:
        path, size = file(sample), (sample.image.shape[1], sample.image.shape[2])
        if optional and not path.is_file():
            return torch.zeros(size, dtype=torch.bool)
        values = torch.from_numpy(read_mask(path))
        if tuple(values.shape) != size and not resized:
            here, there = ("x".join(str(n) for n in shape) for shape in (values.shape, size))
            raise UserError(f"{path}: mask is {here} (HxW), but image {sample.id} is {there}; they must be equal")
        return resize.nearest(values, size)

    return mask
