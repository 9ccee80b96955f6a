"""Numbers in specs: read exactly, written in one spelling."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

__all__ = ["fraction", "text_of"]

FINEST = 5100  # denominators up to here are recognised in a decimal; 1e-12 is what a float may be off


def fraction(text: str) -> Fraction:
    """``8/255``, ``0.5/255`` or ``.03``. Raises ValueError, ZeroDivisionError."""
    above, stroke, below = text.partition("/")
    return Fraction(above) / Fraction(below) if stroke else Fraction(above)


def text_of(value: Fraction, *, pixels: bool = False) -> str:
    """The one spelling of a number: whole, else decimal where that ends, else the reduced fraction.

    ``pixels``: a multiple of 1/255 is written ``k/255``, and one of 1/510 whose decimal does not end ``k/510``.
    A decimal that is off by rounding only (1e-12 of itself) from a fraction of small denominator is that fraction.

    >>> [text_of(Fraction(n, d), pixels=True) for n, d in [(16, 510), (1, 510), (1, 2), (1, 5), (0, 1)]]
    ['8/255', '1/510', '0.5', '51/255', '0']
    >>> text_of(Fraction(2 / 255), pixels=True), text_of(Fraction(1, 5)), text_of(Fraction(2, 3))
    ('2/255', '0.2', '2/3')
    """
    small = value.limit_denominator(FINEST)
    if abs(value - small) <= abs(value) * Fraction(1, 10**12):
        value = small
    if value.denominator == 1:
        return str(value.numerator)
    if pixels and 255 % value.denominator == 0:
        return f"{value * 255}/255"
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        return f"{(Decimal(value.numerator) / value.denominator).normalize():f}"
    return f"{value * 510}/510" if pixels and 510 % value.denominator == 0 else str(value)
