"""Named attacks: ``attack("segpgd:eps=8/255,steps=20")``, ``entries()``, ``expand(...)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from robustseg.catalog import fashion, shared, stealthy
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.attack import Attack
from robustseg.catalog.custom import code_hash, load_function
from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.spec import canonical, check, check_names, near, parse
from robustseg.errors import UserError

__all__ = ["Artefact", "Attack", "Entry", "attack", "entries", "expand"]


def attack(
    spec: str | Attack | Callable[..., Any], *, eps: str | float | None = None, **options: str | int | float
) -> Attack:
    """The attack of a spec text, or the PGD attack on your own objective function.

    ``spec``: ``"segpgd:eps=8/255,steps=20"``, ``"segpgd@paper"``, or a function ``(output, target) -> (B,)`` to be
    maximised; ``eps`` and ``options`` are added to it, and override what an attack that is passed again was given.
    Raises UserError for unknown names, options and values.

    >>> attack("pgd:steps=5", eps="4/255").spec
    'pgd:eps=4/255,steps=5'
    >>> attack("pgd", eps=4 / 255).eps
    '4/255'
    """
    extra = {k: canonical(k, str(v)) for k, v in {**options, "eps": eps}.items() if v is not None}
    if isinstance(spec, Attack):
        given = {**spec.given, **extra}
        if "objective" in extra:
            return _make(spec.entry, given, spec.paper, load_function(extra["objective"]))
        return _make(spec.entry, given, spec.paper, spec.function, spec.artefact)
    if callable(spec):
        return _make(
            ENTRIES["pgd"], {"objective": getattr(spec, "__name__", type(spec).__name__), **extra}, False, spec
        )
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
    _no_goal_for_ensembles(ENTRIES[plain], given)
    check_names(plain, given, ENTRIES[plain].known(), ENTRIES[plain].refused)
    return _make(ENTRIES[plain], given, bool(at), load_function(given["objective"]) if "objective" in given else None)


def expand(spec: str | Attack) -> list[Attack]:
    """The members of an ensemble; any other attack is its only member."""
    whole = attack(spec)
    return list(whole.members) or [whole]


def entries() -> list[Entry]:
    """All named attacks."""
    return list(ENTRIES.values())


def _no_goal_for_ensembles(entry: Entry, given: Iterable[str]) -> None:
    for key in given:
        if entry.members and key in ("target", "class"):
            raise UserError(
                f"ensembles take no {key}; attack with a member, e.g. {entry.members[0]}:target=least-likely"
            )


def _make(
    entry: Entry,
    given: dict[str, str],
    paper: bool,
    function: Callable[..., Any] | None,
    artefact: Artefact | None = None,
) -> Attack:
    _no_goal_for_ensembles(entry, given)
    check_names(entry.name, given, entry.known(), entry.refused)
    params = entry.params(given, paper)
    check(entry.name, params)
    if function is not None and "target" in params:
        raise UserError(f"{entry.name}: an objective of your own and target= exclude each other; keep one")
    if entry.name == "static" and "target" not in params:
        raise UserError("static needs the scene to show: static:target=FILE.png (an 8-bit map of class indices)")
    if "kind" in params:
        params, artefact = stealthy.ready(params, given, paper)
    if entry.natural:
        fashion.check(params)
    if entry.shared:
        shared.check(entry, params)
        artefact = shared.load(entry, params) if "file" in params else artefact
    return Attack(entry, params, given, paper, function, code_hash(function) if function else "", artefact)
