"""The attacks of a run as a table for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustseg.report.load import Entry, entries, interval
from robustseg.report.specs import ball_order
from robustseg.report.text import NONE, percent, seconds, span, thousands

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["goals", "markdown", "table"]

HEAD = ("attack", "ε", "aAcc", "mIoU", "95 %", "NmIoU", "ASR", "gradients", "s/img", "problems")
EXPENDABLE = ("NmIoU", "s/img", "gradients", "95 %", "ASR", "problems", "aAcc")


def lines(summary: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """``(kind, cells)``: clean, attacks by growing ε with the strongest last, the worst case of each ε."""
    clean = summary["clean"]
    made = [("clean", score_cells("clean", "", clean, span(interval(clean, "mIoU")) or NONE))]

    def order(e: Entry) -> tuple[float, bool, float]:
        value = e.get("mIoU")
        return (
            e.spec.eps if e.spec.eps is not None else float("inf"),
            not e.spec.noise,
            -(value if value is not None else 2),
        )

    for e in sorted(entries(summary), key=order):
        na = f"{e.count('not_applicable')} n/a" if e.count("not_applicable") else ""
        head = score_cells(label(e), e.spec.ball if e.spec.eps_text else "", e.raw, span(e.ci("mIoU")) or NONE)
        tail = (
            thousands(e.get("backwards")),
            seconds(e.get("seconds_per_image")),
            ", ".join(p for p in (e.problems, na) if p),
        )
        made.append(("noise" if e.spec.noise else "attack", (*head[:7], *tail)))
    worst = summary.get("worst_case_by_eps") or {}
    for ball, found in sorted(worst.items(), key=lambda w: ball_order(w[0])):
        made.append(("worst", score_cells("worst case", ball, found, span(interval(found, "mIoU")) or NONE)))
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


def score_cells(name: str, ball: str, raw: Mapping[str, Any], ci: str) -> tuple[str, ...]:
    """The ten cells of a line that has scores only."""
    scores = [percent(raw[k]) if k in raw else "" for k in ("aAcc", "mIoU", "NmIoU", "ASR")]
    return (name, ball, scores[0], scores[1], ci, scores[2], scores[3], "", "", "")


def table(summary: Mapping[str, Any], *, width: int | None = None) -> Table:
    """A rich Table in %. On a terminal narrower than ``width`` needs, whole columns go, never digits.

    Problems are red, the noise baseline is dim, the worst case bold. ``width`` is the terminal's own by default.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = lines(summary)
    kept = fitting([HEAD, *(cells for _, cells in rows)], width or Console().width)
    gone = [HEAD[i] for i in range(len(HEAD)) if i not in kept and any(cells[i] for _, cells in rows)]
    caption = "scores in %" + (f"; too narrow for {', '.join(gone)}" if gone else "")
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption=caption, caption_justify="left")
    for i in kept:
        wide = HEAD[i] in ("attack", "problems")
        made.add_column(HEAD[i], overflow="fold", justify="left" if wide else "right", no_wrap=not wide)
    last = "clean"
    for kind, cells in rows:
        if (kind == "worst") != (last == "worst") or last == "clean":
            made.add_section()
        style = {"noise": "dim", "worst": "bold"}.get(kind, "")
        bad = "failed" in cells[-1] or "violation" in cells[-1]
        made.add_row(
            *(Text(cells[i], style="bold red" if bad and i == len(HEAD) - 1 else "") for i in kept), style=style
        )
        last = kind
    return made


def fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Indices of the columns that fit: the least important go first; names and problems may fold."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    least = {0: min(widths[0], 15), len(HEAD) - 1: min(widths[-1], 11)}
    kept = list(range(len(HEAD)))
    if not any(row[-1] for row in rows[1:]):
        kept.remove(len(HEAD) - 1)
    for name in EXPENDABLE:
        if sum(least.get(i, widths[i]) + 3 for i in kept) <= width:
            break
        if HEAD.index(name) in kept:
            kept.remove(HEAD.index(name))
    return kept


def markdown(summary: Mapping[str, Any]) -> str:
    """The same as a Markdown table; pipes in names are escaped."""
    rows = [HEAD, ("---",) + ("---:",) * 8 + ("---",)]
    rows += [tuple(plain(c) for c in cells) for _, cells in lines(summary)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def plain(cell: str) -> str:
    """A cell that cannot break out of its Markdown table.

    >>> plain("a|b<c")
    'a\\\\|b&lt;c'
    """
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
