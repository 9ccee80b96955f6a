"""What stands behind a name: formula, parts, numbers, source and errata, as plain lines."""

from __future__ import annotations

from typing import Any

from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.formulas import FORMULAS, LETTERS, UPDATES
from robustseg.catalog.spec import COMMON, Params, check, check_names, near, parse
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
    the paper's numbers, of a spec with options those that these options mean.
    Raises: UserError for an unknown name, with the near ones, another variant than ``@paper``, and a wrong option.

    >>> explain("fgsm")["formula"]
    'x = x0 + ε · sign ∇_x L,   L = (1/N) Σ_i -log p_i(y_i)'
    >>> explain("pgd:eps=2/255")["parts"]["constraint"]
    'L∞ ball of 2/255, pixels in [0,1], writable region'
    """
    whole, given = parse(name)
    plain, at, suffix = whole.partition("@")
    if plain not in ENTRIES:
        raise UserError(f"unknown attack {whole!r}; {near(plain, list(ENTRIES))}")
    if at and suffix != "paper":
        raise UserError(f"unknown variant {whole!r}; the authors' numbers are {plain}@paper")
    entry = ENTRIES[plain]
    check_names(plain, given, entry.known(), entry.refused)
    defaults, paper = (dict(sorted(entry.params({}, p).items())) for p in (False, True))
    params = entry.params(given, bool(at))
    check(plain, params)
    return {
        "name": name.strip(),
        "summary": entry.summary,
        "formula": FORMULAS[entry.name],
        "letters": LETTERS,
        "parts": _parts(entry, params, at),
        "defaults": defaults,
        "paper": {k: v for k, v in paper.items() if v != defaults.get(k)} or _members_of_paper(entry),
        "options": {key: entry.options.get(key) or COMMON[key] for key in entry.known()},
        "source": entry.source,
        "errata": entry.errata,
    }


def _members_of_paper(entry: Entry) -> dict[str, str]:
    """What ``@paper`` means for an ensemble: its members with the numbers of their papers, where these differ."""
    differ = any(ENTRIES[m].paper for m in entry.members)
    return {"members": ", ".join(f"{m}@paper" for m in entry.members)} if differ else {}


def _parts(entry: Entry, params: Params, paper: str) -> dict[str, str]:
    """The choices that make the attack, in the words of the design; ``paper``: ``@`` or empty."""
    looks = " or ".join(LOOKS[look] for look in entry.output)
    if entry.members:
        members = ", ".join(f"{m}@paper" if paper else m for m in entry.members)
        return {"looks at": looks, "combinator": f"worst case of {members}"}
    if entry.name == "almaprox":
        return {
            "looks at": looks,
            "applier": "additive: x = x0 + θ",
            "constraint": f"none: the {NORMS[entry.minimal]} norm is minimised; pixels in [0,1], writable region",
            "objective": "augmented Lagrangian: every pixel's ratio of logits with a multiplier and a stiffness",
            "update": "gradient over the root of its running mean square, then the proximity operator of the norm",
            "start": "the image itself",
        }
    if entry.minimal:
        return {
            "looks at": looks,
            "applier": "additive: x = x0 + θ = ½ (tanh w + 1)",
            "constraint": f"none: the {NORMS[entry.minimal]} norm is minimised; pixels in [0,1], writable region",
            "objective": "margins, cut where a pixel is fooled with confidence",
            "update": "Adam on w, anew in every descent",
            "start": "the image itself",
            "combinator": f"{params['descents']} descents, each in the setting that the last one calls for",
        }
    parts = {"looks at": looks, "applier": _applier(entry, params),
             "constraint": _ball(params) + "pixels in [0,1], writable region"}  # fmt: skip
    survives = params.get("eot") or params.get("vary")
    if survives and survives != "none":
        parts["expectation"] = survives
    if entry.steps:
        parts |= {"objective": _loss(entry, params), "gradient rule": _rule(entry), "update": UPDATES[params["update"]]}
    random = "uniform in the ball" if "eps" in params else "uniform in [0,1]"
    parts["start"] = random if entry.random_start else "the image itself"
    if len(entry.radii) > 1:
        stages = ", ".join(f"{factor:g}ε ({share:.0%} of the steps)" for factor, share in entry.radii)
        parts["radii"] = stages
    if entry.track_ce:
        parts["APGD watches"] = "the mean cross-entropy"
    if entry.fits:
        parts["fitted on other images"] = entry.fits
    return parts


def _applier(entry: Entry, params: Params) -> str:
    """Where the variable goes in the picture."""
    if entry.fits == "patch":
        return "patch: θ replaces the pixels of its place"
    if entry.shared:
        return "universal tile: x = x0 + θ, repeated over the image, the same for all"
    if entry.natural:
        return "masked region M: x = (1 - M) x0 + M (x0 + θ)"
    if params.get("mode") == "generator":
        return "generator: x = x0 + θ, θ = radius · tanh U(x0)"
    return "additive: x = x0 + θ"


def _ball(params: Params) -> str:
    if "eps" not in params:
        return "no ball unless eps is given; "
    whole = ", the whole box" if params["eps"] == "1" else ""
    return f"{NORMS[params['norm']]} ball of {params['eps']}{whole}, "


def _rule(entry: Entry) -> str:
    if entry.name == "patch":
        return "terms of length 1, weighed by γ and 1-γ (equation 7)"
    return "per model, balanced, times attention" if entry.rule == "blended" else "summed"


def _loss(entry: Entry, params: Params) -> str:
    if "loss" in params:
        return params["loss"]
    own = "dense" not in entry.output or entry.natural
    return entry.name if own else entry.loss_of(params)


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
