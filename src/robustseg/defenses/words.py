"""``jpeg=50,bits=3``: a chain of input defences as text, in the order in which they are applied."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from robustseg.catalog.numbers import fraction, text_of
from robustseg.defenses import masking, zmask
from robustseg.defenses.resize import RANDOMS
from robustseg.errors import UserError

__all__ = ["Part", "identity", "parse", "text_of_parts"]

KNOWN: dict[str, tuple[str, float, float, str]] = {  # name -> what its number means, least, largest, an example
    "jpeg": ("quality of the file, a number or a range to draw from", 1, 100, "jpeg=50"),
    "bits": ("bits a channel, a whole number", 1, 16, "bits=3"),
    "median": ("side of the window in pixels, odd", 1, 15, "median=3"),
    "resize": ("factor, a number or a range to draw from", 0.1, 4, "resize=0.8-1.2"),
}
PATCHES = ("zmask", "demask")  # defences against patches have words of their own
RANGES = ("jpeg", "resize")
NUMBER = r"(\d*\.?\d+(?:/\d+)?)"


@dataclass(frozen=True)
class Part:
    """One defence of a chain; a range, ``low < high``, is drawn from anew for every image.

    ``more``: of zmask the file of its calibration, of demask the layout of its masks; ``patch`` that it is against.
    """

    name: str
    low: float
    high: float
    text: str
    more: str = ""
    patch: masking.Patch | None = None

    @property
    def randoms(self) -> int:
        """How many random numbers it takes for an image."""
        return 0 if self.low == self.high else RANDOMS if self.name == "resize" else 1


def text_of_parts(parts: tuple[Part, ...]) -> str:
    """The one spelling of a chain.

    >>> text_of_parts(parse("resize=.80-1.2 , bits=3"))
    'resize=0.8-1.2,bits=3'
    """
    return ",".join(p.text for p in parts)


def identity(parts: tuple[Part, ...]) -> str:
    """The text of a chain without files: what a file holds is hashed by itself.

    >>> identity(parse("zmask=0.4@runs/z.safetensors,bits=3"))
    'zmask=0.4,bits=3'
    """
    return ",".join(_zmask(p.low, "").text if p.name == "zmask" else p.text for p in parts)


def parse(text: str) -> tuple[Part, ...]:
    """The chain that a text names. Raises UserError that says which name or number cannot be used.

    >>> [(p.name, p.low, p.high, p.randoms) for p in parse("median=3,jpeg=30-90")]
    [('median', 3.0, 3.0, 0), ('jpeg', 30.0, 90.0, 1)]
    """
    parts = []
    for word in filter(None, (w.strip() for w in text.split(","))):
        name, _, value = (w.strip() for w in word.partition("="))
        if name in PATCHES:
            parts.append(_read_zmask(value) if name == "zmask" else _read_demask(value))
            continue
        if name not in KNOWN:
            known = [*KNOWN, *PATCHES]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            say = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"defense: unknown defence {name!r}; {say}")
        parts.append(_part(name, value))
    if not parts:
        raise UserError("defense is empty; write e.g. --defense jpeg=50, or several with commas: jpeg=50,bits=3")
    for name in PATCHES:
        if sum(p.name == name for p in parts) > 1:
            raise UserError(f"defense: {name} stands there twice; keep one")
    if any(p.name == "demask" for p in parts[:-1]):
        raise UserError("defense: demask votes on what the model says, so it is the last of a chain")
    return tuple(parts)


def _read_zmask(value: str) -> Part:
    """``zmask``, ``zmask=0.4``, ``zmask=FILE``, ``zmask=0.4@FILE``."""
    number, _, file = value.partition("@")
    if re.fullmatch(NUMBER, number) is None:
        number, file = "", value
    try:
        threshold = float(fraction(number)) if number else zmask.THRESHOLD
    except ZeroDivisionError:
        threshold = -1.0
    if not 0 < threshold < 1:
        raise UserError(f"defense: zmask={number} is the mask above which pixels are hidden; choose between 0 and 1")
    return _zmask(threshold, file)


def _zmask(threshold: float, file: str) -> Part:
    said = "" if threshold == zmask.THRESHOLD else f"{threshold:g}"
    value = "@".join(v for v in (said, file) if v)
    return Part("zmask", threshold, threshold, f"zmask={value}" if value else "zmask", file)


def _read_demask(value: str) -> Part:
    """``demask=1%``, ``demask=36``, ``demask=1%/three``."""
    size, _, kind = value.partition("/")
    kind = kind or masking.RECOVERY[0]
    if not size:
        raise UserError("defense: demask is against a patch of a size; write e.g. demask=1%, or demask=1%/three")
    if kind not in masking.RECOVERY:
        raise UserError(f"defense: demask={value}: no layout {kind!r}; choose one of {', '.join(masking.RECOVERY)}")
    patch = masking.read_patch(size)
    said = "" if kind == masking.RECOVERY[0] else f"/{kind}"
    return Part("demask", 0, 0, f"demask={patch.text}{said}", kind, patch)


def _part(name: str, value: str) -> Part:
    meaning, least, most, example = KNOWN[name]
    read = re.fullmatch(f"{NUMBER}(?:-{NUMBER})?", value)
    if read is None or (read[2] and name not in RANGES):
        raise UserError(f"defense: {name}={value} cannot be read ({meaning}); write e.g. {example}")
    try:
        low = fraction(read[1])
        high = fraction(read[2]) if read[2] else low
    except ZeroDivisionError:
        raise UserError(f"defense: {name}={value} divides by zero; write e.g. {example}") from None
    if not least <= low <= high <= most:
        raise UserError(f"defense: {name}={value} is not from {least} to {most} and rising ({meaning})")
    if name != "resize" and (low.denominator != 1 or high.denominator != 1):
        raise UserError(f"defense: {name}={value} is no whole number ({meaning}); write e.g. {example}")
    if name == "median" and low % 2 == 0:
        raise UserError(f"defense: median={value} is even, so its window has no middle; use {low - 1} or {low + 1}")
    words = "-".join(text_of(end) for end in dict.fromkeys((low, high)))
    return Part(name, float(low), float(high), f"{name}={words}")
