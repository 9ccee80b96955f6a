"""Class maps: giving the classes of a data set the names that a model uses."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from robustseg.data.classes import key
from robustseg.errors import UserError

if TYPE_CHECKING:
    from robustseg.data.labelled import LabelledSet
    from robustseg.data.pairs import PairDataSet

__all__ = ["IGNORE", "read_class_map", "relabel", "renamed"]

IGNORE = "ignore"
Set = TypeVar("Set", "PairDataSet", "LabelledSet")


def read_class_map(source: Mapping[str, str] | str | Path) -> dict[str, str]:
    """``{data class: model class or "ignore"}`` from a mapping or a JSON file."""
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: class map cannot be read ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise UserError(f'{path}: a class map is a JSON object {{"data class": "model class" or "ignore"}}')
    return found


def renamed(classes: Sequence[str], class_map: Mapping[str, str] | str | Path | None) -> list[str | None]:
    """The new name of each class, None for ignored ones; a class that the map leaves out keeps its name.

    >>> renamed(["Car", "Truck", "Sky"], {"truck": "car", "Sky": "ignore"})
    ['Car', 'car', None]
    """
    given = {} if class_map is None else read_class_map(class_map)
    known = {key(name) for name in classes}
    for name in given:
        if key(name) not in known:
            near = difflib.get_close_matches(name, classes, n=3, cutoff=0.4) or list(classes)[:5]
            raise UserError(f"class map: '{name}' is no class of the data; near: {', '.join(near)}")
    new = {key(name): value for name, value in given.items()}
    names = [new.get(key(name), name) for name in classes]
    return [None if name == IGNORE else name for name in names]


def relabel(data: Set, class_map: Mapping[str, str] | str | Path) -> Set:
    """The same data under new class names: classes that get one name become one, "ignore" stops counting.

    A merged class is a thing if all its parts are.
    """
    classes: list[str] = []
    table = []
    for new in renamed(data.classes, class_map):
        if new is None:
            table.append(data.ignore)
            continue
        place = next((i for i, name in enumerate(classes) if key(name) == key(new)), None)
        if place is None:
            place = len(classes)
            classes.append(new)
        table.append(place)
    if not classes:
        raise UserError("the class map ignores every class; keep at least one")
    members = [[old for old, new in enumerate(table) if new == place] for place in range(len(classes))]
    things = [name for name, old in zip(classes, members) if all(data.classes[i] in data.things for i in old)]
    return replace(data, classes=tuple(classes), table=tuple(table), things=tuple(things))
