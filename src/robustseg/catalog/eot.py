"""The ``eot=`` option: from its text to an expectation over transformations."""

from __future__ import annotations

import difflib
import re
from fractions import Fraction
from typing import Any

from robustseg.attacks.expectation import Expectation
from robustseg.catalog.numbers import fraction, text_of
from robustseg.errors import UserError

__all__ = ["TRANSFORMS", "canonical", "expectation", "read"]

Known = dict[str, tuple[str, float, float]]

TRANSFORMS: Known = {  # name -> what its number means, least and largest
    "perspective": ("share of width and height by which corners move", 0, 0.25),
    "rotate": ("degrees either way", 0, 180),
    "shift": ("share of width and height either way", 0, 0.5),
    "scale": ("factor, above 1 is nearer", 0.1, 10),
    "gain": ("factor of every colour channel", 0, 10),
    "brightness": ("added to the pixels, either way", 0, 1),
    "blur": ("sigma in pixels", 0, 20),
    "noise": ("standard deviation in pixels of [0,1]", 0, 1),
    "jpeg": ("quality", 1, 100),
}
RANGES = ("scale", "gain", "blur", "noise", "jpeg")  # a number, or a range LOW-HIGH
NUMBER = r"(\d*\.?\d+(?:/\d+)?)"


def canonical(text: str, known: Known = TRANSFORMS, ranges: tuple[str, ...] = RANGES) -> str:
    """The one spelling of what is drawn, in the order in which it is applied; what cannot be read stays as it is.

    >>> canonical("noise=0.020,jpeg=90-90,perspective=.1"), canonical("jpeg:20-90+noise:1/50")
    ('perspective:0.1+noise:0.02+jpeg:90', 'noise:0.02+jpeg:20-90')
    """
    try:
        found = read(text, known, ranges)
    except UserError:
        return text
    words = {name: "-".join(map(text_of, dict.fromkeys(ends))) for name, ends in found.items()}
    return "+".join(f"{name}:{words[name]}" for name in known if name in words)


def expectation(text: str, samples: int = 1) -> Expectation:
    """What is drawn. Raises UserError that says which name or number cannot be used.

    >>> expectation("noise:0.02+brightness:0.1").noise
    (0.02, 0.02)
    """
    made: dict[str, Any] = {}
    for name, (low, high) in read(text).items():
        made[name] = (float(low), float(high)) if name in RANGES else float(high)
    return Expectation(**made, samples=samples)


def read(
    text: str, known: Known = TRANSFORMS, ranges: tuple[str, ...] = RANGES, what: str = "eot"
) -> dict[str, tuple[Fraction, Fraction]]:
    """Names with the ends of their ranges; ``known`` names, of which ``ranges`` may have two ends. Raises UserError."""
    found: dict[str, tuple[Fraction, Fraction]] = {}
    for part in filter(None, (p.strip() for p in re.split(r"[,+]", text))):
        name, value = (w.strip() for w in (*re.split("[=:]", part, maxsplit=1), "")[:2])
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            words = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{what}: unknown transformation {name!r}; {words}")
        if name in found:
            raise UserError(f"{what}: {name} is given twice; keep one")
        found[name] = _range(name, value, known[name], ranges, what)
    if not found:
        raise UserError(f"{what} is empty; write e.g. noise=0.02" + (",jpeg=30-90" if "jpeg" in known else ""))
    return found


def _range(
    name: str, value: str, known: tuple[str, float, float], ranges: tuple[str, ...], what: str
) -> tuple[Fraction, Fraction]:
    meaning, least, most = known
    found = re.fullmatch(f"{NUMBER}(?:-{NUMBER})?", value)
    example = "30-90" if name == "jpeg" else "0.9-1.4" if name in ("scale", "gain") else "0.1"
    if found is None or (found[2] and name not in ranges):
        raise UserError(f"{what}: {name}={value} cannot be read ({meaning}); write e.g. {name}={example}")
    try:
        low = fraction(found[1])
        high = fraction(found[2]) if found[2] else low
    except ZeroDivisionError:
        raise UserError(f"{what}: {name}={value} divides by zero; write e.g. {name}={example}") from None
    if not least <= low <= high <= most:
        raise UserError(f"{what}: {name}={value} is not from {least} to {most} and rising ({meaning})")
    return low, high
