"""What stands behind a name: formula, parts, numbers, source and errata, as plain lines."""

from __future__ import annotations

from typing import Any

from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.formulas import FORMULAS, LETTERS, UPDATES
from robustseg.catalog.spec import COMMON, near
from robustseg.errors import UserError

__all__ = ["explain", "lines"]

LOOKS = {"dense": "class scores of pixels", "query": "queries", "region": "regions", "prompted": "prompted masks"}
NORMS = {"linf": "L∞", "l2": "L2", "l0": "L0"}
TITLES = {
    "formula": "Formula (maximised)", "letters": "Letters", "parts": "Parts", "defaults": "Defaults", "paper": "@paper",
    "options": "Options", "source": "Source", "errata": "Differs from the source",
}  # fmt: skip


def explain(name: str) -> dict[str, Any]:
    """Everything about a catalog name: ``name, summary, formula, parts, defaults, paper, options, source, errata``.

    Values are texts, or mappings of texts; nothing is computed with a model. Of ``NAME@paper`` the parts are those with
    the paper's numbers; options behind a name are not looked at.
    Raises: UserError for an unknown name, with the near ones, and for another variant than ``@paper``.

    >>> explain("fgsm")["formula"]
    'x = x0 + ε · sign ∇_x L,   L = (1/N) Σ_i -log p_i(y_i)'
    """
    whole = name.partition(":")[0]
    plain, at, suffix = whole.partition("@")
    if plain not in ENTRIES:
        raise UserError(f"unknown attack {name!r}; {near(plain, list(ENTRIES))}")
    if at and suffix != "paper":
        raise UserError(f"unknown variant {whole!r}; the authors' numbers are {plain}@paper")
    entry = ENTRIES[plain]
    defaults, paper = (dict(sorted(entry.params({}, p).items())) for p in (False, True))
    return {
        "name": whole,
        "summary": entry.summary,
        "formula": FORMULAS[entry.name],
        "letters": LETTERS,
        "parts": _parts(entry, paper if at else defaults),
        "defaults": defaults,
        "paper": {k: v for k, v in paper.items() if v != defaults.get(k)},
        "options": {key: entry.options.get(key) or COMMON[key] for key in entry.known()},
        "source": entry.source,
        "errata": entry.errata,
    }


def _parts(entry: Entry, defaults: dict[str, str]) -> dict[str, str]:
    """The choices that make the attack, in the words of the design."""
    looks = " or ".join(LOOKS[look] for look in entry.output)
    if entry.members:
        return {"looks at": looks, "combinator": f"worst case of {', '.join(entry.members)}"}
    if entry.minimal:
        return {
            "looks at": looks,
            "applier": "additive: x = x0 + θ = ½ (tanh w + 1)",
            "constraint": f"none: the {NORMS[entry.minimal]} norm is minimised; pixels in [0,1], writable region",
            "objective": "margins, cut where a pixel is fooled with confidence",
            "update": "Adam on w, anew in every descent",
            "start": "the image itself",
            "combinator": f"{defaults['descents']} descents, each in the setting that the last one calls for",
        }
    parts = {
        "looks at": looks,
        "applier": "patch: θ replaces the pixels of its place" if entry.name == "patch" else "additive: x = x0 + θ",
        "constraint": _ball(defaults) + "pixels in [0,1], writable region",
        "objective": _loss(entry),
        "gradient rule": _rule(entry),
        "update": UPDATES[defaults["update"]],
        "start": "uniform in the ball" if entry.random_start else "the image itself",
    }
    if len(entry.radii) > 1:
        stages = ", ".join(f"{factor:g}ε ({share:.0%} of the steps)" for factor, share in entry.radii)
        parts["radii"] = stages
    if entry.track_ce:
        parts["APGD watches"] = "the mean cross-entropy"
    if entry.fits:
        parts["fitted on other images"] = entry.fits
    return parts


def _ball(defaults: dict[str, str]) -> str:
    return (
        f"{NORMS[defaults['norm']]} ball of {defaults['eps']}, "
        if "eps" in defaults
        else "no ball unless eps is given; "
    )


def _rule(entry: Entry) -> str:
    if entry.name == "patch":
        return "terms of length 1, weighed by γ and 1-γ (equation 7)"
    return "per model, balanced, times attention" if entry.rule == "blended" else "summed"


def _loss(entry: Entry) -> str:
    own = "dense" not in entry.output or entry.name == "noise" or entry.natural
    return entry.name if own else entry.loss


def lines(told: dict[str, Any]) -> list[str]:
    """The explanation as text, section by section; empty sections are left out."""
    found = [f"{told['name']}: {told['summary']}"]
    for key, title in TITLES.items():
        value = told[key]
        if isinstance(value, dict):
            if value:
                found += ["", f"{title}:", *(f"  {name}: {text}" for name, text in value.items())]
            elif key == "paper":
                found += ["", f"{title}: the defaults"]
        elif value:
            found += ["", f"{title}:", f"  {value}"]
    return found
