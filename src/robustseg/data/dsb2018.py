"""Nuclei of the Data Science Bowl 2018: ``PATH/SPLIT/ID.png`` and ``PATH/SPLIT/ID_inst.png`` (0 background, 1..n).

Source: Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods
2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from robustseg.data import layout
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet, Truth, integers
from robustseg.data.refs import Ref

__all__ = ["CLASSES", "Nuclei", "read"]

CLASSES = ("background", "nucleus")


@dataclass(frozen=True)
class Nuclei:
    """Every number of the instance file is a nucleus, and whatever is none is background; nothing is void."""

    text: str = "nucleus where an instance is"
    files: tuple[Path, ...] = ()

    def __call__(self, pair: Pair, size: tuple[int, int]) -> Truth:
        assert pair.instances is not None
        instances = torch.from_numpy(integers(pair, pair.instances, size, "instance file"))
        return Truth((instances > 0).long(), instances)


def read(ref: Ref) -> PairDataSet:
    """One split; the images have many sizes, and a batch holds images of one size only."""
    assert ref.path is not None
    root = layout.folder(ref.path, ref.text)
    split = layout.chosen_split(ref, layout.splits(root))
    found = layout.find(root / split)
    images = {key: path for key, path in found.items() if not key.endswith("_inst")}
    instances = layout.find(root / split, (".png",), "_inst")
    layout.match(images, instances, root / split, "ID_inst.png")
    pairs = tuple(Pair(layout.safe_id(key), images[key], instances=instances[key]) for key in sorted(images))
    return PairDataSet(ref.text, CLASSES, pairs, None, things=CLASSES[1:], tasks=ALL_TASKS, truth=Nuclei())
