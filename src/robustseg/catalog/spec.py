"""Attack specs as text: ``segpgd:eps=8/255,steps=20``. Parsing, checking, canonical form."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from robustseg.errors import UserError

__all__ = ["Params", "check", "near", "number", "parse", "step_length"]

Params = dict[str, str]  # every option as text, as it was written: 8/255 stays 8/255

COMMON = {  # option -> what it means; every attack has these
    "eps": "radius of the ball, in the unit of the pixels [0,1], e.g. 8/255",
    "step_size": "length of a step: a number like 2/255, or relative to the radius like eps/4",
    "steps": "gradient steps (per restart)",
    "restarts": "independent starts; the best is kept per image",
    "norm": "linf or l2",
    "update": "step rule: sign, momentum, adam or apgd",
    "reference": "gt: the ground truth is attacked; pred: the clean prediction is",
    "region": "where the attacker may write: FILE, DIR, clothing, class:NAME or instance:ID",
    "target": "class:NAME, a label-map PNG, least-likely, or nearest (hides class=NAME)",
    "class": "the class that target=nearest hides",
    "objective": "FILE.py:FUNCTION, your own function (output, target) -> (B,) to maximise",
}
CHOICES = {
    "norm": ("linf", "l2"),
    "update": ("sign", "momentum", "adam", "apgd"),
    "reference": ("gt", "pred"),
}


def near(word: str, known: Iterable[str]) -> str:
    """The known words nearest to ``word``, for an error message.

    >>> near("segpdg", ["pgd", "segpgd"])
    'did you mean segpgd, pgd?'
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"


def parse(text: str) -> tuple[str, Params]:
    """Split a spec into name and options; raises UserError where it cannot be read.

    >>> parse("segpgd:eps=8/255,steps=20")
    ('segpgd', {'eps': '8/255', 'steps': '20'})
    """
    name, _, rest = text.strip().partition(":")
    params: Params = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise UserError(f"attack {text!r}: cannot read {part!r}; write options as key=value, separated by commas")
        if key in params:
            raise UserError(f"attack {text!r}: option {key!r} is given twice; keep one")
        params[key] = value
    if not name:
        raise UserError(f"attack {text!r} has no name; write e.g. pgd:eps=8/255")
    return name, params


def number(text: str, what: str) -> float:
    """``8/255`` or ``0.03`` as a float.

    >>> number("1/4", "eps")
    0.25
    """
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{what}={text} is not a number; write e.g. {what}=8/255 or {what}=0.03") from None


def _pixel_length(text: str, what: str, norm: str) -> float:
    value = number(text, what)
    if value < 0:
        raise UserError(f"{what}={text} is negative; a length must be 0 or more")
    if value > 1 and norm == "linf":
        raise UserError(f"{what}={text} is larger than the whole pixel range [0,1]; did you mean {what}={text}/255?")
    return value


def step_length(params: Mapping[str, str]) -> float:
    """Length of a step in pixel units; ``eps/4`` is relative to the radius.

    >>> step_length({"eps": "0.1", "step_size": "eps/4", "norm": "linf"})
    0.025
    """
    text = params["step_size"]
    if text.startswith("eps"):
        rest = text[3:]
        factor = 1.0 if not rest else number("1" + rest, "step_size") if rest[0] == "/" else None
        if factor is None:
            raise UserError(f"step_size={text} cannot be read; write a number like 2/255 or eps/4")
        return number(params["eps"], "eps") * factor
    return _pixel_length(text, "step_size", params["norm"])


def check(name: str, params: Params, known: Iterable[str]) -> None:
    """Every option is known and has a usable value; raises UserError that lists the near ones."""
    known = list(known)
    for key, value in params.items():
        if key not in known:
            raise UserError(f"attack {name}: unknown option {key!r}; {near(key, known)}")
        if key in CHOICES and value not in CHOICES[key]:
            raise UserError(f"attack {name}: {key}={value}; choose one of {', '.join(CHOICES[key])}")
    for key in ("steps", "restarts"):
        if key in params and (not params[key].isdigit() or (key == "restarts" and params[key] == "0")):
            raise UserError(f"attack {name}: {key}={params[key]} is not a whole number of {key}")
    _pixel_length(params["eps"], "eps", params["norm"])
    step_length(params)
    target = params.get("target")
    words = target is None or target in ("least-likely", "nearest") or target.startswith("class:")
    if not words and not Path(str(target)).is_file():
        raise UserError(
            f"attack {name}: target={target} is no file; use class:NAME, least-likely, nearest or a label-map PNG"
        )
    if target == "nearest" and "class" not in params:
        raise UserError(f"attack {name}: target=nearest hides one class; say which, e.g. class=person")
