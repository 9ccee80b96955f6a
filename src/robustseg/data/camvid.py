"""CamVid in the SegNet layout: ``PATH/SPLIT/*.png|jpg`` and ``PATH/SPLITannot/*.png``, 11 classes, 11 = void.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video", 2009; class grouping of SegNet (2015).
"""

from __future__ import annotations

from robustseg.data import layout
from robustseg.data.labels import plain_code
from robustseg.data.pairs import Pair, PairDataSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

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
    if ref.split not in present:
        here = ", ".join(present) or f"none: no folders X and Xannot in {root}"
        wrong = f"no split '{ref.split}'" if ref.split else "needs a split, as in camvid:PATH:test"
        raise UserError(f"data {ref.text}: {wrong} (present: {here})")
    images = layout.find(root / ref.split)
    labels = layout.find(root / f"{ref.split}annot", (".png",))
    layout.match(images, labels, root / f"{ref.split}annot")
    pairs = tuple(Pair(layout.safe_id(key), images[key], labels[key]) for key in sorted(images))
    return PairDataSet(ref.text, CLASSES, pairs, plain_code(len(CLASSES), void=(11, 255)), things=THINGS)
