"""Any data set as a folder: ``images/``, ``labels/`` (index PNGs), optional ``instances/``, and the class names.

``classes.txt``: one name a line, in index order. ``classes.json``: ``{"classes": [...], "ignore": 255,
"values": [file value of each class], "things": [...], "reduce_zero_label": false, "bits": 8, "void_mask": "ego.png"}``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustseg.data import layout
from robustseg.data.labels import LabelCode, plain_code, reduce_zero_label
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet
from robustseg.data.refs import Ref
from robustseg.errors import UserError

__all__ = ["read"]

KEYS = {
    "classes": list, "ignore": (int, list), "values": list, "things": list, "reduce_zero_label": bool, "bits": int,
    "void_mask": str,
}  # fmt: skip
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing", "fit"}


def read(ref: Ref) -> PairDataSet:
    """A folder data set; images without any ``labels`` folder are allowed and have no truth."""
    assert ref.path is not None
    root = layout.folder(ref.path, ref.text)
    images_at, base = _images(root, ref)
    kinds = {kind: _sibling(root, ref.split, kind) for kind in ("labels", "instances")}
    images = layout.find(images_at)
    found = {kind: layout.find(at, (".png",)) for kind, at in kinds.items() if at is not None}
    labels, instances = (found.get(kind, {}) for kind in kinds)
    for kind, files in found.items():
        layout.match(images, files, kinds[kind] or root, f"{kind} PNG")
    about = _classes(root, base, needed="labels" in found)
    things = _things(about)
    pairs = tuple(Pair(layout.safe_id(key), images[key], labels.get(key), instances.get(key)) for key in sorted(images))
    code = _code(about) if "labels" in found else None
    tasks = ALL_TASKS if things and {"labels", "instances"} <= set(found) else ("semantic",)
    return PairDataSet(ref.text, tuple(about["classes"]), pairs, code, things=things, ignore=_void(about), tasks=tasks)


def _images(root: Path, ref: Ref) -> tuple[Path, Path]:
    """The folder of the images and the folder that holds it, for both nestings of splits."""
    if ref.split is not None:
        for images, base in ((root / ref.split / "images", root / ref.split), (root / "images" / ref.split, root)):
            if images.is_dir():
                return images, base
    elif (root / "images").is_dir() and not _has_splits(root / "images"):
        return root / "images", root
    inside = layout.splits(root / "images") if (root / "images").is_dir() else []
    present = sorted({s for s in layout.splits(root) if (root / s / "images").is_dir()} | set(inside))
    if ref.split is None and not present:
        raise UserError(f"data {ref.text}: no folder {root / 'images'}; put the images there")
    wrong = f"no split '{ref.split}'" if ref.split else f"needs a split, as in folder:{root}:{present[0]}"
    raise UserError(f"data {ref.text}: {wrong} (present: {', '.join(present) or 'none'})")


def _has_splits(images: Path) -> bool:
    """Folders named like splits and nothing beside them: reading them all would mix train and test."""
    names = layout.splits(images)
    return bool(names) and {n.lower() for n in names} <= SPLIT_NAMES and not any(p.is_file() for p in images.iterdir())


def _sibling(root: Path, split: str | None, kind: str) -> Path | None:
    if split is None:
        return root / kind if (root / kind).is_dir() else None
    for path in (root / split / kind, root / kind / split):
        if path.is_dir():
            return path
    elsewhere = [path for path in (root / kind, *sorted(root.glob(f"*/{kind}"))) if path.is_dir()]
    if elsewhere:  # a set with truth for other splits only: scoring this one without would go unnoticed
        raise UserError(f"{root / split / kind}: missing for split '{split}', but {elsewhere[0]} is there; add it")
    return None


def _classes(root: Path, base: Path, needed: bool) -> dict[str, Any]:
    """The class file next to ``images/`` or at the root, checked."""
    for at in dict.fromkeys((base, root)):
        for name, parse in (("classes.json", _from_json), ("classes.txt", _from_text)):
            if (at / name).is_file():
                return _checked(at / name, parse(at / name))
    if needed:
        raise UserError(f"{root / 'classes.txt'}: missing; write the class names there, one a line, in index order")
    return {"classes": [], "path": root}


def _from_text(path: Path) -> dict[str, Any]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    return {"classes": [line for line in lines if line and not line.startswith("#")]}


def _from_json(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    about = {"classes": about} if isinstance(about, list) else about
    if not isinstance(about, dict) or not isinstance(about.get("classes"), list):
        raise UserError(f'{path}: needs {{"classes": ["name of index 0", ...]}}')
    for name, value in about.items():
        if name not in KEYS:
            raise UserError(f"{path}: unknown key '{name}'; the keys are {', '.join(KEYS)}")
        if not isinstance(value, KEYS[name]):
            kinds = KEYS[name] if isinstance(KEYS[name], tuple) else (KEYS[name],)
            raise UserError(f'{path}: "{name}" must be a {" or ".join(kind.__name__ for kind in kinds)}')
    return about


def _checked(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    names = about["classes"]
    if not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise UserError(f"{path}: the classes must be one or more names")
    if len(set(names)) != len(names):
        double = next(n for n in names if names.count(n) > 1)
        raise UserError(f"{path}: class '{double}' is named twice")
    values = about.get("values")
    if values is not None and (len(values) != len(names) or len(set(values)) != len(values)):
        raise UserError(f'{path}: "values" needs one different file value for each of the {len(names)} classes')
    if about.get("bits", 8) not in (8, 16):
        raise UserError(f'{path}: "bits" is 8 or 16')
    top = (1 << about.get("bits", 8)) - 1
    ignores = about.get("ignore", [])
    for value in (*(values or ()), *(ignores if isinstance(ignores, list) else [ignores])):
        if not isinstance(value, int) or not 0 <= value <= top:
            raise UserError(f"{path}: {value!r} is no pixel value from 0 to {top}")
    return {**about, "path": path}


def _things(about: dict[str, Any]) -> tuple[str, ...]:
    things = tuple(about.get("things", ()))
    for name in things:
        if name not in about["classes"]:
            raise UserError(f"{about['path']}: thing '{name}' is none of the classes")
    return things


def _void(about: dict[str, Any]) -> int:
    """The ignore value of the samples: 255, and 65535 where there are too many classes for that."""
    return 255 if len(about["classes"]) <= 255 else 65535


def _code(about: dict[str, Any]) -> LabelCode:
    count, ignore, bits = len(about["classes"]), _void(about), about.get("bits", 8)
    given = about.get("ignore", [ignore])
    void = tuple(given) if isinstance(given, list) else (given,)
    values = about.get("values")
    if about.get("reduce_zero_label"):
        code = reduce_zero_label(count, ignore=ignore)
        code = replace(code, index={**dict.fromkeys(void, ignore), **code.index}, bits=bits)
    elif values is not None:
        explicit = void if "ignore" in about else ()
        code = LabelCode({**dict.fromkeys(explicit, ignore), **{v: c for c, v in enumerate(values)}}, ignore, bits)
    else:
        code = plain_code(count, void=void, ignore=ignore, bits=bits)
        code = replace(code, mask_guard=count == 2 and "ignore" not in about)
    if about.get("void_mask"):
        code = replace(code, void_mask=Path(about["path"]).parent / about["void_mask"])
    return code
