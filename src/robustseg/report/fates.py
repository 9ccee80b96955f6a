"""What became of the segments: over the set as bars and numbers, and one by one for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from robustseg.report.charts import strongest_eps, styles
from robustseg.report.load import Run, number
from robustseg.report.svg import WIDTH, el, frame, shorten
from robustseg.report.text import percent, thousands

__all__ = ["FATES", "MEANING", "Fate", "Line", "Listed", "bars", "lines", "of_image", "prompts"]

TRUE = ("kept", "flipped", "merged", "split", "lost")  # every true segment has one of these
FATES = (*TRUE, "invented")
MEANING = {
    "kept": "a predicted segment of its class has IoU > 1/2 with it",
    "flipped": "one of another class has",
    "merged": "one segment of its class covers most of it and most of another true segment too",
    "split": "several segments of its class lie in it and together cover most of it",
    "lost": "none of these: its pixels went to nothing (void) or to something else",
    "invented": "a predicted segment that stands for no true one: a false positive",
}
SHOWN = 60  # segments listed under one picture


# ------------------------------------------------------------------------------------------------ over the set


@dataclass(frozen=True)
class Line:
    """The fates under one attack ("" = clean): ``counts``; ``newly``: of segments kept before, and newly invented."""

    spec: str
    label: str
    noise: bool
    counts: Mapping[str, int]
    newly: Mapping[str, int] | None
    classes: Mapping[str, Mapping[str, int]]

    @property
    def true(self) -> int:
        """True segments in all."""
        return sum(self.counts[f] for f in TRUE)

    @property
    def had(self) -> int:
        """Segments that the clean prediction kept."""
        return sum(self.newly[f] for f in TRUE) if self.newly else 0

    @property
    def taken(self) -> int:
        """Of these, how many the attack took."""
        return self.had - self.newly["kept"] if self.newly else 0


def counted(table: Any) -> dict[str, int]:
    """The counts of a JSON table, 0 for what is missing."""
    found = table if isinstance(table, Mapping) else {}
    return {f: int(number(found.get(f)) or 0) for f in FATES}


def line(raw: Mapping[str, Any], spec: str, label: str, noise: bool = False) -> Line | None:
    """The fates of one entry of the summary; None where it has none."""
    found = raw.get("fates")
    if not isinstance(found, Mapping):
        return None
    newly = counted(found["newly"]) if isinstance(found.get("newly"), Mapping) else None
    classes = found.get("classes")
    each = {str(n): counted(t) for n, t in classes.items()} if isinstance(classes, Mapping) else {}
    present = {n: t for n, t in each.items() if any(t.values())}
    return Line(spec, label, noise, counted(found.get("all")), newly, present)


def lines(run: Run) -> list[Line]:
    """Clean, then each attack at its largest ε: the one that keeps fewest first, noise last."""
    clean = line(run.summary["clean"], "", "clean")
    if clean is None:
        return []
    style = styles(run.entries)
    made = [line(e.raw, e.spec.text, style[f].label, e.spec.noise) for f, e in strongest_eps(run.entries).items()]
    rest = sorted((m for m in made if m), key=lambda m: (m.noise, m.counts["kept"] / max(1, m.true)))
    return [clean, *rest]


def bars(found: Sequence[Line]) -> Markup:
    """Stacked bars: true segments by fate as shares of all, and beside them how many were invented per 100 true."""
    left, wide, gap, pitch, top = 108.0, 236.0, 14.0, 27, 22
    room = WIDTH - left - wide - gap - 30
    most = max([100.0, *(100 * m.counts["invented"] / max(1, m.true) for m in found)])
    parts = [
        el("text", "true segments, %", x=left, y=12, cls="tick"),
        el("text", "invented per 100", x=left + wide + gap, y=12, cls="tick"),
    ]
    for row, m in enumerate(found):
        y = float(top + pitch * row)
        parts.append(el("text", shorten(m.label, 16), x=left - 9, y=y + 14, cls="row", text_anchor="end"))
        x = left
        for fate in TRUE:
            share = m.counts[fate] / max(1, m.true)
            if not share:
                continue
            note = f"{m.label}: {m.counts[fate]} of {m.true} {fate} ({percent(share)} %)"
            box = el("rect", el("title", note), x=x, y=y, width=wide * share, height=19, cls=f"fate {fate}")
            parts.append(box)
            if share > 0.09:
                parts.append(el("text", f"{100 * share:.0f}", x=x + wide * share / 2, y=y + 13.5, cls="in"))
            x += wide * share
        per = 100 * m.counts["invented"] / max(1, m.true)
        at = left + wide + gap
        note = f"{m.label}: {m.counts['invented']} invented, {per:.0f} per 100 true segments"
        parts.append(
            el("rect", el("title", note), x=at, y=y, width=max(1.0, room * per / most), height=19, cls="fate invented")
        )
        parts.append(el("text", f"{per:.0f}", x=at + max(1.0, room * per / most) + 4, y=y + 13.5, cls="tick"))
    said = "; ".join(f"{m.label} keeps {m.counts['kept']} of {m.true}, invents {m.counts['invented']}" for m in found)
    return frame("What became of the segments", said, top + pitch * len(found) + 4, *parts)


# ------------------------------------------------------------------------------------------------ of one image


@dataclass(frozen=True)
class Fate:
    """One segment of an image: its number in the picture, class and colour, what became of it and into what."""

    number: str
    name: str
    colour: str
    fate: str
    other: str
    area: int
    iou: float | None
    before: str
    changed: bool


@dataclass(frozen=True)
class Listed:
    """The segments of an image under one attack, changed ones first; ``more``: how many are not listed."""

    counts: Mapping[str, int]
    rows: Sequence[Fate]
    more: int = 0
    clean: bool = False


def of_image(stats: Mapping[str, Any] | None, classes: Sequence[str], colours: Sequence[str]) -> Listed | None:
    """The fates in a row's statistics; ``colours[t]``: CSS colour of true segment t. None where it has no fates."""
    entries = (stats or {}).get("fates")
    if not isinstance(entries, Sequence):
        return None
    found, true, invented = [], 0, 0
    for c, fate, area, iou, other, before in entries:
        if fate == "invented":
            invented += 1
            what, colour = f"+{invented}", ""
        else:
            what, colour = str(true + 1), colours[true] if true < len(colours) else ""
            true += 1
        changed = (before == "kept" and fate != "kept") or (fate == "invented" and before is None)
        found.append(
            Fate(what, named(classes, c), colour, fate, became(fate, other, classes), int(area), number(iou),
                 before or "–", changed)
        )  # fmt: skip
    counts = {f: sum(r.fate == f for r in found) for f in FATES}
    found.sort(key=lambda r: (r.fate == "kept", not r.changed, r.fate == "invented", -r.area))
    known = any(e[5] is not None for e in entries)
    return Listed(counts, found[:SHOWN], max(0, len(found) - SHOWN), clean=known)


def named(classes: Sequence[str], c: Any) -> str:
    """A class by its index."""
    return classes[c] if isinstance(c, int) and 0 <= c < len(classes) else "?"


def became(fate: str, other: Any, classes: Sequence[str]) -> str:
    """What stands where the segment was."""
    name = named(classes, other) if other is not None else "nothing"
    return {
        "flipped": name,
        "merged": f"one with {name}",
        "lost": "nothing" if other is None else f"mostly {name}",
        "invented": f"on {name}",
    }.get(fate, "")


def prompts(stats: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> list[tuple[int, float, float | None]]:
    """Number, IoU and clean IoU of the answer to every prompt, the worst first."""
    now = ((stats or {}).get("prompted") or {}).get("iou") or []
    was = ((before or {}).get("prompted") or {}).get("iou") or []
    rows = [(k + 1, float(v), float(was[k]) if k < len(was) else None) for k, v in enumerate(now)]
    return sorted(rows, key=lambda r: r[1])[:SHOWN]


def share(part: int, whole: int) -> str:
    """A count with its share: ``12 (40.0 %)``.

    >>> share(1, 4), share(0, 0)
    ('1 (25.0 %)', '0')
    """
    return f"{thousands(part)} ({percent(part / whole)} %)" if whole else thousands(part)
