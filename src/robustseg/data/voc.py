"""Pascal VOC segmentation: ``PATH/JPEGImages``, ``SegmentationClass``, ``SegmentationObject``, ``ImageSets``.

Palette PNGs are read as indices; 255, the border around objects, does not count. PATH is ``VOCdevkit/VOC2012`` or a
folder that holds it. Source: Everingham et al., "The Pascal visual object classes challenge", IJCV 2015.
"""

from __future__ import annotations

from pathlib import Path

from robustseg.data import layout
from robustseg.data.labels import plain_code
from robustseg.data.pairs import Pair, PairDataSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["CLASSES", "read"]

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def read(ref: Ref) -> PairDataSet:
    """The images of ``ImageSets/Segmentation/SPLIT.txt``, with instances where ``SegmentationObject`` has them."""
    assert ref.path is not None
    root = _root(layout.folder(ref.path, ref.text))
    lists = layout.folder(root / "ImageSets" / "Segmentation", ref.text)
    split = layout.chosen_split(ref, sorted(p.stem for p in lists.glob("*.txt")))
    names = (lists / f"{split}.txt").read_text().split()
    pairs = []
    for name in names:
        image = _existing(root / "JPEGImages" / f"{name}.jpg", lists / f"{split}.txt")
        labels = _existing(root / "SegmentationClass" / f"{name}.png", lists / f"{split}.txt")
        instances = root / "SegmentationObject" / f"{name}.png"
        pairs.append(Pair(layout.safe_id(name), image, labels, instances if instances.is_file() else None))
    tasks = ("semantic", "instance") if pairs and all(p.instances for p in pairs) else ("semantic",)
    return PairDataSet(
        ref.text, CLASSES, tuple(pairs), plain_code(len(CLASSES)), things=CLASSES[1:], object_void=(255,), tasks=tasks
    )


def _root(path: Path) -> Path:
    if (path / "JPEGImages").is_dir():
        return path
    inside = sorted(p.parent for p in [*path.glob("*/JPEGImages"), *path.glob("*/*/JPEGImages")])
    if len(inside) == 1:
        return inside[0]
    found = f"{', '.join(map(str, inside))}; name one of them" if inside else "no folder JPEGImages"
    raise UserError(f"{path}: is no single Pascal VOC folder: {found}")


def _existing(path: Path, listed: Path) -> Path:
    if not path.is_file():
        raise UserError(f"missing pair: {path} does not exist, but {listed} lists it")
    return path
