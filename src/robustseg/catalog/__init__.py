"""Named attacks: ``attack("segpgd:eps=8/255,steps=20")``, ``entries()``, ``expand(...)``."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from robustseg.catalog.artefact import Artefact
from robustseg.catalog.attack import Attack
from robustseg.catalog.build import load_function
from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.spec import check, near, parse
from robustseg.errors import UserError

__all__ = ["Artefact", "Attack", "Entry", "attack", "entries", "expand"]


def attack(spec: str | Attack | Callable[..., Any], *, eps: str | None = None, **options: str | int | float) -> Attack:
    """The attack of a spec text, or the PGD attack on your own objective function.

    ``spec``: ``"segpgd:eps=8/255,steps=20"``, ``"segpgd@paper"``, or a function ``(output, target) -> (B,)`` to be
    maximised; ``eps`` and ``options`` are added to it. Raises UserError for unknown names, options and values.

    >>> attack("pgd:steps=5", eps="4/255").spec
    'pgd:eps=4/255,steps=5'
    """
    extra = {k: str(v) for k, v in options.items()} | ({"eps": eps} if eps else {})
    if isinstance(spec, Attack):
        return _make(spec.entry, {**spec.given, **extra}, spec.paper, spec.function, spec.code, spec.artefact)
    if callable(spec):
        named = {"objective": getattr(spec, "__name__", type(spec).__name__), **extra}
        return _make(ENTRIES["pgd"], named, False, spec, _source_hash(spec))
    name, given = parse(spec)
    twice = sorted(given.keys() & extra.keys())
    if twice:
        raise UserError(f"attack {spec!r} gives {twice[0]} and so does --{twice[0]}; give it once")
    plain, at, suffix = name.partition("@")
    if plain not in ENTRIES:
        raise UserError(f"unknown attack {plain!r}; {near(plain, ENTRIES)}; see: robustseg list attacks")
    if at and suffix != "paper":
        raise UserError(f"unknown variant {name!r}; the authors' numbers are {plain}@paper")
    given = {**given, **extra}
    function = load_function(given["objective"]) if "objective" in given else None
    return _make(ENTRIES[plain], given, bool(at), function, _source_hash(function) if function else "")


def expand(spec: str | Attack) -> list[Attack]:
    """The members of an ensemble; any other attack is its only member."""
    whole = attack(spec)
    return list(whole.members) or [whole]


def entries() -> list[Entry]:
    """All named attacks."""
    return list(ENTRIES.values())


def _make(
    entry: Entry,
    given: dict[str, str],
    paper: bool,
    function: Callable[..., Any] | None,
    code: str,
    artefact: Artefact | None = None,
) -> Attack:
    params = entry.params(given, paper)
    check(entry.name, params, entry.known())
    if function is not None and (entry.members or "target" in params):
        raise UserError(f"{entry.name} takes no objective of its own; use pgd:objective=FILE.py:FUNCTION")
    if entry.name == "static" and "target" not in params:
        raise UserError("static needs the scene to show: static:target=FILE.png (an 8-bit map of class indices)")
    return Attack(entry, params, given, paper, function, code, artefact)


def _source_hash(function: Callable[..., Any]) -> str:
    """Hash of a custom objective's source, so that an edited function is another run key."""
    try:
        text = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):
        text = repr(getattr(function, "__code__", function).co_code if hasattr(function, "__code__") else function)
    return hashlib.sha256((text + getattr(function, "__qualname__", "")).encode()).hexdigest()[:16]
