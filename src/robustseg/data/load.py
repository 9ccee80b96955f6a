"""A data reference -> a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from robustseg.data import refs
from robustseg.data.labelled import LabelledSet
from robustseg.data.pairs import PairDataSet
from robustseg.data.resize import parse_size
from robustseg.errors import UserError

__all__ = ["fit_ref", "load_data"]


def load_data(
    ref: str,
    *,
    resize: tuple[int, int] | str | None = None,
    class_map: Mapping[str, str] | str | Path | None = None,
) -> PairDataSet | LabelledSet:
    """Open the data set that ``ref`` names; images are read one by one when they are asked for.

    ``resize``: (H,W) or "HxW" for image and truth, part of the digest. ``class_map``: {data class: new name or
    "ignore"} or a JSON file of it; classes with one new name become one class. Raises UserError for everything the
    user can put right, naming the file.
    """
    parsed = refs.parse(ref)
    data = import_module(f"robustseg.data.{refs.SCHEMES[parsed.scheme].module}").read(parsed)
    if not data.pairs:
        raise UserError(f"data {ref}: no images found")
    twice = _first_double([pair.id for pair in data.pairs])
    if twice is not None:
        raise UserError(f"data {ref}: two images have the id '{twice}'; rename one")
    if class_map is not None:
        from robustseg.data.class_map import relabel

        data = relabel(data, class_map)
    if resize is not None:
        height, width = parse_size(resize) if isinstance(resize, str) else resize
        data = replace(data, size=(int(height), int(width)))
    return data


def fit_ref(ref: str) -> str | None:
    """The data an attack may fit on when ``ref`` is scored: the set's training split if it is there, else None."""
    parsed = refs.parse(ref)
    splits = refs.fit_splits(parsed)
    if parsed.split is None or parsed.split in splits:
        return None
    for split in splits:
        other = parsed.at(split)
        try:
            load_data(other)
        except UserError:
            continue
        return other
    return None


def _first_double(names: list[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
