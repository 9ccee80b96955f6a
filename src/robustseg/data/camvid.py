"""CamVid in the SegNet layout: ``PATH/SPLIT/*.png|jpg`` and ``PATH/SPLITannot/*.png``, 11 classes, 11 = void.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video", 2009; class grouping of SegNet (2015).
"""

from __future__ import annotations

from robustseg.data import layout
from robustseg.data.labels import plain_code
from robustseg.data.pairs import Pair, PairDataSet
from robustseg.data.refs import Ref

__all__ = ["CLASSES", "read"]

CLASSES = (
    "Sky", "Building", "Pole", "Road", "Sidewalk", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
THINGS = ("Car", "Pedestrian", "Bicyclist")


def read(ref: Ref) -> PairDataSet:
    """The images of one split; objects are connected components, since CamVid has no instance maps."""
    assert ref.path is not None
    root = layout.folder(ref.path, ref.text)
    present = [s for s in layout.splits(root) if (root / f"{s}annot").is_dir()]
    split = layout.chosen_split(ref, present)
    images = layout.find(root / split)
    labels = layout.find(root / f"{split}annot", (".png",))
    layout.match(images, labels, root / f"{split}annot")
    pairs = tuple(Pair(layout.safe_id(key), images[key], labels[key]) for key in sorted(images))
    return PairDataSet(ref.text, CLASSES, pairs, plain_code(len(CLASSES), void=(11, 255)), things=THINGS)
