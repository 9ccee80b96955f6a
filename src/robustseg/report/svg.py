"""Charts as inline SVG: sharp in print, no script. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

__all__ = ["MARKERS", "Point", "Series", "el", "line_chart", "strip_chart", "swatch"]

WIDTH = 460
MARKERS = 6


@dataclass(frozen=True)
class Point:
    """A measured value: ``y`` in [0, 1], interval ``[low, high]`` where there is one, ``note`` shown on hover."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line of the chart. ``style``: colour, marker and dash; ``kind``: "attack", "noise", "worst" or "clean"."""

    label: str
    points: Sequence[Point]
    style: int = 0
    kind: str = "attack"

    @property
    def css(self) -> str:
        """Class names that the style sheet colours; from the seventh on colours repeat with a dash."""
        if self.kind != "attack":
            return f"series {self.kind}"
        return f"series s{self.style % 6}" + (" again" if self.style >= 6 else "")


def el(tag: str, *children: object, **attributes: object) -> Markup:
    """One SVG element; everything that is not Markup is escaped, ``_`` in names becomes ``-``, ``cls`` is ``class``.

    >>> str(el("text", "a<b", cls="x", text_anchor="end"))
    '<text class="x" text-anchor="end">a&lt;b</text>'
    """
    named = {"class" if k == "cls" else k.replace("_", "-"): v for k, v in attributes.items() if v is not None}
    head = "".join(f' {k}="{escape(round(v, 1) if isinstance(v, float) else v)}"' for k, v in named.items())
    inner = Markup("").join(escape(c) for c in children)
    return Markup(f"<{tag}{head}>") + inner + Markup(f"</{tag}>") if inner else Markup(f"<{tag}{head}/>")


def mark(x: float, y: float, series: Series, note: str = "", size: float = 4.2) -> Markup:
    """The marker of a series at a place, with a larger invisible disc so that a finger can find its note."""
    r, a, b = size, 1.15 * size, 1.3 * size
    shapes = [
        el("circle", cx=x, cy=y, r=r),
        el("rect", x=x - 0.9 * r, y=y - 0.9 * r, width=1.8 * r, height=1.8 * r),
        el("path", d=f"M{x:.1f} {y - 1.2 * r:.1f}l{a:.1f} {2 * r:.1f}h{-2 * a:.1f}z"),
        el("path", d=f"M{x:.1f} {y - b:.1f}l{b:.1f} {b:.1f}l{-b:.1f} {b:.1f}l{-b:.1f} {-b:.1f}z"),
        el("path", d=f"M{x:.1f} {y + 1.2 * r:.1f}l{a:.1f} {-2 * r:.1f}h{-2 * a:.1f}z"),
        el(
            "path",
            d=f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}",
            cls="cross",
        ),
    ]
    shape = shapes[series.style % MARKERS] if series.kind == "attack" else shapes[0]
    title = el("title", note) if note else Markup("")
    hit = el("circle", cls="hit", cx=x, cy=y, r=11.0) if note else Markup("")
    return el("g", title, hit, shape, cls=f"mark {series.css}")


def swatch(series: Series) -> Markup:
    """The key of a series for a legend: a stroke of its line and its marker."""
    line = el("path", d="M1 7H27", cls=f"line {series.css}")
    return el("svg", line, mark(14, 7, series), viewBox="0 0 28 14", cls="swatch", aria_hidden="true")


def frame(title: str, description: str, height: float, *children: Markup) -> Markup:
    """The outer element with what a screen reader says."""
    return el(
        "svg", el("title", title), el("desc", description), *children,
        viewBox=f"0 0 {WIDTH} {height:.0f}", cls="chart", role="img", aria_label=f"{title}. {description}",
    )  # fmt: skip


def line_chart(
    series: Sequence[Series],
    *,
    ticks: Sequence[tuple[float, str]],
    title: str,
    x_title: str,
    y_title: str,
    description: str = "",
    step: bool = False,
    top: float = 1.0,
) -> Markup:
    """Lines with bands over a share in [0, ``top``]; ``ticks``: (x, text), span the axis; ``step``: best so far."""
    left, right, above, bottom, height = 40, 12, 12, 46, 300
    x0, x1 = ticks[0][0], ticks[-1][0]

    def at(x: float) -> float:
        return left + (x - x0) / ((x1 - x0) or 1) * (WIDTH - left - right)

    def up(y: float) -> float:
        return above + (1 - min(max(y / top, 0.0), 1.0)) * (height - above - bottom)

    def path(points: Sequence[tuple[float, float]]) -> str:
        out = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (_, y), (x2, y2) in pairwise(points):
            out += f"L{x2:.1f} {y:.1f}L{x2:.1f} {y2:.1f}" if step else f"L{x2:.1f} {y2:.1f}"
        return out

    parts: list[Markup] = []
    for fifth in range(6):
        y = fifth * top / 5
        parts.append(el("path", d=f"M{left} {up(y):.1f}H{WIDTH - right}", cls="grid" if fifth else "axis"))
        parts.append(el("text", f"{100 * y:.3g}", x=left - 7, y=up(y) + 4, cls="tick", text_anchor="end"))
    taken = -99.0
    for x, text in ticks:
        parts.append(el("path", d=f"M{at(x):.1f} {up(0):.1f}v4", cls="axis"))
        if at(x) - taken > 5 + 6.5 * len(text):
            anchor = "end" if x == x1 and len(text) > 3 else "middle"
            parts.append(el("text", text, x=at(x), y=up(0) + 18, cls="tick", text_anchor=anchor))
            taken = at(x)
    parts.append(el("text", x_title, x=(left + WIDTH - right) / 2, y=height - 6, cls="name", text_anchor="middle"))
    parts.append(
        el("text", y_title, x=11, y=(above + height - bottom) / 2, cls="name", text_anchor="middle",
           transform=f"rotate(-90 11 {(above + height - bottom) / 2:.0f})")
    )  # fmt: skip
    for s in series:
        band = [(at(p.x), up(p.low), up(p.high)) for p in s.points if p.low is not None and p.high is not None]
        if len(band) > 1:
            lower, upper = path([(x, a) for x, a, _ in band]), path([(x, b) for x, _, b in band])
            back = " ".join(f"L{pair}" for pair in reversed(upper[1:].split("L")))
            parts.append(el("path", d=lower + back + "Z", cls=f"band {s.css}"))
    for s in series:
        if len(s.points) > 1:
            parts.append(el("path", d=path([(at(p.x), up(p.y)) for p in s.points]), cls=f"line {s.css}"))
    for s in series:
        parts.extend(mark(at(p.x), up(p.y), s, p.note) for p in s.points if p.note)
    return frame(title, description, height, *parts)


def strip_chart(
    rows: Sequence[tuple[str, str]], series: Sequence[Series], *, title: str, x_title: str, description: str = ""
) -> Markup:
    """One line per row (label, small print), one marker per series at a share in [0, 1]; ``Point.x``: the row."""
    longest = max((max(len(a), len(b) * 0.85) for a, b in rows), default=4)
    left, right, top = min(150.0, 16 + 6.6 * longest), 14, 8
    pitch = 25 if len(rows) > 4 else 46
    height = top + pitch * len(rows) + 40

    def at(share: float) -> float:
        return left + min(max(share, 0.0), 1.0) * (WIDTH - left - right)

    def down(row: float) -> float:
        return top + pitch * (row + 0.5)

    parts: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(el("path", d=f"M{at(share):.1f} {top}V{height - 36}", cls="grid" if share else "axis"))
        parts.append(el("text", f"{100 * share:.0f}", x=at(share), y=height - 22, cls="tick", text_anchor="middle"))
    parts.append(el("text", x_title, x=(left + WIDTH - right) / 2, y=height - 5, cls="name", text_anchor="middle"))
    for index, (label, small) in enumerate(rows):
        values = [p.y for s in series for p in s.points if p.x == index]
        shift = -4 if small else 4
        parts.append(el("text", shorten(label, 22), x=left - 9, y=down(index) + shift, cls="row", text_anchor="end"))
        if small:
            parts.append(el("text", small, x=left - 9, y=down(index) + 11, cls="tick", text_anchor="end"))
        if values:
            span = f"M{at(min(values)):.1f} {down(index):.1f}H{at(max(values)):.1f}"
            parts.append(el("path", d=span, cls="span"))
    # Attacks that stand at the same value are set apart a little, so that none hides the others.
    attacks = [s for s in series if s.kind == "attack"]
    apart = {id(s): (i - (len(attacks) - 1) / 2) * min(3.0, 15 / len(attacks)) for i, s in enumerate(attacks)}
    for s in series:
        parts.extend(mark(at(p.y), down(p.x) + apart.get(id(s), 0.0), s, p.note, 4.6) for p in s.points)
    return frame(title, description, height, *parts)


def shorten(text: str, limit: int) -> str:
    """The text, cut with an ellipsis beyond ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
