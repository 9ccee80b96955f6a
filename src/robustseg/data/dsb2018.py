"""Nuclei of the Data Science Bowl 2018, either as ``PATH/SPLIT/ID.png`` and ``PATH/SPLIT/ID_inst.png`` (0 background,
1..n), or as published (``stage1_train``, BBBC038): ``PATH/SPLIT/ID/images/ID.png`` and ``PATH/SPLIT/ID/masks/*.png``.

Source: Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods
2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from robustseg.data import layout
from robustseg.data.labels import read_mask, same_size
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet, Truth, integers
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["CLASSES", "Nuclei", "read"]

CLASSES = ("background", "nucleus")
DETECTIONS = 500  # the test images hold up to 329 nuclei: COCO's 100 would hide a quarter of them all


@dataclass(frozen=True)
class Nuclei:
    """Every number of the instance file, or every mask file, is a nucleus; the rest is background; nothing is void.

    Mask files count from 1 in the order of their names; where two share a pixel, the first has it.
    """

    text: str = "nucleus where an instance is"
    files: tuple[Path, ...] = ()

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Truth:
        if pair.instances is not None:
            values = integers(pair, pair.instances, size, "instance file")
        else:
            values = np.zeros(size, dtype=np.int32)
            for number, path in enumerate(pair.masks, start=1):
                mask = read_mask(path)
                same_size(pair.image, size, path, mask.shape)
                values[mask & (values == 0)] = number
        instances = torch.from_numpy(values)
        return Truth((instances > 0).long(), instances)


def read(ref: Ref) -> PairDataSet:
    """One split; the images have many sizes, and a batch holds images of one size only."""
    assert ref.path is not None
    root = layout.folder(ref.path, ref.text)
    root /= layout.chosen_split(ref, layout.splits(root))
    published = any((path / "images").is_dir() for path in root.iterdir())
    pairs = _published(root, ref) if published else _pairs(root)
    return PairDataSet(
        ref.text,
        CLASSES,
        tuple(pairs),
        None,
        things=CLASSES[1:],
        tasks=ALL_TASKS,
        truth=Nuclei(),
        detections=DETECTIONS,
    )


def _pairs(root: Path) -> list[Pair]:
    images = {key: path for key, path in layout.find(root).items() if not key.endswith("_inst")}
    instances = layout.find(root, (".png",), "_inst")
    layout.match(images, instances, root, "ID_inst.png")
    return [Pair(layout.safe_id(key), images[key], instances=instances[key]) for key in sorted(images)]


def _published(root: Path, ref: Ref) -> list[Pair]:
    pairs = []
    for name in layout.splits(root):
        images = layout.find(layout.folder(root / name / "images", ref.text))
        masks = layout.find(layout.folder(root / name / "masks", ref.text), (".png",))
        if len(images) != 1 or not masks:
            raise UserError(f"{root / name}: needs one picture in images/ and one or more in masks/")
        pairs.append(Pair(layout.safe_id(name), *images.values(), masks=tuple(masks.values())))
    return pairs
