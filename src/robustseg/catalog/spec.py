"""Attack specs as text: ``segpgd:eps=8/255,steps=20``. Parsing, checking, canonical form."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from robustseg.catalog import eot, vary
from robustseg.catalog.numbers import fraction, text_of
from robustseg.errors import UserError

__all__ = [
    "COMMON",
    "Params",
    "canonical",
    "check",
    "check_names",
    "near",
    "number",
    "parse",
    "shares",
    "step_length",
    "text_of",
]

Params = dict[str, str]  # every option as text, numbers in their one spelling (``canonical``)

COMMON = {  # option -> what it means; every attack has these
    "eps": "radius of the ball, in the unit of the pixels [0,1], e.g. 8/255",
    "step_size": "length of a step: a number like 2/255, or relative to the radius like eps/4, eps*2 or eps/steps",
    "steps": "gradient steps (per restart)",
    "restarts": "independent starts; the best is kept per image",
    "norm": "linf or l2",
    "update": "step rule: sign, momentum, adam, apgd, or normalised (the largest entry of every step is step_size)",
    "reference": "gt: the ground truth is attacked; pred: the clean prediction is",
    "region": "where the attacker may write: FILE, DIR, clothing, class:NAME or instance:ID",
    "target": "class:NAME, a label-map PNG, least-likely, permuted (each class another) or nearest (hides class=NAME)",
    "class": "the class that target=nearest hides, displace moves, or stealthy hides, shows or moves",
    "objective": "FILE.py:FUNCTION, your own function (output, target) -> (B,) to maximise",
    "eot": "transformations that the attack must survive, e.g. noise:0.02+jpeg:30-90",
    "eot_samples": "draws of these a step, default 1",
}
CHOICES = {
    "norm": ("linf", "l2"),
    "update": ("sign", "momentum", "adam", "apgd", "normalised"),
    "proposals": ("moving", "fixed"),
    "reference": ("gt", "pred"),
    "rollout": ("auto", "none"),
    "kind": ("vanish", "embed", "displace"),
    "mode": ("direct", "generator"),
    "rest": ("goal", "wrong"),
    "control": ("none", "shuffled"),
    "warm": ("never", "solved", "always"),
    "bound": ("exact", "hinge"),
    "slope": ("exact", "published"),
}
SHARES = ("omega", "tau", "keep", "mask", "height", "apsr", "shrink", "settle", "area", "nms")  # from 0 to 1
WHOLE = ("steps", "restarts", "eot_samples", "images", "batch", "descents", "shorten", "instance", "top")
SHIFTS = ("dx", "dy")  # whole numbers of pixels, to either side
NUMBERS = ("decay", "gamma", "smooth", "nps", "freeze")
POSITIVE = ("rate", "c", "limit", "least", "first")  # options above 0
BOUNDS = ("first", "least")  # options in the unit of the pixels
LOGITS = ("confidence", "slack")  # options from 0 on
WEIGHTS = ("adv", "texture", "variation", "likeness")  # of terms of one objective


def near(word: str, known: Iterable[str]) -> str:
    """The known words nearest to ``word``, for an error message.

    >>> near("segpdg", ["fgsm", "segpgd"])
    'did you mean segpgd?'
    >>> near("PGD", ["apgd", "pgd"])
    'did you mean pgd?'
    """
    known = list(known)
    same = [k for k in known if k.strip().casefold() == word.strip().casefold()]
    close = same or difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"


def parse(text: str) -> tuple[str, Params]:
    """Split a spec into name and options; raises UserError where it cannot be read.

    >>> parse("segpgd:eps=8/255,steps=20")
    ('segpgd', {'eps': '8/255', 'steps': '20'})
    >>> parse("pgd:eps=16/510,steps=020")[1]
    {'eps': '8/255', 'steps': '20'}
    """
    name, _, rest = text.strip().partition(":")
    params: Params = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise UserError(f"attack {text!r}: cannot read {part!r}; write options as key=value, separated by commas")
        if key in params:
            raise UserError(f"attack {text!r}: option {key!r} is given twice; keep one")
        params[key] = canonical(key, value)
    if not name:
        raise UserError(f"attack {text!r} has no name; write e.g. pgd:eps=8/255")
    return name, params


def canonical(key: str, text: str) -> str:
    """The one spelling of an option's value; what is no number, or cannot be read, stays as it is.

    >>> [canonical("eps", t) for t in ("0.1", ".1", "0.10", "1/10", str(8 / 255), "0.5/255")]
    ['0.1', '0.1', '0.1', '0.1', '8/255', '1/510']
    >>> [canonical("step_size", t) for t in ("eps*0.25", "eps/4.0", "eps*1", "eps*2.0", "eps/steps", "02/255")]
    ['eps/4', 'eps/4', 'eps', 'eps*2', 'eps/steps', '2/255']
    >>> canonical("steps", "03"), canonical("omega", "0.90"), canonical("target", "0.10")
    ('3', '0.9', '0.10')
    """
    try:
        if key == "eot":
            return eot.canonical(text)
        if key == "vary":
            return vary.canonical(text)
        if key in WHOLE:
            return str(int(text)) if text.isascii() and text.isdecimal() else text
        if key in SHIFTS:
            return str(int(text))
        if key == "step_size" and text.startswith("eps") and text != "eps/steps":
            factor = _factor(text)
            if factor == 1:
                return "eps"
            return f"eps/{factor.denominator}" if factor.numerator == 1 else f"eps*{text_of(factor)}"
        if key in ("eps", "step_size", *BOUNDS):
            return text_of(fraction(text), pixels=True)
        return text_of(fraction(text)) if key in (*SHARES, *WEIGHTS, *NUMBERS, *POSITIVE, *LOGITS) else text
    except (ValueError, ZeroDivisionError):
        return text


def _factor(text: str) -> Fraction:
    """What ``eps/4`` or ``eps*2`` multiplies the radius with. Raises ValueError, ZeroDivisionError."""
    sign, rest = text[3:4], text[4:]
    if sign not in ("", "/", "*"):
        raise ValueError(text)
    return Fraction(1) if not sign else 1 / fraction(rest) if sign == "/" else fraction(rest)


def number(text: str, what: str) -> float:
    """``8/255`` or ``0.03`` as a float.

    >>> number("1/4", "eps")
    0.25
    """
    try:
        return float(fraction(text))
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
    """Length of a step in pixel units; ``eps/4``, ``eps*2`` and ``eps/steps`` are relative to the radius.

    >>> step_length({"eps": "0.1", "step_size": "eps/4", "norm": "linf"})
    0.025
    >>> step_length({"eps": "0.1", "step_size": "eps/steps", "steps": "10", "norm": "linf"})
    0.01
    """
    text = params["step_size"]
    if not text.startswith("eps"):
        return _pixel_length(text, "step_size", params["norm"])
    if "eps" not in params:
        raise UserError(
            f"step_size={text} is a part of a radius, and there is none; write step_size=1/510, or give eps"
        )
    if text == "eps/steps":
        return number(params["eps"], "eps") / max(int(params.get("steps", "1")), 1)
    try:
        factor = _factor(text)
    except (ValueError, ZeroDivisionError):
        factor = Fraction(-1)
    if factor < 0:
        raise UserError(f"step_size={text} cannot be read; write a number like 2/255, or eps/4, eps*2 or eps/steps")
    return number(params["eps"], "eps") * float(factor)


def shares(params: Mapping[str, str]) -> tuple[float, ...] | None:
    """The weights of several models, ``0.3/0.7``; None where they balance themselves.

    >>> shares({"weights": "0.3/0.7"}), shares({"weights": "auto"})
    ((0.3, 0.7), None)
    """
    text = params.get("weights", "auto")
    if text == "auto":
        return None
    try:
        found = tuple(float(part) for part in text.split("/"))
    except ValueError:
        found = ()
    if not found or not min(found) >= 0 or not 0 < sum(found) < float("inf"):
        raise UserError(f"weights={text}: write numbers from 0 on, one positive, e.g. weights=0.3/0.7, or weights=auto")
    return found


def check_names(name: str, given: Iterable[str], known: Iterable[str], refused: Iterable[str] = ()) -> None:
    """Every option given is one that the attack knows; raises UserError that lists the near ones."""
    known = list(known)
    for key in given:
        if key in refused or (key in COMMON and key not in known):
            raise UserError(f"attack {name} takes no {key}; leave it out, or choose another attack")
        if key not in known:
            raise UserError(f"attack {name}: unknown option {key!r}; {near(key, known)}")


def check(name: str, params: Params) -> None:
    """Every option has a usable value; raises UserError that says which values are."""
    for key, choices in CHOICES.items():
        if params.get(key, choices[0]) not in choices:
            raise UserError(f"attack {name}: {key}={params[key]}; choose one of {', '.join(choices)}")
    for key in WHOLE:
        text = params.get(key, "1")
        if not (text.isascii() and text.isdecimal()) or (key not in ("steps", "shorten") and int(text) == 0):
            least = 0 if key in ("steps", "shorten") else 1
            raise UserError(f"attack {name}: {key}={text}; choose a whole number from {least} on")
    if "eps" in params:
        _pixel_length(params["eps"], "eps", params["norm"])
    if params.get("update") == "apgd" and "eps" not in params:
        raise UserError(f"attack {name}: update=apgd halves steps that begin at the radius; give eps, e.g. eps=8/255")
    if "step_size" in params:
        step_length(params)
    for key in SHARES:
        if not 0 <= number(params.get(key, "0"), key) <= 1:
            raise UserError(f"attack {name}: {key}={params[key]} is a share; choose a number from 0 to 1")
    shares(params)
    for key in POSITIVE:
        if number(params.get(key, "1"), key) <= 0:
            raise UserError(f"attack {name}: {key}={params[key]} must be above 0")
    for key in BOUNDS:
        _pixel_length(params.get(key, "1"), key, "linf")
    for key in LOGITS:
        if number(params.get(key, "0"), key) < 0:
            raise UserError(f"attack {name}: {key}={params[key]} is negative; choose 0 or more")
    freeze = params.get("freeze", "coded")
    if freeze != "coded" and not 0 < number(freeze, "freeze") < 1:
        raise UserError(f"attack {name}: freeze={freeze} is neither coded nor a share between 0 and 1")
    if number(params.get("decay", "0"), "decay") < 0:
        raise UserError(f"attack {name}: decay={params['decay']} is negative; 0 forgets the last steps, 1 keeps them")
    if "eot" in params:
        eot.expectation(params["eot"])
    elif "eot_samples" in params:
        raise UserError(f"attack {name}: eot_samples={params['eot_samples']} of nothing; say what with eot=, e.g. "
                        "eot=noise:0.02")  # fmt: skip
    _check_target(name, params)


def _check_target(name: str, params: Params) -> None:
    target = params.get("target")
    words = target is None or target in ("least-likely", "nearest", "permuted") or target.startswith("class:")
    if not words and not Path(str(target)).is_file():
        raise UserError(
            f"attack {name}: target={target} is no file; use class:NAME, least-likely, nearest, permuted or a PNG"
        )
    if target == "permuted" and name == "universal":
        raise UserError(
            "universal: target=permuted is another goal for every image, and the perturbation is one for all"
        )
    if target == "nearest" and "class" not in params:
        raise UserError(f"attack {name}: target=nearest hides one class; say which, e.g. class=person")
    if target != "nearest" and "class" in params and name not in ("displace", "stealthy"):
        raise UserError(f"attack {name}: class={params['class']} belongs to target=nearest; write target=class:NAME")
