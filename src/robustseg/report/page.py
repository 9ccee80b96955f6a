"""``report(DIR)``: one self-contained HTML page from what a run left in its folder. No torch, no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report import distances, table, text
from robustseg.report.blocks import balls, costs, extras, groups, heat, more
from robustseg.report.charts import (
    class_figure,
    curve_figures,
    gradient_figure,
    size_figure,
    strongest_eps,
    styles,
)
from robustseg.report.commands import commands
from robustseg.report.fates import MEANING, bars, lines, share
from robustseg.report.load import Entry, Run, interval, load, number, read_json, read_summary
from robustseg.report.metrics import bounded, columns, curves, has, label, leading, plain_label, tiles
from robustseg.report.pictures import gallery
from robustseg.report.svg import swatch
from robustseg.report.table import fits
from robustseg.report.words import DEFINITIONS, TERMS, cautions, headline

__all__ = ["environment", "html", "markdown", "members", "report", "write"]

PROBLEMS_SHOWN = 40
OF_PATCHES = {"board": "board", "photos": "photos", "placed": "photos"}  # kind of a summary -> whose page it is
OF_PIXELS = ("aAcc", "mIoU", "NmIoU", "APSR", "solved", "relative_drop", "recall")  # no numbers of a classifier
BY_CLASS = (("PQ_per_class", "PQ"), ("AP_per_class", "AP"), ("accuracy_per_class", "accuracy"), ("IoU", "IoU"))


def report(folder: str | Path) -> Path:
    """Writes ``folder/report.html`` from the run in ``folder`` and returns its path.

    The page needs no network and nothing beside it. Of several models that were attacked together each has a page in
    its own folder, and ``folder/report.html`` puts them side by side. Raises UserError where files are missing or
    damaged.
    """
    folders = members(Path(folder))
    kind = read_json(Path(folder) / "summary.json", required=False).get("kind")
    if kind in OF_PATCHES:
        return import_module(f"robustseg.report.{OF_PATCHES[kind]}").page(folder)
    if folders:
        from robustseg.report.compare import compare

        for one in folders:
            report(one)
        return compare(folders, Path(folder) / "report.html")
    run = load(folder)
    return write(run.folder / "report.html", html(run))


def members(folder: Path) -> list[Path]:
    """The folders of the models that a run attacked together; empty for a run on one model."""
    found = read_json(folder / "summary.json", required=False).get("models") if folder.is_dir() else None
    return [folder / str(m["folder"]) for m in found or () if isinstance(m, dict) and "folder" in m]


def markdown(folder: Path) -> str:
    """The table of a run as Markdown; of several models one for each, under its name."""
    parts = members(folder)
    if not parts:
        return table.markdown(read_summary(folder))
    found = [read_summary(one) for one in parts]
    return "\n".join(f"{s['model']}\n\n{table.markdown(s)}" for s in found)


def html(run: Run) -> str:
    """The page as text."""
    entries, info = run.entries, {**run.info, **run.config}
    kept, fated = gallery(run), lines(run)
    return environment().get_template("report.html.j2").render(
        run=run,
        s=run.summary,
        title=f"{run.subject} on {run.summary.get('data', '?')}",
        sentence=headline(run),
        cautions=cautions(run),
        groups=list(groups(run)),
        figures=[f for name in curves(run.summary) for f in curve_figures(run, name)],
        classes=[f for f in (class_figure(run, *what) for what in BY_CLASS) if f],
        heats=[(what, heat(run, table, what)) for table, what in BY_CLASS],
        sizes=size_figure(run),
        gradients=gradient_figure(run),
        costs=costs(entries),
        fits=fits(run.summary),
        extras=extras(entries),
        distances=distances.rows(entries),
        distance_figures=distances.figures(run),
        more=more(entries, columns(run.summary)),
        tasks=", ".join(map(str, run.summary.get("tasks") or [run.summary.get("task", "semantic")])),
        columns=columns(run.summary),
        bounded=bounded,
        label=label,
        tiles=tiles(run.summary),
        semantic=leading(run.summary) in ("mIoU", "accuracy"),
        troubled=any(e.count(n) for e in entries for n in ("violations", "failed", "not_applicable")),
        gallery=kept,
        fated=fated,
        fate_chart=bars(fated) if fated else None,
        fate_meaning=MEANING,
        fate_share=share,
        tabs=max((len(c.attacks) for c in kept.cards), default=0),
        problems=problems(run),
        definitions=definitions(run.summary),
        settings=list(flat({k: v for k, v in info.items() if k not in ("argv", "attacks", "clean")})),
        commands=commands(run, (kept.cards[0].id, kept.cards[0].attacks[0].spec) if kept.cards else None),
        families=sum(not e.spec.noise for e in strongest_eps(entries).values()),
        balls=balls(entries),
        short=short_names(entries),
        clean_ci=lambda name: interval(run.summary["clean"], name),
        ci_of=interval,
    )  # fmt: skip


@cache
def environment() -> Any:
    """Templates with escaping on: ids, class names and errors come from files that anybody may have written."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("robustseg.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=text.percent, span=text.span, thousands=text.thousands, seconds=text.seconds, number=number
    )
    script = asset("slider.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made.globals.update(
        plain_label=plain_label, swatch=swatch, style=asset("style.css"), script=script, script_hash=f"sha256-{digest}"
    )
    return made


def asset(name: str) -> Any:
    """A file of the folder ``assets`` as trusted text."""
    from markupsafe import Markup

    return Markup((files("robustseg.report") / "assets" / name).read_text(encoding="utf-8"))


def write(path: Path, content: str) -> Path:
    """Writes beside and renames, so that a reader never sees half a page."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    except OSError as problem:
        raise UserError(f"cannot write {path} ({problem.strerror}); free space or choose another folder") from None
    return path


def short_names(entries: Sequence[Entry]) -> Callable[[str], str]:
    """spec -> the label that charts use and its ball, for buttons."""
    style, found = styles(entries), {e.spec.text: e.spec for e in entries}

    def short(text: str) -> str:
        spec = found.get(text)
        return (
            text
            if spec is None
            else f"{style[spec.family].label} · {spec.ball}"
            if spec.eps
            else style[spec.family].label
        )

    return short


def problems(run: Run) -> dict[str, Any]:
    """Rows without a score, by attack and reason: ``(spec, status, reason, image ids)``, most images first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for spec, rows in run.rows.items():
        for row in rows:
            if row.status in ("failed", "violation"):
                found.setdefault((spec or "clean", row.status, row.error or ""), []).append(row.image)
    lines = sorted(((*why, images) for why, images in found.items()), key=lambda p: -len(p[3]))
    return {"rows": lines[:PROBLEMS_SHOWN], "more": max(0, len(lines) - PROBLEMS_SHOWN)}


def definitions(summary: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Every term with what the evaluation itself says it computed, then what helps to read it."""
    own = summary.get("definitions")
    found: dict[str, list[Any]] = {}
    for name, meaning in own.items() if isinstance(own, Mapping) else ():
        found.setdefault(str(name), []).append(str(meaning))
    for name, meaning in DEFINITIONS.items():
        found.setdefault(name, []).append(meaning)
    if not any(e.get("distance") for e in summary["attacks"].values()):
        found.pop("distance", None)
    of_pixels = OF_PIXELS if leading(summary) == "accuracy" else ()
    for name in ("PQ", "AP", "mBIoU", "IoU_prompted", "fates", "accuracy", *of_pixels):
        if not has(summary, name) and not (summary["clean"].get(name) and name == "fates"):
            found.pop(name, None)  # no such number on this page
    return [(TERMS.get(name, name), meanings) for name, meanings in found.items()]


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines ``a.b: value``; long lists are counted, not printed."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, key + ".")
        elif isinstance(value, list) and len(value) > 24:
            yield key, f"{', '.join(map(str, value[:24]))} … ({len(value)} in all)"
        elif isinstance(value, list):
            yield key, ", ".join(map(str, value))
        else:
            yield key, "–" if value is None else str(value)
