"""The tables of the page: attacks ball by ball, classes, costs, and what only some attacks have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustseg.report.charts import strongest_eps, styles
from robustseg.report.load import Entry, Run, numbers
from robustseg.report.metrics import MORE, leading

__all__ = ["Group", "balls", "costs", "extras", "groups", "heat", "more"]


@dataclass(frozen=True)
class Group:
    """The attacks in one ball, strongest first, noise last; ``worst``: the worst case over them, where computed."""

    ball: str
    entries: Sequence[Entry]
    worst: Mapping[str, Any] | None


def groups(run: Run) -> Iterator[Group]:
    """Blocks of the attack table: everywhere, then each region; norm by norm, largest ε first; without a ball last."""
    by_eps = run.summary.get("worst_case_by_eps") or {}
    norms = list(dict.fromkeys(e.spec.norm for e in run.entries))
    balls = {e.spec.ball: e.spec for e in run.entries}
    score = leading(run.summary)

    def place(ball: str) -> tuple[bool, str, int, float]:
        spec = balls[ball]
        return (spec.eps is None, spec.region or "", norms.index(spec.norm), -(spec.eps or 0.0))

    def order(e: Entry) -> tuple[bool, float]:
        value = e.get(score)
        return (e.spec.noise, 2.0 if value is None else value)

    for ball in sorted(balls, key=place):
        mine = [e for e in run.entries if e.spec.ball == ball]
        yield Group(ball, sorted(mine, key=order), by_eps.get(ball))


def heat(
    run: Run, table: str = "IoU", what: str = "IoU"
) -> tuple[list[tuple[str, str]], list[tuple[str, float, list[float | None]]]]:
    """Columns (label, spec) and rows (class, clean score, score under each attack at its largest ε)."""
    clean = {k: v for k, v in numbers(run.summary["clean"].get(table)).items() if v is not None}
    style, best = styles(run.entries), strongest_eps(run.entries)
    shown = {f: e for f, e in best.items() if e.table(table)}
    tables = [e.table(table) for e in shown.values()]
    columns = [(style[f].label, e.spec.text) for f, e in shown.items()]
    return columns if clean else [], [(name, value, [t.get(name) for t in tables]) for name, value in clean.items()]


def balls(entries: Sequence[Entry]) -> str:
    """The radii that were measured, in few characters."""
    texts = {e.spec.eps: e.spec.ball for e in entries if e.spec.eps}
    shown = [texts[v] for v in sorted(texts)]
    if len(shown) > 1 and all(t.endswith("/255") for t in shown):
        shown = [t.removesuffix("/255") for t in shown[:-1]] + shown[-1:]
    return ", ".join(shown) if len(shown) < 6 else f"{shown[0]} … {shown[-1]}"


def costs(entries: Sequence[Entry]) -> tuple[list[tuple[Entry, float]], list[tuple[Entry, float]]]:
    """Attacks with their time as a share of the slowest: at the largest ε of each, and all where that is more."""
    slowest = max((e.get("seconds_per_image") or 0.0 for e in entries), default=0.0)
    every = [(e, (e.get("seconds_per_image") or 0.0) / slowest if slowest else 0.0) for e in entries]
    best = {e.spec.text for e in strongest_eps(entries).values()}
    main = sorted((c for c in every if c[0].spec.text in best), key=lambda c: (c[0].spec.noise, -c[1]))
    return main, every if len(every) > len(main) else []


def extras(entries: Sequence[Entry]) -> tuple[list[str], list[tuple[Entry, dict[str, float | None]]]]:
    """Names and values of the scores that only some attacks have (share hidden, kept, off target)."""
    rows = [(e, e.table("extra")) for e in entries if e.table("extra")]
    return list(dict.fromkeys(n for _, t in rows for n in t)), rows


def more(
    entries: Sequence[Entry], shown_above: Sequence[str]
) -> tuple[list[str], list[tuple[Entry, list[float | None]]]]:
    """Scores that not everybody needs, and the largest norms that the referee measured."""
    shown = [n for n in MORE if n not in shown_above and any(e.get(n) is not None for e in entries)]
    norms = [n for n in ("linf", "l2", "l0") if any(e.table("norms").get(n) is not None for e in entries)]
    rows = [(e, [*(e.get(n) for n in shown), *(e.table("norms").get(n) for n in norms)]) for e in entries]
    return [*shown, *(f"largest {n}" for n in norms)], rows
