"""Cityscapes: ``PATH/leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``PATH/gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.

Source: Cordts et al., "The Cityscapes dataset", CVPR 2016; label table of cityscapesScripts (id -> trainId).
"""

from __future__ import annotations

import numpy as np

from robustseg.data import layout
from robustseg.data.files import png_header
from robustseg.data.labels import LabelCode
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["CLASSES", "THINGS", "TRAIN_IDS", "read"]

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
THINGS = CLASSES[11:]
FIRST_OBJECT = 1000

# labelId of each trainId. The other ids, among them 1 (ego vehicle) and 2, 3 (rectification, image border), are void.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
TRAIN_IDS = {**dict.fromkeys((*range(34), 255), 255), **{label: train for train, label in enumerate(LABEL_IDS)}}


def read(ref: Ref) -> PairDataSet:
    """The fine annotations of one split, with instances (values of 1000 and more).

    A group of things that nobody told apart has its label id as its instance value: below 1000, so no object, and its
    pixels are a crowd. Instances of classes that do not count (caravans, licence plates) lie on ignored pixels.
    """
    assert ref.path is not None
    image_root = layout.folder(ref.path / "leftImg8bit", ref.text)
    truth_root = layout.folder(ref.path / "gtFine", ref.text)
    split = layout.chosen_split(ref, layout.splits(image_root))
    truth = layout.folder(truth_root / split, ref.text)
    images = layout.find(image_root / split, ending="_leftImg8bit")
    labels = layout.find(truth, (".png",), "_gtFine_labelIds")
    instances = layout.find(truth, (".png",), "_gtFine_instanceIds")
    layout.match(images, labels, truth, "*_gtFine_labelIds.png")
    if instances:
        layout.match(images, instances, truth, "*_gtFine_instanceIds.png")
    pairs = tuple(
        Pair(layout.safe_id(key.split("/")[-1]), images[key], labels[key], instances.get(key)) for key in sorted(images)
    )
    return PairDataSet(
        ref.text, CLASSES, pairs, LabelCode(TRAIN_IDS), things=THINGS, stuff_below=FIRST_OBJECT,
        tasks=ALL_TASKS if instances else ("semantic",), check=_belong,
    )  # fmt: skip


def _belong(pair: Pair, labels: np.ndarray, values: np.ndarray) -> None:
    """An instance is numbered 1000 times its label id and more; a copy of the label file has no numbers at all.

    Without this, files of two versions would pass as a set without objects, or with objects of another class.
    """
    assert pair.labels is not None
    assert pair.instances is not None
    if (png_header(pair.instances) or (16, 0))[0] < 16:
        raise UserError(
            f"{pair.instances}: instance file has 8 bits a pixel, too few for the numbers from 1000 on; is it a copy "
            "of *_gtFine_labelIds.png?"
        )
    objects = values >= FIRST_OBJECT
    kinds = values[objects] // FIRST_OBJECT
    index = np.array([TRAIN_IDS.get(label, -1) for label in range(int(kinds.max(initial=0)) + 1)])
    wrong = index[kinds] != labels[objects]
    if wrong.any():
        first = int(wrong.argmax())
        raise UserError(
            f"{pair.instances}: instance {values[objects][first]} is of label {kinds[first]}, but {pair.labels.name} "
            f"says something else there ({int(wrong.sum())} such pixels); the two files do not belong together"
        )
