"""COCO annotations: ``PATH/annotations/SPLIT.json`` (or ``PATH/SPLIT.json``), instances or panoptic, by their content.

Source: Lin et al., "Microsoft COCO", ECCV 2014; Kirillov et al., "Panoptic segmentation", CVPR 2019; the data format
pages of COCO.
"""

from __future__ import annotations

from pathlib import Path

from robustseg.data import layout
from robustseg.data.coco_json import Annotated, read_json
from robustseg.data.coco_truth import Instances, Regions
from robustseg.data.images import SUFFIXES
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["read"]


def read(ref: Ref) -> PairDataSet:
    """All images of one annotation file, in the order of their names; classes in the order of the category ids.

    Instances: every pixel under no object is ignored, for there is no background class; where objects overlap, the
    smaller one gives the label; crowds give none. Panoptic: the category of each pixel's segment, crowds too.
    """
    assert ref.path is not None
    found = read_json(_file(ref))
    index = {c.id: place for place, c in enumerate(found.categories)}
    ignore = 255 if len(index) <= 255 else 65535
    images, pngs = _images(found, ref), _pngs(found, ref)
    pairs, segments = [], {}
    for entry in found.entries:
        image = _image(images, entry.file, found.path)
        name = layout.safe_id(Path(entry.file).with_suffix("").as_posix() if Path(entry.file).suffix else entry.file)
        png = None if pngs is None or entry.png is None else _existing(pngs / entry.png, found.path)
        pairs.append(Pair(name, image, instances=png))
        segments[name] = entry
    kind = Regions if found.panoptic else Instances
    return PairDataSet(
        ref.text,
        tuple(c.name for c in found.categories),
        tuple(sorted(pairs, key=lambda pair: pair.id)),
        None,
        things=tuple(c.name for c in found.categories if c.thing),
        ignore=ignore,
        tasks=ALL_TASKS if found.panoptic else ("semantic", "instance"),
        truth=kind(found.path, segments, index, ignore, frozenset(c.id for c in found.categories if c.thing)),
    )


def _file(ref: Ref) -> Path:
    """The annotation file that a reference names."""
    assert ref.path is not None
    if ref.path.suffix == ".json" and not ref.path.is_dir():
        if not ref.path.is_file():
            raise UserError(f"data {ref.text}: annotation file {ref.path} does not exist")
        if ref.split is not None:
            raise UserError(f"data {ref.text}: a file and a split; name the file alone, or PATH:{ref.split}")
        return ref.path
    if ref.options:
        raise UserError(
            f"data {ref.text}: ?images= and ?masks= go with an annotation file, as in coco:FILE.json?images=DIR"
        )
    root = layout.folder(ref.path, ref.text)
    files = {p.stem: p for at in (root, root / "annotations") if at.is_dir() for p in sorted(at.glob("*.json"))}
    if ref.split is None and len(files) == 1:
        return next(iter(files.values()))
    if not files:
        raise UserError(f"data {ref.text}: no annotation file *.json in {root} or {root / 'annotations'}")
    return files[layout.chosen_split(ref, sorted(files))]


def _roots(path: Path) -> tuple[Path, ...]:
    """Where the folders of images and PNGs may lie."""
    return (path.parent, path.parent.parent) if path.parent.name == "annotations" else (path.parent,)


def _images(found: Annotated, ref: Ref) -> Path:
    if "images" in ref.options:
        return layout.folder(Path(ref.options["images"]).expanduser(), ref.text, "image folder")
    split = found.path.stem.partition("_")[2] or found.path.stem
    places = [at / name for at in _roots(found.path) for name in (split, f"images/{split}", "images", "")]
    first = found.entries[0].file if found.entries else ""
    for place in places:
        if place.is_dir() and _candidates(place, first):
            return place
    looked = ", ".join(str(p) for p in places if p.is_dir())
    raise UserError(f"data {ref.text}: image {first} is in none of {looked}; say where: coco:{found.path}?images=DIR")


def _pngs(found: Annotated, ref: Ref) -> Path | None:
    if not found.panoptic:
        return None
    if "masks" in ref.options:
        return layout.folder(Path(ref.options["masks"]).expanduser(), ref.text, "mask folder")
    places = [at / name for at in _roots(found.path) for name in (found.path.stem, "panoptic", "masks", "")]
    first = str(found.entries[0].png) if found.entries else ""
    for place in places:
        if (place / first).is_file():
            return place
    looked = ", ".join(str(p) for p in places if p.is_dir())
    raise UserError(f"data {ref.text}: panoptic {first} is in none of {looked}; say where: coco:{found.path}?masks=DIR")


def _candidates(folder: Path, name: str) -> list[Path]:
    """The image of that name; a name without suffix (bare lists of annotations) may have any."""
    if Path(name).suffix:
        return [folder / name] if (folder / name).is_file() else []
    return [p for p in (folder / f"{name}{suffix}" for suffix in SUFFIXES) if p.is_file()]


def _image(folder: Path, name: str, listed: Path) -> Path:
    found = _candidates(folder, name)
    return found[0] if found else _existing(folder / name, listed)


def _existing(path: Path, listed: Path) -> Path:
    if not path.is_file():
        raise UserError(f"missing pair: {path} does not exist, but {listed} lists it")
    return path
