"""The attacks of a run as a table for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustseg.report import distances
from robustseg.report.load import Entry, entries, interval
from robustseg.report.metrics import has, leading
from robustseg.report.specs import ball_order
from robustseg.report.text import NONE, percent, seconds, span, thousands

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["fits", "goals", "markdown", "table"]

SCORES = {  # the leading one is followed by its interval
    "PQ": ("PQ", "PQ_th", "PQ_st", "SQ", "RQ", "AP", "AP50", "mIoU", "aAcc", "ASR"),
    "AP": ("AP", "AP50", "AP_box", "mIoU", "aAcc", "ASR"),
    "IoU_prompted": ("IoU_prompted",),
    "accuracy": ("ASR", "accuracy", "mAcc"),
    "mIoU": ("aAcc", "mIoU", "NmIoU", "ASR"),
}
TAIL = ("gradients", "s/img", "problems")
EXPENDABLE = ("NmIoU", "s/img", "SQ", "RQ", "gradients", "AP50", "95 %", "AP_box", "ASR", "PQ_st", "PQ_th", "problems",
              "aAcc")  # fmt: skip


def head(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns: name, ε, scores with the interval after the leading one, cost, problems."""
    first = leading(summary)
    names = [n for n in SCORES[first] if first == "mIoU" or has(summary, n)]
    at = names.index(first) + 1
    return ("attack", "ε", *names[:at], "95 %", *names[at:], *TAIL)


def lines(summary: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """``(kind, cells)``: clean, attacks by growing ε with the strongest last, the worst case of each ε."""
    clean, first, names = summary["clean"], leading(summary), head(summary)
    made = [("clean", score_cells(names, "clean", "", clean, first))]

    def order(e: Entry) -> tuple[float, bool, float]:
        value = e.get(first)
        return (
            e.spec.eps if e.spec.eps is not None else float("inf"),
            not e.spec.noise,
            -(value if value is not None else 2),
        )

    for e in sorted(entries(summary), key=order):
        na = f"{e.count('not_applicable')} n/a" if e.count("not_applicable") else ""
        cells = score_cells(names, label(e), e.spec.ball if e.spec.eps_text else distances.needed(e), e.raw, first)
        tail = (
            thousands(e.get("backwards")),
            seconds(e.get("seconds_per_image")),
            ", ".join(p for p in (e.problems, na) if p),
        )
        made.append(("noise" if e.spec.noise else "attack", (*cells[: -len(TAIL)], *tail)))
    worst = summary.get("worst_case_by_eps") or {}
    for ball, found in sorted(worst.items(), key=lambda w: ball_order(w[0])):
        made.append(("worst", score_cells(names, "worst case", ball, found, first)))
    return made


def label(e: Entry) -> str:
    """Name and options, without ε."""
    name, _, options = e.spec.family.partition(":")
    return " ".join([name, ", ".join(o for o in (e.hides, options.replace(",", ", ")) if o)]).strip()


def goals(summary: Mapping[str, Any]) -> list[str]:
    """What the targeted attacks reached, one line each: the share hidden, kept and so on, in %."""
    found = []
    for e in entries(summary):
        reached = {n: v for n, v in e.table("extra").items() if v is not None}
        if reached:
            said = ", ".join(f"{n.replace('_', ' ')} {percent(v)} %" for n, v in reached.items())
            found.append(f"{label(e)} at ε = {e.spec.ball}: {said}")
    return found


def fits(summary: Mapping[str, Any]) -> list[str]:
    """What attacks spent on other images beforehand, one line each: no part of their gradients an image."""
    found = []
    for e in entries(summary):
        about = e.raw.get("fitted")
        if isinstance(about, Mapping) and about.get("backwards"):
            spent = f"{about['backwards']} gradients and {about.get('forwards')} forwards on {about.get('fitted_on')}"
            found.append(f"{label(e)} at ε = {e.spec.ball}: fitted once, with {spent}")
    return found


def score_cells(names: Sequence[str], name: str, ball: str, raw: Mapping[str, Any], first: str) -> tuple[str, ...]:
    """The cells of a line that has scores only; ``first``: the score whose interval is shown."""
    ci = span(interval(raw, first)) or NONE
    scores = [ci if n == "95 %" else percent(raw[n]) if n in raw else "" for n in names[2 : -len(TAIL)]]
    return (name, ball, *scores, *[""] * len(TAIL))


def table(summary: Mapping[str, Any], *, width: int | None = None) -> Table:
    """A rich Table in %. On a terminal narrower than ``width`` needs, whole columns go, never digits.

    Problems are red, the noise baseline is dim, the worst case bold. ``width`` is the terminal's own by default.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names, rows = head(summary), lines(summary)
    kept = fitting([names, *(cells for _, cells in rows)], width or Console().width)
    gone = [names[i] for i in range(len(names)) if i not in kept and any(cells[i] for _, cells in rows)]
    caption = "scores in %" + (f"; too narrow for {', '.join(gone)}" if gone else "")
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption=caption, caption_justify="left")
    for i in kept:
        wide = names[i] in ("attack", "problems")
        made.add_column(names[i], overflow="fold", justify="left" if wide else "right", no_wrap=not wide)
    last = "clean"
    for kind, cells in rows:
        if (kind == "worst") != (last == "worst") or last == "clean":
            made.add_section()
        style = {"noise": "dim", "worst": "bold"}.get(kind, "")
        bad = "failed" in cells[-1] or "violation" in cells[-1]
        made.add_row(
            *(Text(cells[i], style="bold red" if bad and i == len(names) - 1 else "") for i in kept), style=style
        )
        last = kind
    return made


def fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Indices of the columns that fit: the least important go first; names and problems may fold."""
    names = list(rows[0])
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    least = {0: min(widths[0], 15), len(names) - 1: min(widths[-1], 11)}
    kept = list(range(len(names)))
    if not any(row[-1] for row in rows[1:]):
        kept.remove(len(names) - 1)
    for name in EXPENDABLE:
        if sum(least.get(i, widths[i]) + 3 for i in kept) <= width:
            break
        if name in names and names.index(name) in kept:
            kept.remove(names.index(name))
    return kept


def markdown(summary: Mapping[str, Any]) -> str:
    """The same as a Markdown table; pipes in names are escaped."""
    names = head(summary)
    rows = [names, ("---", *["---:"] * (len(names) - 2), "---")]
    rows += [tuple(plain(c) for c in cells) for _, cells in lines(summary)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def plain(cell: str) -> str:
    """A cell that cannot break out of its Markdown table.

    >>> plain("a|b<c")
    'a\\\\|b&lt;c'
    """
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
