"""``compare([DIR, …])``: runs side by side, and every reason why they should not be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.charts import Figure, describe, eps_ticks, point
from robustseg.report.load import Run, interval, load, number, numbers
from robustseg.report.metrics import has, leading, plain_label, shared
from robustseg.report.page import environment, short_names, write
from robustseg.report.paired import difference
from robustseg.report.pictures import gallery
from robustseg.report.specs import ball_order, eps_value, labels, parse
from robustseg.report.svg import Point, Series, line_chart, strip_chart
from robustseg.report.text import percent
from robustseg.report.words import worst_ci

__all__ = ["compare", "warnings"]

BOTH = {  # in the configuration of a key, clean or attacked: what makes numbers speak of different things
    "data": "data (digest of images and labels)",
    "task": "task",
    "dtype": "dtype",
    "resize": "resize",
    "count": "pixels that count",
    "class_map": "class map",
}
ATTACK = {
    "version": "code version",
    "norm": "norm",
    "reference": "reference",
    "seed": "seed",
    "region": "region",
    "eight_bit": "8-bit rounding",
    "early_stop": "early stop",
    "artefact": "artefact",
    "code": "objective's code",
    "adaptive": "knowledge of the defence",
}


HEADS = ("PQ", "AP", "IoU_prompted", "accuracy", "mIoU", "aAcc")


def compare(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes one HTML page about several runs and returns its path; ``out``: a file, or a folder for ``compare.html``.

    The default lies beside the first folder. Raises UserError for fewer than two runs or a damaged one.
    """
    if len(folders) < 2:
        raise UserError("compare needs two or more folders; give the --out folders of `robustseg evaluate`")
    runs = [load(f) for f in folders]
    path = Path(out) if out else runs[0].folder.resolve().parent / "compare.html"
    if path.is_dir() or not path.suffix:
        path = path / "compare.html"
    names = run_names(runs)
    galleries = [(n, gallery(r, megabytes=8.0), short_names(r.entries)) for n, r in zip(names, runs, strict=True)]
    scores = shared([r.summary for r in runs])
    page = environment().get_template("compare.html.j2").render(
        runs=list(zip(names, runs, strict=True)),
        warnings=warnings(runs, names),
        figures=[f for score in scores for f in figures(runs, names, score)],
        tables=[(score, list(table(runs, score))) for score in scores],
        heads=[n for n in HEADS if any(has(r.summary, n) for r in runs)],
        classes=class_figures(runs, names),
        together=bool(runs[0].together) and all(r.together == runs[0].together for r in runs),
        worst_ci=worst_ci,
        m_ci=lambda cell, score: interval(cell, score) if cell else None,
        galleries=galleries,
        tabs=max((len(c.attacks) for _, kept, _ in galleries for c in kept.cards), default=0),
        styled=[Series(n, (), i) for i, n in enumerate(names)],
    )  # fmt: skip
    return write(path, page)


def run_names(runs: Sequence[Run]) -> list[str]:
    """The model where it tells the runs apart, else model and folder."""
    models = [r.subject for r in runs]
    plain = [
        m if models.count(m) == 1 else f"{m} ({r.folder.resolve().name})" for m, r in zip(models, runs, strict=True)
    ]
    return [n if plain.count(n) == 1 else f"{n} #{i + 1}" for i, n in enumerate(plain)]


def warnings(runs: Sequence[Run], names: Sequence[str] | None = None) -> list[str]:
    """Why the runs are not comparable, one line each; empty when only the model differs."""
    names = names or run_names(runs)
    found: list[str] = []

    def check(what: str, value: Callable[[Run], Any]) -> None:
        values = [value(r) for r in runs]
        if any(v != values[0] for v in values[1:]):
            said = "; ".join(f"{n}: {shown(v)}" for n, v in zip(names, values, strict=True))
            found.append(f"Different {what}. {said}.")

    check("data reference", lambda r: r.summary.get("data"))
    for key, what in BOTH.items():
        check(what, lambda r, key=key: r.configs.get(r.keys.get("", ""), {}).get(key))
    check("scored tasks", lambda r: r.summary.get("tasks") or ["semantic"])
    check("classes", lambda r: r.summary.get("classes"))
    check("number of images", lambda r: r.summary.get("images"))
    if all(r.rows for r in runs):
        contents = [{(w.image, w.content) for w in r.rows.get("", ())} for r in runs]
        common = set.intersection(*contents)
        if any(c != common for c in contents) and len({len(c) for c in contents}) == 1:
            found.append(f"Different images. {len(common)} of {len(contents[0])} are the same in all runs.")
    check("seed", lambda r: r.summary.get("seed"))
    check("set of ε", lambda r: sorted({e.spec.ball for e in r.entries}, key=ball_order))
    check("attacks", lambda r: sorted({e.spec.family for e in r.entries}))
    found += attack_warnings(runs, names)
    check(
        "number of results without a score", lambda r: sum(e.count("failed") + e.count("violations") for e in r.entries)
    )
    check("versions", lambda r: versions(r))
    return found


def attack_warnings(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What differs in the attacks that all runs share; attacks that differ in the same way stand in one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for spec in common_specs(runs):
        configs = [r.configs.get(r.keys.get(spec, ""), {}) for r in runs]
        seen = {what: [c.get(key) for c in configs] for key, what in ATTACK.items()}
        seen["planned gradients"] = [planned(r, spec) for r in runs]
        for what, values in seen.items():
            if any(v != values[0] for v in values[1:]):
                said = "; ".join(f"{n}: {shown(v)}" for n, v in zip(names, values, strict=True))
                alike.setdefault((what, said), []).append(spec)
    every = len(common_specs(runs))
    return [
        f"Different {what} ({'every attack' if len(specs) == every else shown(specs)}). {said}."
        for (what, said), specs in alike.items()
    ]


def planned(run: Run, spec: str) -> list[int] | None:
    """Forward and backward passes planned for an image, as the rows that were attacked say."""
    rows = [r for r in run.rows.get(spec, ()) if r.budget_f or r.budget_b]
    return [max(r.budget_f for r in rows), max(r.budget_b for r in rows)] if rows else None


def shown(value: Any) -> str:
    """A value in a warning, short."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    text = "none" if value is None else str(value)
    return text if len(text) <= 160 else text[:159] + "…"


def versions(run: Run) -> dict[str, str]:
    """Recorded versions of the program and of what computes."""
    table = run.config.get("versions") or run.info.get("versions") or {}
    return {str(k): str(v) for k, v in table.items()} if isinstance(table, Mapping) else {}


def common_specs(runs: Sequence[Run]) -> list[str]:
    """Attacks that every run has, in the order of the first."""
    return [s for s in runs[0].summary["attacks"] if all(s in r.summary["attacks"] for r in runs[1:])]


def table(runs: Sequence[Run], score: str = "mIoU") -> Iterator[dict[str, Any]]:
    """Lines of the comparison: clean, every attack of any run, worst case; differences of a score to the first run."""
    specs = dict.fromkeys(s for r in runs for s in r.summary["attacks"])
    for spec in ["", *specs]:
        cells = [r.summary["clean"] if not spec else r.summary["attacks"].get(spec) for r in runs]
        gaps = [difference(runs[0], r, spec, score) for r in runs[1:]]
        noise = bool(spec) and parse(spec).noise
        yield {
            "name": spec or "clean",
            "cells": cells,
            "gaps": gaps,
            "kind": "noise" if noise else "" if spec else "clean",
        }
    balls = dict.fromkeys(b for r in runs for b in r.summary.get("worst_case_by_eps") or {})
    for ball in sorted(balls, key=ball_order):
        cells = [(r.summary.get("worst_case_by_eps") or {}).get(ball) for r in runs]
        yield {"name": f"worst case, ε = {ball}", "cells": cells, "gaps": [None] * (len(runs) - 1), "kind": "worst"}


def figures(runs: Sequence[Run], names: Sequence[str], score: str = "mIoU") -> list[Figure]:
    """A score over ε: the worst case first, then every family that all runs share, one line a run."""
    made = []
    by_eps = [r.summary.get("worst_case_by_eps") or {} for r in runs]
    balls = sorted(dict.fromkeys(b for worst in by_eps for b in worst), key=ball_order)
    for kind in dict.fromkeys(ball_order(b)[1:3] for b in balls):  # region and norm
        lines = [{w["eps"]: w for b, w in worst.items() if ball_order(b)[1:3] == kind and w["eps"]} for worst in by_eps]
        if all(lines):
            region, norm = kind
            title = (
                f"{plain_label(score)}, worst case"
                + (f", {norm}" if norm else "")
                + (f" in {region}" if region else "")
            )
            made.append(overlay(title, runs, names, lines, score))
    families = list(dict.fromkeys(e.spec.family for e in runs[0].entries if e.spec.eps))
    called = labels(families)
    for family in families:
        lines = [{e.spec.eps_text: e.raw for e in r.entries if e.spec.family == family and e.spec.eps} for r in runs]
        if all(lines):
            made.append(overlay(f"{plain_label(score)}, {called[family]}", runs, names, lines, score))
    return [f for f in made if f]


def overlay(
    title: str, runs: Sequence[Run], names: Sequence[str], lines: Sequence[Mapping], score: str = "mIoU"
) -> Figure | None:
    """One chart with a line per run; ``lines`` map an ε text to a table with the score and ci95."""
    drawn, texts = [], {}
    for i, (run, name, line) in enumerate(zip(runs, names, lines, strict=True)):
        start = point(0.0, run.summary["clean"], score, f"{name}, clean")
        known = sorted((v, t) for t in line if (v := eps_value(t)))
        texts.update(known)
        points = [start, *(point(v, line[t], score, f"{name}, ε = {t}") for v, t in known)]
        drawn.append(Series(name, [p for p in points if p], i))
    if not texts:
        return None
    ticks, axis = eps_ticks(texts)
    y_title = f"{plain_label(score)} in %"
    chart = line_chart(drawn, ticks=ticks, title=title, x_title=axis, y_title=y_title, description=describe(drawn))
    return Figure(title, chart, drawn)


def class_figures(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """IoU, and PQ where all have it, by class: clean and in the worst case at the largest ε, one marker a run."""
    made = []
    what = [("PQ", "PQ_per_class")] if all(leading(r.summary) == "PQ" for r in runs) else []
    what += [("accuracy", "accuracy_per_class")] if all(leading(r.summary) == "accuracy" for r in runs) else []
    for word, key in [*what, ("IoU", "IoU")]:
        for place, part in (("clean", "clean"), ("worst case at the largest ε", "worst_case")):
            tables = [numbers((r.summary.get(part) or {}).get(key)) for r in runs]
            order = [c for c in tables[0] if any(number(t.get(c)) is not None for t in tables)]
            series = [Series(n, by_class(n, t, order), i) for i, (n, t) in enumerate(zip(names, tables, strict=True))]
            if order:
                title, rows = f"{word} by class, {place}", [(c, "") for c in order]
                made.append(Figure(title, strip_chart(rows, series, title=title, x_title=f"{word} in %"), series))
    return made


def by_class(run: str, values: Mapping[str, float | None], order: Sequence[str]) -> list[Point]:
    """A marker for every class that has a value."""
    found = [(k, c, values.get(c)) for k, c in enumerate(order)]
    return [Point(k, y, note=f"{c}, {run}: {percent(y)} %") for k, c, y in found if y is not None]
