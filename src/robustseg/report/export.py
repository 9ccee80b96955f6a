"""One line per image × attack, statistics in columns, as CSV (standard library) or Parquet (pyarrow)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from robustseg.errors import UserError
from robustseg.report.load import Run, load
from robustseg.report.specs import parse

__all__ = ["export", "records"]

COUNTS = ("valid", "right", "clean_right", "flipped")
SEGMENTS = ("instance", "boxes", "boundary", "prompted", "fates")
PLAIN = (
    "position",
    "content",
    "status",
    "error",
    "budget_f",
    "budget_b",
    "forwards",
    "backwards",
    "seconds",
    "batch",
    "device",
)


def export(folder: str | Path, to: Literal["csv", "parquet"] = "csv", out: str | Path | None = None) -> Path:
    """Writes every row of the newest run in ``folder`` to ``out`` (default: ``rows.csv`` or ``rows.parquet`` in it).

    Clean images are rows with the attack ``clean``. ``inter:CLASS``, ``pred:CLASS`` and ``target:CLASS`` are pixel
    counts; ``objects`` and ``trace`` are JSON texts. Runs with segments have ``iou:CLASS``, ``tp:CLASS``, ``fp:CLASS``
    and ``fn:CLASS`` of PQ, and the JSON texts ``instance``, ``boxes``, ``boundary``, ``prompted`` and ``fates``. Raises
    UserError for an unknown format, a missing pyarrow, a full disk.
    """
    if to not in ("csv", "parquet"):
        raise UserError(f"cannot export to {to!r}; choose csv or parquet")
    run = load(folder)
    path = Path(out) if out else run.folder / f"rows.{to}"
    rows = list(records(run))
    names = list(dict.fromkeys(name for row in rows for name in row))
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (write_csv if to == "csv" else write_parquet)(part, names, rows)
        part.replace(path)
    except OSError as problem:
        raise UserError(
            f"cannot write {path} ({problem.strerror or problem}); free space or choose another --out"
        ) from None
    return path


def records(run: Run) -> Iterator[dict[str, Any]]:
    """The rows as flat dictionaries, clean images first."""
    classes = [str(c) for c in run.summary.get("classes") or run.info.get("classes") or []]
    shared = {"model": run.summary.get("model"), "data": run.summary.get("data"), "seed": run.summary.get("seed")}
    parts = {name for rows in run.rows.values() for row in rows for name in row.stats or {}}
    for text, rows in run.rows.items():
        spec, config = parse(text or "clean"), run.configs.get(run.keys[text], {})
        ball = {"attack": spec.name, "spec": spec.text, "eps": config.get("eps"), "norm": config.get("norm")}
        for row in rows:
            stats = row.stats or {}
            flat = {**shared, **ball, "key": row.key, "image": row.image, **{n: getattr(row, n) for n in PLAIN}}
            flat.update({n: stats.get(n) for n in COUNTS})
            valid = stats.get("valid")
            flat["aAcc"] = stats["right"] / valid if valid else None
            for table in ("inter", "pred", "target"):
                flat.update(
                    {f"{table}:{c}": v for c, v in zip(classes, stats.get(table) or [None] * len(classes), strict=True)}
                )
            flat.update(of_segments(stats, classes, parts))
            flat["objects"] = as_text(stats.get("objects"))
            flat.update({n: (row.norms or {}).get(n) for n in ("linf", "l2", "l0")})
            flat.update({f"goal:{n}": v for n, v in (row.extra or {}).items() if n != "jpeg"})
            flat["trace"] = as_text(row.trace)
            yield flat


def of_segments(stats: Mapping[str, Any], classes: list[str], parts: set[str]) -> Iterator[tuple[str, Any]]:
    """The columns of what rows know beyond class counts; ``parts``: what some row of the run has."""
    if "panoptic" in parts:
        sums = stats.get("panoptic") or {}
        for name in ("iou", "tp", "fp", "fn"):
            values = sums.get(name) or [None] * len(classes)
            yield from ((f"{name}:{c}", v) for c, v in zip(classes, values, strict=True))
    for name in SEGMENTS:
        if name in parts:
            yield name, as_text(stats.get(name))


def as_text(value: Any) -> str | None:
    """JSON of a list, None where there is none."""
    return None if value is None else json.dumps(value, separators=(",", ":"))


def write_csv(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    """Comma separated, UTF-8, one header; what does not exist is empty; numbers keep all their digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    """Typed columns, zstd."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError('Parquet needs pyarrow; pip install "robustseg[export]", or export to csv') from None
    table = pyarrow.table({n: [row.get(n) for row in rows] for n in names})
    parquet.write_table(table, path, compression="zstd")
