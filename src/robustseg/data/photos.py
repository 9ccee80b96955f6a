"""A folder of photographs of a board: what hangs on it, from where it was taken, where the board is in the picture.

``DIR/clean/NAME.jpg``, ``DIR/random/NAME.jpg``, ``DIR/optimised/NAME.jpg``: one photograph of each print from every
place, and the name of the file is that of the place. ``repeat`` (the clean board once more: what changes by itself)
and ``grey`` are optional. ``DIR/photos.csv`` or ``DIR/photos.json`` says how far, from which angle, and where the
corners of the board are.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustseg.data.images import SUFFIXES
from robustseg.data.layout import safe_id
from robustseg.errors import UserError

__all__ = ["BOARDS", "Photo", "Photos", "Place", "read_photos", "write_template"]

NEEDED = ("clean", "random", "optimised")
BOARDS = ("clean", "repeat", "random", "grey", "optimised")
COLUMNS = ("photo", "distance_m", "angle_deg", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
KEYS = ("distance_m", "angle_deg", "corners")
MOST_PHOTOS = 5000
LARGEST_TABLE = 4 * 2**20


@dataclass(frozen=True)
class Photo:
    """A file and the corners of the board as they were written down, not yet held against its picture."""

    path: Path
    corners: object
    said: str


@dataclass(frozen=True)
class Place:
    """One place of the camera: metres to the board, degrees off its normal (None: not known), a photo of each print."""

    name: str
    distance: float | None
    angle: float | None
    photos: Mapping[str, Photo]


@dataclass(frozen=True)
class Photos:
    """All places in the order of their distance. ``simulated``: how they were computed, None for photographs."""

    folder: Path
    places: tuple[Place, ...]
    simulated: Mapping[str, Any] | None


def read_photos(folder: str | Path) -> Photos:
    """Read the folder. Raises UserError, naming the file, for what is missing, extra or cannot be."""
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder} is no folder; it shall hold {', '.join(f'{n}/NAME.jpg' for n in NEEDED)}")
    found = _files(root)
    names = list(found["clean"])
    table, simulated, file = _table(root)
    known = {f"{board}/{name}" for board, files in found.items() for name in files}
    for key in table:
        if key not in known and key not in names:
            near = difflib.get_close_matches(key, [*names, *known], 1)
            hint = f"did you mean {near[0]}?" if near else f"write a place (e.g. {names[0]}) or clean/{names[0]}"
            raise UserError(f"{file}: there is no photograph {key!r}; {hint}")
    places = [_place(name, found, table, file) for name in names]
    places.sort(key=lambda p: (math.inf if p.distance is None else p.distance, p.name))
    return Photos(root, tuple(places), simulated)


def write_template(folder: str | Path) -> Path:
    """Write ``photos.csv`` with an empty line for every photograph. Raises UserError where there is a table already."""
    root = Path(folder)
    found = _files(root) if root.is_dir() else {}
    for name in ("photos.csv", "photos.json"):
        if (root / name).exists():
            raise UserError(f"{root / name} is there already; fill it in, or remove it for a new template")
    if not found:
        raise UserError(f"{folder} is no folder; it shall hold {', '.join(f'{n}/NAME.jpg' for n in NEEDED)}")
    path = root / "photos.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows([f"{board}/{name}", *[""] * 10] for name in found["clean"] for board in found
                         if name in found[board])  # fmt: skip
    return path


def _files(root: Path) -> dict[str, dict[str, Path]]:
    """board -> place -> file, checked for holes."""
    found: dict[str, dict[str, Path]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        near = difflib.get_close_matches(folder.name.lower(), BOARDS, 1, 0.7)
        if folder.name not in BOARDS and near and near[0] not in found and not (root / near[0]).is_dir():
            raise UserError(f"{folder}: no board is called so; rename the folder to {near[0]}")
    for board in BOARDS:
        if (root / board).is_dir():
            found[board] = _pictures(root / board)
    for board in NEEDED:
        if not found.get(board):
            raise UserError(
                f"{root / board}: no photographs; take one of the {board} board from every place: {board}/NAME.jpg, "
                "NAME being that of the place"
            )
    clean = found["clean"]
    for board, files in found.items():
        for name, path in files.items():
            if name not in clean:
                raise UserError(f"{path}: {root / 'clean'} has no photograph {name!r} from there to compare it with")
        missing = next((name for name in clean if name not in files), None)
        if board in NEEDED and missing is not None:
            raise UserError(
                f"{root / board}: no photograph {missing!r}, but {clean[missing]} is there; take it too, or move "
                "that one away"
            )
    return {board: found[board] for board in BOARDS if board in found}


def _pictures(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or path.suffix.lower() not in SUFFIXES:
            continue
        name = safe_id(path.stem)
        if name in found:
            raise UserError(f"{path}: same name as {found[name].name}; a place has one photograph of each board")
        found[name] = path
    if len(found) > MOST_PHOTOS:
        raise UserError(f"{folder}: {len(found)} photographs; at most {MOST_PHOTOS} are read at once")
    return found


def _table(root: Path) -> tuple[dict[str, dict[str, Any]], Mapping[str, Any] | None, Path]:
    files = [p for p in (root / "photos.csv", root / "photos.json") if p.is_file()]
    if len(files) != 1:
        wrong = "both are there; remove one" if files else "neither is there"
        raise UserError(
            f"{root}: photos.csv or photos.json says where the board is in each photograph, and {wrong}; start with: "
            f"robustseg patch photos {root} --template"
        )
    (file,) = files
    if file.stat().st_size > LARGEST_TABLE:
        raise UserError(f"{file} is larger than {LARGEST_TABLE >> 20} MiB; that is no table of photographs")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{file} cannot be read ({problem}); save it as UTF-8 text") from None
    if file.suffix == ".csv":
        return _from_csv(text, file), None, file
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{file}: not valid JSON ({problem})") from None
    photos = about.get("photos") if isinstance(about, dict) else None
    if not isinstance(photos, dict) or not all(isinstance(v, dict) for v in photos.values()):
        raise UserError(f'{file}: needs {{"photos": {{"NAME": {{"distance_m": 12, "corners": [[x, y], …]}}}}}}')
    for key, value in photos.items():
        for name in value:
            if name not in KEYS:
                raise UserError(f"{file}, {key}: unknown key {name!r}; the keys are {', '.join(KEYS)}")
    simulated = about.get("simulated")
    if simulated is not None and not isinstance(simulated, dict):
        raise UserError(f'{file}: "simulated" says how photographs were computed, in a table; remove it for real ones')
    return {_key(k): v for k, v in photos.items()}, simulated, file


def _from_csv(text: str, file: Path) -> dict[str, dict[str, Any]]:
    head = text.partition("\n")[0]
    found: dict[str, dict[str, Any]] = {}
    try:
        rows = csv.DictReader(text.splitlines(), delimiter=";" if head.count(";") > head.count(",") else ",")
        rows.fieldnames = [str(c).strip() for c in rows.fieldnames or ()]
        missing = [c for c in COLUMNS if c not in rows.fieldnames and c not in KEYS]
        if missing:
            raise UserError(f"{file}: no column {missing[0]!r}; the first line is {','.join(COLUMNS)}")
        for number, row in enumerate(rows, 2):
            key = _key(row["photo"] or "")
            if not key:
                continue
            if key in found:
                raise UserError(f"{file}, line {number}: {key} stands there twice")
            found[key] = _row(row, f"{file}, line {number}")
    except csv.Error as problem:
        raise UserError(f"{file}: not a readable CSV ({problem})") from None
    return found


def _row(row: Mapping[str, str | None], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    cells = {c: (row.get(c) or "").strip() for c in COLUMNS[1:]}
    values: dict[str, float] = {}
    for column, text in cells.items():
        if text:
            try:
                values[column] = float(text)
            except ValueError:
                raise UserError(f"{where}: {column} is {text!r}, no number; write e.g. 12.5") from None
    made |= {k: values[k] for k in KEYS if k in values}
    corner = [values.get(c) for c in COLUMNS[3:]]
    if any(v is not None for v in corner):
        if any(v is None for v in corner):
            raise UserError(f"{where}: all of x1, y1 … x4, y4 are needed, or none")
        made["corners"] = [[corner[2 * n], corner[2 * n + 1]] for n in range(4)]
    return made


def _key(text: str) -> str:
    """A name of the table: of a place, or of a photograph with or without its suffix."""
    board, slash, name = text.strip().replace("\\", "/").rpartition("/")
    if any(name.lower().endswith(s) for s in SUFFIXES):
        name = name.rpartition(".")[0]
    return f"{board}{slash}{safe_id(name)}" if name else ""


def _place(
    name: str, found: Mapping[str, Mapping[str, Path]], table: Mapping[str, Mapping[str, Any]], file: Path
) -> Place:
    keys = [name, *(f"{board}/{name}" for board in found)]
    distance = _number(table, keys, "distance_m", file, 0, 1e5, "metres above 0")
    angle = _number(table, keys, "angle_deg", file, -90, 90, "degrees off the board's normal, from -90 to 90")
    photos = {}
    for board, files in found.items():
        if name not in files:
            continue
        key = next((k for k in (f"{board}/{name}", name, f"clean/{name}") if "corners" in table.get(k, {})), None)
        if key is None:
            raise UserError(f"{file}: no corners of the board in {board}/{name}; write x, y of all four in pixels")
        photos[board] = Photo(files[name], table[key]["corners"], f"{files[name]} ({file.name}, {key})")
    return Place(name, distance, None if angle is None else abs(angle), photos)


def _number(
    table: Mapping[str, Mapping[str, Any]],
    keys: Sequence[str],
    what: str,
    file: Path,
    low: float,
    high: float,
    means: str,
) -> float | None:
    """The first that is written down, of the place or of its photographs."""
    for key in _with(table, keys, what):
        value = table[key][what]
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high or (what == "distance_m" and value == 0):
            raise UserError(f"{file}, {key}: {what} is {value!r}; it is a number: {means}")
        return float(value)
    return None


def _with(table: Mapping[str, Mapping[str, Any]], keys: Sequence[str], what: str) -> Iterable[str]:
    return (key for key in keys if what in table.get(key, {}))
