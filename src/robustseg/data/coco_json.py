"""COCO annotation files, checked: every way in which one can be wrong is one line that names file and place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from robustseg.errors import UserError

__all__ = ["Annotated", "Category", "Entry", "official", "read_json"]

LONGEST_NAME = 255  # bytes of a name in the usual file systems
MOST_BYTES = 1 << 30  # the largest official file, instances_train2017.json, has 0.45 GB


@dataclass(frozen=True)
class Category:
    """One class of an annotation file; ``thing``: its objects are countable."""

    id: int
    name: str
    thing: bool


@dataclass(frozen=True)
class Entry:
    """One image: its file, its (H,W) as far as the annotations say, its segments, and the PNG of a panoptic one."""

    file: str
    size: tuple[int, int] | None
    segments: tuple[Mapping[str, Any], ...]
    png: str | None = None


@dataclass(frozen=True)
class Annotated:
    """A whole annotation file; ``panoptic``: segments are regions of a PNG, else masks of their own."""

    path: Path
    categories: tuple[Category, ...]
    entries: tuple[Entry, ...]
    panoptic: bool


def official() -> tuple[Category, ...]:
    """The 133 categories of COCO panoptic, 80 of them things, in the order of their ids."""
    table = json.loads((resources.files("robustseg.data") / "coco.json").read_text(encoding="utf-8"))
    return tuple(Category(number, name, bool(thing)) for number, name, thing in table["categories"])


def read_json(path: Path) -> Annotated:
    """Read an instance or panoptic annotation file; a bare list of annotations has the official categories.

    Raises UserError for broken JSON, unknown or doubled ids, and file names that lead out of their folder.
    """
    found = _parsed(path)
    if isinstance(found, list):
        return _bare(path, found)
    if not isinstance(found, dict) or not isinstance(found.get("annotations"), list):
        raise UserError(f'{path}: no COCO annotation file: it has no list "annotations"')
    images = _by_id(path, _entries(path, found, "images"), "images", (int, str))
    annotations = _entries(path, found, "annotations")
    _known_images(path, annotations, images)
    panoptic = any("segments_info" in a for a in annotations)
    categories = _categories(path, _entries(path, found, "categories"), panoptic)
    read = _panoptic if panoptic else _instances
    return Annotated(path, categories, read(path, images, annotations, {c.id for c in categories}), panoptic)


def _parsed(path: Path) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON number")

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{path}: {size / 1e9:.1f} GB of annotations; split the file")
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise UserError(f"{path}: JSON nested absurdly deep; no COCO annotation file") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy it again") from error


def _bare(path: Path, found: list[Any]) -> Annotated:
    """Annotations without images and categories: of images named by their id in 12 digits, as COCO's are; or the
    segments of the one panoptic PNG ``NAME_panoptic.png`` beside the file.
    """
    segments = _entries(path, {"list": found}, "list")
    known = official()
    if segments and all("segmentation" in s for s in segments):
        images = {
            s.get("image_id"): {"file_name": f"{_field(path, 'list', s, 'image_id', int):012d}"} for s in segments
        }
        return Annotated(
            path, tuple(c for c in known if c.thing),
            _instances(path, images, segments, {c.id for c in known if c.thing}), False,
        )  # fmt: skip
    pngs = sorted(path.parent.glob("*_panoptic.png"))
    if not segments or len(pngs) != 1:
        raise UserError(f"{path}: a bare list of panoptic segments needs one *_panoptic.png beside it, not {len(pngs)}")
    image = {0: {"file_name": pngs[0].name.removesuffix("_panoptic.png")}}
    one = {"image_id": 0, "file_name": pngs[0].name, "segments_info": segments}
    return Annotated(path, known, _panoptic(path, image, [one], {c.id for c in known}), True)


def _categories(path: Path, listed: Sequence[Mapping[str, Any]], panoptic: bool) -> tuple[Category, ...]:
    if not listed:
        raise UserError(f'{path}: "categories" is empty')
    table = {(c.id, c.name): c for c in official()}
    found = []
    for number, entry in _by_id(path, listed, "categories", (int,)).items():
        name = _field(path, "categories", entry, "name", str)
        usual, thing = table.get((number, name)), entry.get("isthing")
        if panoptic and thing is None and usual is None:
            raise UserError(f'{path}: category {number} does not say whether it is countable ("isthing": 0 or 1)')
        found.append(Category(number, name, bool(thing) if thing is not None else usual is None or usual.thing))
    names = [c.name for c in found]
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None:
        raise UserError(f"{path}: two categories are named '{double}'")
    return tuple(sorted(found, key=lambda c: c.id))


def _instances(
    path: Path, images: Mapping[Any, Any], annotations: Sequence[Mapping[str, Any]], known: set[int]
) -> tuple[Entry, ...]:
    of: dict[Any, list[Mapping[str, Any]]] = {number: [] for number in images}
    _by_id(path, annotations, "annotations", (int,))
    for entry in annotations:
        _checked(path, entry, known)
        if not isinstance(entry.get("segmentation"), (list, dict)):
            raise UserError(f'{path}: annotation {entry["id"]} has no "segmentation"; a box alone is no mask')
        of[entry["image_id"]].append(entry)
    return tuple(Entry(_name(path, i), _size(path, i), tuple(of[number])) for number, i in images.items())


def _panoptic(
    path: Path, images: Mapping[Any, Any], annotations: Sequence[Mapping[str, Any]], known: set[int]
) -> tuple[Entry, ...]:
    of: dict[Any, Mapping[str, Any]] = {}
    for entry in annotations:
        number = entry["image_id"]
        if number in of:
            raise UserError(f"{path}: image {number} has two panoptic annotations")
        of[number] = entry
        segments = _entries(path, entry, "segments_info")
        for segment in _by_id(path, segments, f"segments_info of image {number}", (int,)).values():
            _checked(path, segment, known)
            if not 0 < segment["id"] < 1 << 24:
                raise UserError(f"{path}: image {number}: segment id {segment['id']} is none of a PNG (1 to 16777215)")
    missing = next((number for number in images if number not in of), None)
    if missing is not None:
        raise UserError(f"{path}: image {missing} has no panoptic annotation; remove the image or add its segments")
    return tuple(
        Entry(_name(path, i), _size(path, i), tuple(of[number]["segments_info"]), _name(path, of[number]))
        for number, i in images.items()
    )


def _checked(path: Path, entry: Mapping[str, Any], known: set[int]) -> None:
    """Category and crowd flag of one segment."""
    category, crowd = entry.get("category_id"), entry.get("iscrowd", 0)
    if isinstance(category, bool) or not isinstance(category, int) or category not in known:
        raise UserError(f"{path}: annotation {entry['id']}: category_id {_short(category)} is none of the categories")
    if crowd not in (0, 1):
        raise UserError(f"{path}: annotation {entry['id']}: iscrowd {_short(crowd)} is neither 0 nor 1")


def _known_images(path: Path, annotations: Sequence[Mapping[str, Any]], images: Mapping[Any, Any]) -> None:
    for place, entry in enumerate(annotations):
        number = entry.get("image_id")
        if not isinstance(number, (int, str)) or number not in images:
            raise UserError(f"{path}: annotations[{place}]: image_id {_short(number)} is none of the images")


def _name(path: Path, entry: Mapping[str, Any]) -> str:
    """A file name that stays inside the folder it is looked for in."""
    name = _field(path, "images or annotations", entry, "file_name", str).replace("\\", "/")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ":" in parts[0] or ".." in parts or not name.isprintable():
        raise UserError(f"{path}: file_name {_short(name)} does not stay inside its folder")
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise UserError(f"{path}: file_name {_short(name)} is longer than any file's ({LONGEST_NAME} bytes)")
    return name


def _size(path: Path, entry: Mapping[str, Any]) -> tuple[int, int] | None:
    if "height" not in entry and "width" not in entry:
        return None
    return _field(path, "images", entry, "height", int), _field(path, "images", entry, "width", int)


def _entries(path: Path, found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects."""
    listed = found.get(name)
    if not isinstance(listed, list):
        raise UserError(f'{path}: no list "{name}"')
    wrong = next((place for place, entry in enumerate(listed) if not isinstance(entry, dict)), None)
    if wrong is not None:
        raise UserError(f"{path}: {name}[{wrong}] is no JSON object")
    return listed


def _by_id(
    path: Path, listed: Sequence[Mapping[str, Any]], name: str, kinds: tuple[type, ...]
) -> dict[Any, Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {}
    for place, entry in enumerate(listed):
        number = entry.get("id")
        if isinstance(number, bool) or not isinstance(number, kinds):
            raise UserError(f"{path}: {name}[{place}]: id {_short(number)} is no {kinds[0].__name__}")
        if number in found:
            raise UserError(f"{path}: {name}: id {_short(number)} occurs twice")
        found[number] = entry
    return found


def _field(path: Path, name: str, entry: Mapping[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UserError(f'{path}: {name}: "{key}" is {_short(value)}, not a {kind.__name__}')
    return value


def _short(value: object) -> str:
    """A value for a message, cut: what a file says may be megabytes long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
