"""Attack specs as text: ``segpgd:eps=8/255,steps=20``. Parsing, checking, canonical form."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from robustseg.errors import UserError

__all__ = ["COMMON", "Params", "check", "check_names", "near", "number", "parse", "step_length"]

Params = dict[str, str]  # every option as text, as it was written: 8/255 stays 8/255

COMMON = {  # option -> what it means; every attack has these
    "eps": "radius of the ball, in the unit of the pixels [0,1], e.g. 8/255",
    "step_size": "length of a step: a number like 2/255, or relative to the radius like eps/4 or eps*2",
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
SHARES = ("omega", "tau")  # options between 0 and 1


def near(word: str, known: Iterable[str]) -> str:
    """The known words nearest to ``word``, for an error message.

    >>> near("segpdg", ["fgsm", "segpgd"])
    'did you mean segpgd?'
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
        key, equals, value = (word.strip() for word in part.partition("="))
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
    """Length of a step in pixel units; ``eps/4`` and ``eps*2`` are relative to the radius.

    >>> step_length({"eps": "0.1", "step_size": "eps/4", "norm": "linf"})
    0.025
    """
    text = params["step_size"]
    if not text.startswith("eps"):
        return _pixel_length(text, "step_size", params["norm"])
    factors = {"": "1", "/": f"1/{text[4:]}", "*": text[4:]}
    try:
        factor = number(factors[text[3:4]], "step_size")
    except (KeyError, UserError):
        factor = -1.0
    if factor < 0:
        raise UserError(f"step_size={text} cannot be read; write a number like 2/255, or eps/4, or eps*2")
    return number(params["eps"], "eps") * factor


def check_names(name: str, given: Iterable[str], known: Iterable[str], refused: Iterable[str] = ()) -> None:
    """Every option given is one that the attack knows; raises UserError that lists the near ones."""
    known = list(known)
    for key in given:
        if key in refused:
            raise UserError(f"attack {name} takes no {key}; leave it out, or choose another attack")
        if key not in known:
            raise UserError(f"attack {name}: unknown option {key!r}; {near(key, known)}")


def check(name: str, params: Params) -> None:
    """Every option has a usable value; raises UserError that says which values are."""
    for key, choices in CHOICES.items():
        if params.get(key, choices[0]) not in choices:
            raise UserError(f"attack {name}: {key}={params[key]}; choose one of {', '.join(choices)}")
    for key in ("steps", "restarts"):
        text = params.get(key, "1")
        if not (text.isascii() and text.isdecimal()) or (key == "restarts" and int(text) == 0):
            raise UserError(f"attack {name}: {key}={text} is not a whole number of {key}")
    _pixel_length(params["eps"], "eps", params["norm"])
    if "step_size" in params:
        step_length(params)
    for key in SHARES:
        if not 0 <= number(params.get(key, "0"), key) <= 1:
            raise UserError(f"attack {name}: {key}={params[key]} is a share; choose a number from 0 to 1")
    if number(params.get("decay", "0"), "decay") < 0:
        raise UserError(f"attack {name}: decay={params['decay']} is negative; 0 forgets the last steps, 1 keeps them")
    _check_target(name, params)


def _check_target(name: str, params: Params) -> None:
    target = params.get("target")
    words = target is None or target in ("least-likely", "nearest") or target.startswith("class:")
    if not words and not Path(str(target)).is_file():
        raise UserError(
            f"attack {name}: target={target} is no file; use class:NAME, least-likely, nearest or a label-map PNG"
        )
    if target == "nearest" and "class" not in params:
        raise UserError(f"attack {name}: target=nearest hides one class; say which, e.g. class=person")
    if target != "nearest" and "class" in params:
        raise UserError(f"attack {name}: class={params['class']} belongs to target=nearest; write target=class:NAME")
