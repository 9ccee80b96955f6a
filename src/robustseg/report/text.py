"""Numbers as people read them. Shares in [0, 1] become per cent with one decimal; what does not exist is a dash."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["count", "number", "percent", "seconds", "signed", "span", "thousands"]

NONE = "–"


def number(value: Any) -> float | None:
    """The value as a finite float, else None (JSON written elsewhere may hold NaN).

    >>> number(0.5), number(float("nan")), number("0.5"), number(True)
    (0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def percent(share: object) -> str:
    """A share as per cent without the sign.

    >>> percent(0.12345), percent(None), percent(float("nan"))
    ('12.3', '–', '–')
    """
    value = number(share)
    return NONE if value is None else f"{100 * value:.1f}"


def signed(share: object) -> str:
    """A difference of shares in points of per cent.

    >>> signed(0.0123), signed(-0.5), signed(None)
    ('+1.2', '-50.0', '–')
    """
    value = number(share)
    return "–" if value is None else f"{100 * value:+.1f}"


def span(pair: tuple[float, float] | None) -> str:
    """An interval of shares as per cent.

    >>> span((0.1, 0.2)), span(None)
    ('10.0–20.0', '')
    """
    return "" if pair is None else f"{100 * pair[0]:.1f}–{100 * pair[1]:.1f}"


def thousands(value: object) -> str:
    r"""A count with thin spaces between thousands.

    >>> thousands(12345.0) == "12\u202f345", thousands(0.5), thousands(None)
    (True, '0.5', '–')
    """
    n = number(value)
    if n is None:
        return NONE
    return f"{n:,.0f}".replace(",", "\u202f") if n == round(n) else f"{n:.1f}"


def seconds(value: object) -> str:
    """A duration with two digits that matter.

    >>> seconds(0.01234), seconds(1.04), seconds(9.96), seconds(1234)
    ('0.012', '1.0', '10', '1234')
    """
    n = number(value)
    return NONE if n is None else f"{n:#.2g}".rstrip(".") if n < 10 else f"{n:.0f}"


def count(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "image"), count(3, "image")
    ('1 image', '3 images')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"
