"""ADE20K scene parsing (ADEChallengeData2016): ``PATH/images/SPLIT/*.jpg``, ``PATH/annotations/SPLIT/*.png``.

Label files hold 0 = other and v = class v-1; 0 does not count. Source: Zhou et al., "Scene parsing through ADE20K
dataset", CVPR 2017; things after the benchmark's 100 instance classes.
"""

from __future__ import annotations

import json
from importlib import resources

from robustseg.data import layout
from robustseg.data.labels import reduce_zero_label
from robustseg.data.pairs import Pair, PairDataSet
from robustseg.data.refs import Ref

__all__ = ["read"]


def read(ref: Ref) -> PairDataSet:
    """One split; objects are connected components, since the scene-parsing release has no instance maps."""
    assert ref.path is not None
    about = json.loads((resources.files("robustseg.data") / "ade20k.json").read_text(encoding="utf-8"))
    image_root = layout.folder(ref.path / "images", ref.text)
    split = layout.chosen_split(ref, layout.splits(image_root))
    truth = layout.folder(ref.path / "annotations" / split, ref.text)
    images, labels = layout.find(image_root / split), layout.find(truth, (".png",))
    layout.match(images, labels, truth)
    pairs = tuple(Pair(layout.safe_id(key), images[key], labels[key]) for key in sorted(images))
    classes = tuple(about["classes"])
    return PairDataSet(ref.text, classes, pairs, reduce_zero_label(len(classes)), things=tuple(about["things"]))
