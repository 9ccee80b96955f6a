"""Which numbers of a run become which chart: curves over ε, drop by class, recall by size, score per gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustseg.report.load import Entry, Run, interval, number, numbers
from robustseg.report.metrics import leading, plain_label
from robustseg.report.specs import labels
from robustseg.report.svg import Point, Series, line_chart, strip_chart
from robustseg.report.text import percent, span, thousands
from robustseg.report.traces import curves as trace_curves

__all__ = ["Figure", "class_figure", "curve_figures", "gradient_figure", "size_figure", "strongest_eps", "styles"]

NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}


@dataclass(frozen=True)
class Figure:
    """A chart with its heading, its series and one line that says how to read it."""

    title: str
    chart: Markup
    series: Sequence[Series]
    note: str = ""

    @property
    def legend(self) -> list[Series]:
        """The series as a key lists them: clean, worst case, attacks, noise."""
        return sorted(self.series, key=lambda s: ("clean", "worst", "attack", "noise").index(s.kind))


def styles(entries: Sequence[Entry]) -> dict[str, Series]:
    """One style for each family, the same in every chart: attacks in order of appearance, noise apart."""
    families = list(dict.fromkeys(e.spec.family for e in entries))
    names = labels(families)
    noise = {e.spec.family for e in entries if e.spec.noise}
    attacks = [f for f in families if f not in noise]
    return {
        f: Series(names[f], (), attacks.index(f) if f in attacks else 0, "noise" if f in noise else "attack")
        for f in families
    }


def strongest_eps(entries: Sequence[Entry]) -> dict[str, Entry]:
    """The entry with the largest ε of each family; families without a ball keep their last entry."""
    best: dict[str, Entry] = {}
    for e in entries:
        held = best.get(e.spec.family)
        if held is None or (e.spec.eps or 0) >= (held.spec.eps or 0):
            best[e.spec.family] = e
    return best


def point(x: float, raw: Mapping, metric: str, label: str) -> Point | None:
    """The score of one table line as a point with its interval."""
    y = number(raw.get(metric))
    if y is None:
        return None
    pair = interval(raw, metric)
    note = f"{label}: {plain_label(metric)} {percent(y)} %" + (f" (95 % {span(pair)})" if pair else "")
    return Point(x, y, pair[0] if pair else None, pair[1] if pair else None, note)


def eps_ticks(texts: Mapping[float, str]) -> tuple[list[tuple[float, str]], str]:
    """Ticks of the ε axis; multiples of 1/255 are written as whole numbers and the axis says so."""
    values = sorted(texts)
    of_255 = all(t.endswith("/255") for t in texts.values())
    shown = [(v, texts[v].removesuffix("/255")) for v in values]
    return [(0.0, "0"), *shown], "ε in 1/255 of the pixel range" if of_255 else "ε"


def curve_figures(run: Run, metric: str) -> list[Figure]:
    """Score over ε for each norm and region in use, from the clean score at ε = 0; the worst case on top."""
    clean, figures, style = run.summary["clean"], [], styles(run.entries)
    balls = [e for e in run.entries if e.spec.eps]
    for norm, region in dict.fromkeys((e.spec.norm, e.spec.region) for e in balls):
        group = [e for e in balls if (e.spec.norm, e.spec.region) == (norm, region)]
        texts = {e.spec.eps: e.spec.eps_text for e in group}
        start = point(0.0, clean, metric, "clean")
        drawn = []
        for family in dict.fromkeys(e.spec.family for e in group):
            mine = sorted((e for e in group if e.spec.family == family), key=lambda e: e.spec.eps or 0)
            made = [
                point(e.spec.eps or 0.0, e.raw, metric, f"{style[family].label}, ε = {e.spec.eps_text}") for e in mine
            ]
            if any(made):
                points = [p for p in [start, *made] if p]
                drawn.append(Series(style[family].label, points, style[family].style, style[family].kind))
        worst = run.summary.get("worst_case_by_eps") or {}
        named = {e.spec.ball: e.spec.eps or 0.0 for e in group}
        made = [
            point(value, worst[ball], metric, f"worst case, ε = {ball}")
            for ball, value in sorted(named.items(), key=lambda item: item[1])
            if isinstance(worst.get(ball), Mapping)
        ]
        if any(made):
            drawn.append(Series("worst case", [p for p in [start, *made] if p], 0, "worst"))
        if not drawn:
            continue
        ticks, axis = eps_ticks({k: v for k, v in texts.items() if k and v})
        label = NORMS.get(norm, norm)
        title = f"{plain_label(metric)} as the {label} ball grows" + (f" in {region}" if region else "")
        note = "Bands and hover: 95 % bootstrap over images."
        if len(ticks) < 3:
            note += " Only one ε was measured: the lines join two points and say nothing about what lies between."
        chart = line_chart(
            drawn,
            ticks=ticks,
            title=title,
            x_title=axis,
            y_title=f"{plain_label(metric)} in %",
            description=describe(drawn),
        )
        figures.append(Figure(title, chart, drawn, note))
    return figures


def describe(series: Sequence[Series]) -> str:
    """The chart in words: where each line ends."""
    ends = [f"{s.label} ends at {percent(s.points[-1].y)} %" for s in series if s.points]
    return "; ".join(ends)


def clean_series(values: Mapping[str, float | None], order: Sequence[str], what: str) -> Series:
    """Hollow rings: the clean score of each row."""
    points = [
        Point(i, y, note=f"{name}, clean: {what} {percent(y)} %")
        for i, name in enumerate(order)
        if (y := values.get(name)) is not None
    ]
    return Series("clean", points, 0, "clean")


def strip_series(run: Run, table: str, order: Sequence[str], what: str) -> list[Series]:
    """One marker series per family at its largest ε, over the rows in ``order``."""
    style, made = styles(run.entries), []
    for family, e in strongest_eps(run.entries).items():
        values = e.table(table)
        points = [
            Point(i, y, note=f"{name}, {style[family].label}: {what} {percent(y)} %")
            for i, name in enumerate(order)
            if (y := values.get(name)) is not None
        ]
        if points:
            made.append(Series(style[family].label, points, style[family].style, style[family].kind))
    return made


def class_figure(run: Run, table: str = "IoU", what: str = "IoU") -> Figure | None:
    """A score of each class, clean and under every attack at its largest ε; the classes that lose most come first.

    ``table``: its name in the summary (``IoU``, ``PQ_per_class``, ``AP_per_class``).
    """
    clean = {k: v for k, v in numbers(run.summary["clean"].get(table)).items() if v is not None}
    if not clean:
        return None
    hit = [e.table(table) for e in strongest_eps(run.entries).values() if not e.spec.noise]

    def loss(name: str) -> float:
        return clean[name] - min((v for t in hit if (v := t.get(name)) is not None), default=clean[name])

    order = sorted(clean, key=loss, reverse=True)
    series = [clean_series(clean, order, what), *strip_series(run, table, order, what)]
    chart = strip_chart(
        [(name, "") for name in order], series, title=f"{what} by class", x_title=f"{what} in %",
        description=f"Largest loss: {order[0]}, {percent(loss(order[0]))} points.",
    )  # fmt: skip
    return Figure(
        f"{what} by class", chart, series, "At the largest ε of each attack; the class that loses most stands first."
    )


def size_figure(run: Run) -> Figure | None:
    """How many of the objects are still recognised, by their size."""
    clean = {k: v for k, v in numbers(run.summary["clean"].get("recall")).items() if v is not None}
    order = [s for s in ("small", "medium", "large") if s in clean]
    if not order:
        return None
    series = [clean_series(clean, order, "recall"), *strip_series(run, "recall", order, "recall")]
    counts = numbers(run.summary["clean"].get("objects"))
    rows = [(name, f"n = {thousands(counts[name])}" if counts.get(name) is not None else "") for name in order]
    chart = strip_chart(rows, series, title="Recall by object size", x_title="recall in %")
    note = "Objects of the truth; small: under 32² pixels, medium: under 96², large: the rest."
    return Figure("Recall by object size", chart, series, note)


def gradient_figure(run: Run) -> Figure | None:
    """Best score so far against gradients spent, mean over images, middle half of the images as a band."""
    style = styles(run.entries)
    series, last, aimed = [], 1.0, []
    for family, e in strongest_eps(run.entries).items():
        if e.targeted:  # its score is that of its goal, which is no share of wrong pixels
            aimed.append(style[family].label)
            continue
        found = trace_curves(run.rows.get(e.spec.text, ()))
        if len(found) < 2:
            continue
        points = [Point(float(k), mean, low, high, "") for k, mean, low, high in found]
        end = points[-1]
        note = f"{style[family].label}: {percent(end.y)} % after {thousands(end.x)} gradients"
        points[-1] = Point(end.x, end.y, end.low, end.high, note)
        series.append(Series(style[family].label, points, style[family].style, style[family].kind))
        last = max(last, end.x)
    if not series:
        return None
    first = leading(run.summary)
    wrong = first in ("mIoU", "accuracy")
    unit = "images" if first == "accuracy" else "pixels"
    pace = max(1, round(last / 5))
    spots = [*range(pace, round(last - 0.4 * pace), pace), round(last)]
    chart = line_chart(
        series, ticks=[(0.0, "0"), *((float(s), thousands(s)) for s in spots)], title="What a gradient buys",
        x_title="gradients spent per image", y_title=f"wrong {unit} in %" if wrong else "harm in %",
        description=describe(series), step=True,
    )  # fmt: skip
    what = f"share of counted {unit} that are wrong" if wrong else "what it destroys, as the attack itself counts it"
    note = (
        f"Best score so far ({what}), mean over images; "
        "band: the middle half of the images. A curve that still climbs at its end was stopped too early."
    )
    if aimed:
        note += f" Left out, because they pursue a goal of their own: {', '.join(aimed)}."
    return Figure("What a gradient buys", chart, series, note)
