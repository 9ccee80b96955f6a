"""Matching the classes of data and model by name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["key", "match", "remap"]


def key(name: str) -> str:
    """What two names must share to be equal: letters and digits, without case, spaces, underscores or hyphens.

    >>> key("Traffic_Light") == key("traffic light")
    True
    """
    return re.sub(r"[\s_-]+", "", name).casefold()


def match(
    data_classes: Sequence[str],
    model_classes: Sequence[str],
    *,
    class_map: Mapping[str, str] | str | Path | None = None,
    data_ignore: int = 255,
    ignore: int = 255,
) -> Tensor:
    """Lookup table, int64: ``table[data index]`` is the model index or ``ignore``, and so is ``table[data_ignore]``.

    Two names are equal if they differ only in case, spaces, underscores and hyphens; where that fails, the first of a
    list of names ("road, route") and the few spellings of ``synonyms.json`` are tried among the model classes that are
    left. Model classes that the data lack are fine; data classes that the model lacks need ``class_map``.

    Raises UserError for those, and for two model classes of one name.

    >>> match(["Road", "Sky"], ["sky", "road, route"])[:2]
    tensor([1, 0])
    """
    import torch

    from robustseg.data.class_map import renamed

    places = {key(name): index for index, name in enumerate(model_classes)}
    if len(places) != len(model_classes):
        double = next(n for i, n in enumerate(model_classes) if places[key(n)] != i)
        raise UserError(f"the model has two classes named '{double}'; give them different names")
    wanted = renamed(data_classes, class_map)
    taken = {key(name) for name in wanted if name is not None}
    loose = _loose({name: place for name, place in places.items() if name not in taken}, model_classes)
    table = torch.full((max(data_ignore, len(data_classes) - 1) + 1,), ignore, dtype=torch.int64)
    missing = []
    for index, (old, new) in enumerate(zip(data_classes, wanted)):
        if new is None:
            continue
        place = places.get(key(new), loose.get(_canonical(key(new))))
        if place is None:
            missing.append((old, new))
        else:
            table[index] = place
    if missing:
        raise UserError(_missing(missing, model_classes))
    return table


def remap(labels: Tensor, table: Tensor) -> Tensor:
    """Data indices -> model indices, any shape, int64. Raises UserError for values outside the table."""
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= len(table)):
        raise UserError(f"labels from {int(labels.min())} to {int(labels.max())} do not fit a table of {len(table)}")
    return table.to(labels.device)[labels.long()]


@cache
def _groups() -> dict[str, str]:
    text = (resources.files("robustseg.data") / "synonyms.json").read_text(encoding="utf-8")
    return {key(name): key(group[0]) for group in json.loads(text) for name in group}


def _canonical(name: str) -> str:
    return _groups().get(name, name)


def _loose(free: Mapping[str, int], model_classes: Sequence[str]) -> dict[str, int]:
    """Free model classes by the canonical first name of their list; names that fit twice are left out."""
    found: dict[str, list[int]] = {}
    for place in free.values():
        first = key(re.split(r"[,;]", model_classes[place])[0])
        found.setdefault(_canonical(first), []).append(place)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _missing(missing: list[tuple[str, str]], model_classes: Sequence[str]) -> str:
    old, new = missing[0]
    near = difflib.get_close_matches(new, model_classes, n=1, cutoff=0.4) or [model_classes[0]]
    names = ", ".join(f"'{name}'" for name, _ in missing[:6]) + (" …" if len(missing) > 6 else "")
    return (
        f"the model lacks {len(missing)} of the data's classes: {names}; say what they are with --class-map FILE, "
        f'e.g. {{"{old}": "{near[0]}"}} or {{"{old}": "ignore"}}'
    )
