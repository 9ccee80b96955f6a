"""Matching the classes of data and model by name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from robustseg.data.pairs import PairDataSet
from robustseg.errors import UserError

__all__ = ["IGNORE", "match", "read_class_map", "relabel", "remap"]

IGNORE = "ignore"


def key(name: str) -> str:
    """What two names must share to be equal: letters and digits, without case, spaces, underscores or hyphens.

    >>> key("Traffic_Light") == key("traffic light")
    True
    """
    return re.sub(r"[\s_-]+", "", name).casefold()


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


def match(
    data_classes: Sequence[str],
    model_classes: Sequence[str],
    *,
    class_map: Mapping[str, str] | str | Path | None = None,
    data_ignore: int = 255,
    ignore: int = 255,
) -> Tensor:
    """Lookup table, int64: ``table[data index]`` is the model index or ``ignore``, and so is ``table[data_ignore]``.

    Names are compared without case, spaces, underscores and hyphens; model classes that the data lack are fine, data
    classes that the model lacks need ``class_map``. Raises UserError for those, and for names that fit twice.

    >>> match(["Road", "Sky"], ["sky", "road"])[:2]
    tensor([1, 0])
    """
    renamed = _renamed(data_classes, class_map)
    places = {key(name): index for index, name in enumerate(model_classes)}
    if len(places) != len(model_classes):
        raise UserError("the model has two classes of the same name; name them apart")
    table = torch.full((max(data_ignore, len(data_classes) - 1) + 1,), ignore, dtype=torch.int64)
    missing = []
    for index, (old, new) in enumerate(zip(data_classes, renamed)):
        if new is None:
            continue
        if key(new) not in places:
            missing.append((old, new))
        else:
            table[index] = places[key(new)]
    if missing:
        raise UserError(_missing(missing, model_classes))
    return table


def remap(labels: Tensor, table: Tensor) -> Tensor:
    """Data indices -> model indices, any shape, int64. Raises UserError for values outside the table."""
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= len(table)):
        raise UserError(f"labels from {int(labels.min())} to {int(labels.max())} do not fit a table of {len(table)}")
    return table.to(labels.device)[labels.long()]


def relabel(data: PairDataSet, class_map: Mapping[str, str] | str | Path) -> PairDataSet:
    """The same data under new class names: classes that get one name become one, "ignore" stops counting."""
    renamed = _renamed(data.classes, class_map)
    classes: list[str] = []
    table = []
    for new in renamed:
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
    old = {index for index, name in enumerate(data.classes) if name in data.things}
    things = tuple(
        name for place, name in enumerate(classes)
        if all(index in old for index, new in enumerate(table) if new == place)
    )  # fmt: skip
    return replace(data, classes=tuple(classes), table=tuple(table), things=things)


def _renamed(classes: Sequence[str], class_map: Mapping[str, str] | str | Path | None) -> list[str | None]:
    """The new name of each class, None for ignored ones; a class the map leaves out keeps its name."""
    given = {} if class_map is None else read_class_map(class_map)
    known = {key(name) for name in classes}
    for name in given:
        if key(name) not in known:
            near = difflib.get_close_matches(name, classes, n=3, cutoff=0.4) or list(classes)[:5]
            raise UserError(f"class map: '{name}' is no class of the data; near: {', '.join(near)}")
    new = {key(name): value for name, value in given.items()}
    names = [new.get(key(name), name) for name in classes]
    return [None if name == IGNORE else name for name in names]


def _missing(missing: list[tuple[str, str]], model_classes: Sequence[str]) -> str:
    old, new = missing[0]
    near = difflib.get_close_matches(new, model_classes, n=1, cutoff=0.4) or [model_classes[0]]
    names = ", ".join(f"'{name}'" for name, _ in missing[:6]) + (" …" if len(missing) > 6 else "")
    return (
        f"the model lacks {len(missing)} of the data's classes: {names}; say what they are with --class-map FILE, "
        f'e.g. {{"{old}": "{near[0]}"}} or {{"{old}": "ignore"}}'
    )
