"""Attacks without a ball: how far the images had to move, as lines, as a table, and as shares fooled over the norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustseg.report.charts import NORMS, Figure, describe, styles
from robustseg.report.load import Entry, Run, entries, number, numbers
from robustseg.report.svg import Point, Series, line_chart
from robustseg.report.text import NONE, percent

__all__ = ["figures", "lines", "needed", "of", "rows", "size"]

MARKS = ("l2", "linf", "l0")


def size(value: object, norm: str) -> str:
    """A norm as people read it; L∞ in 1/255 of the pixel range, L0 in pixels.

    >>> size(2.34567, "l2"), size(2 / 255, "linf"), size(1200.0, "l0"), size(None, "l2")
    ('2.35', '2.00/255', '1200', '–')
    """
    n = number(value)
    if n is None:
        return NONE
    return f"{n:.0f}" if norm == "l0" else f"{255 * n:.2f}/255" if norm == "linf" else f"{n:.3g}"


def of(e: Entry) -> Mapping[str, Any] | None:
    """The distances of an entry, None where it has a ball."""
    found = e.raw.get("distance")
    return found if isinstance(found, Mapping) else None


def needed(e: Entry) -> str:
    """What stands where others have their ε: the median norm of the images fooled."""
    found = of(e)
    if found is None:
        return ""
    norm = str(found.get("norm"))
    return f"{NORMS.get(norm, norm)} {size(numbers(found.get('median')).get(norm), norm)}"


def lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each attack without a ball: who was fooled, and the median norms."""
    said = []
    for e in entries(summary):
        found = of(e)
        if found is None:
            continue
        median = numbers(found.get("median"))
        norms = ", ".join(f"{NORMS[n]} {size(median.get(n), n)}" for n in MARKS)
        said.append(
            f"{e.spec.family}: {percent(found.get('fooled'))} % of the images have {threshold(found)} % of their "
            f"pixels fooled; median {norms}{untouched(found)}"
        )
    return said


def untouched(found: Mapping[str, Any]) -> str:
    """Of images that were wrong enough as they are, at distance 0: how many, and how far the others had to go.

    >>> untouched({"norm": "l2", "images": 9, "untouched": 3, "median_touched": {"l2": 0.35}})
    '; 3 of 9 images as they are, the others L2 0.35'
    """
    number_of, norm = found.get("untouched"), str(found.get("norm"))
    if not number_of:
        return ""
    others = size(numbers(found.get("median_touched")).get(norm), norm)
    return f"; {number_of} of {found.get('images')} images as they are, the others {NORMS.get(norm, norm)} {others}"


def threshold(found: Mapping[str, Any]) -> str:
    """The share of pixels that must be fooled, in per cent, without needless digits."""
    share = number(found.get("threshold"))
    return NONE if share is None else f"{100 * share:.6g}"


def rows(found: Sequence[Entry]) -> list[tuple[Entry, str, str, list[tuple[str, float | None, str]]]]:
    """Of every attack without a ball: entry, norm minimised, threshold, and ``(name, value, text)`` of each number."""
    made = []
    for e in found:
        d = of(e)
        if d is None:
            continue
        norm = str(d.get("norm"))
        cells = [(f"{kind}.{n}", value := numbers(d.get(kind)).get(n), size(value, n))
                 for kind in ("median", "mean") for n in MARKS]  # fmt: skip
        cells.append(("median_of_all", number(d.get("median_of_all")), size(d.get("median_of_all"), norm)))
        made.append((e, NORMS.get(norm, norm), threshold(d), cells))
    return made


def figures(run: Run) -> list[Figure]:
    """For each norm that some attack minimises: the share of images fooled at that norm or less."""
    style, made = styles(run.entries), []
    known = [(e, d) for e in run.entries if (d := of(e)) and d.get("curve")]
    for norm in dict.fromkeys(str(d.get("norm")) for _, d in known):
        drawn, far = [], 0.0
        for e, d in known:
            if d.get("norm") == norm:
                label, curve = style[e.spec.family].label, [(float(x), float(y)) for x, y in d["curve"]]
                points = [
                    Point(x, y, note=f"{label}: {percent(y)} % of the images at {size(x, norm)}") for x, y in curve
                ]
                drawn.append(Series(label, [Point(0.0, 0.0), *points], style[e.spec.family].style, "attack"))
                far = max(far, curve[-1][0])
        word = NORMS.get(norm, norm)
        title = f"Images fooled as the {word} norm grows"
        ticks = [(far * k / 4 or k * 1e-9, size(far * k / 4, norm)) for k in range(5)]
        chart = line_chart(drawn, ticks=ticks, title=title, x_title=f"{word} norm", y_title="images fooled in %",
                           description=describe(drawn), step=True)  # fmt: skip
        note = (
            "An image counts from the smallest perturbation that the attack found on; the true smallest may be smaller."
        )
        made.append(Figure(title, chart, drawn, note))
    return made
