"""The tables of ``docs/benchmarks.md``, made from ``results/*.json``: ``python -m benchmarks.tables`` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER

__all__ = ["TABLES", "filled"]

PAGE = FOLDER.parent.parent / "docs" / "benchmarks.md"
MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def overhead(found: dict[str, Any]) -> list[str]:
    """Ratios of every network and attack."""
    lines = [
        _machine(found) + f" Freed memory kept: {'yes' if found['keeps_freed_memory'] else 'no'}.",
        "",
        "| network | bare forward / step, CPU ms | attack | CPU ÷ bare CPU | wall ÷ bare wall |",
        "|---|---|---|---|---|",
    ]
    for run in found["runs"]:
        forward, step = (run["bare"][k]["cpu"]["median"] for k in ("forward", "step"))
        size = f"{run['batch']}x{run['size'][0]}x{run['size'][1]}"
        for i, row in enumerate(run["attacks"]):
            head = f"{run['model']}, {size}, {run['classes']} classes | {forward:.0f} / {step:.0f}" if i == 0 else " | "
            cells = (f"`{row['spec'].split(':')[0]}`", _pm(row["ratio"]["cpu"]), _pm(row["ratio"]["wall"]))
            lines.append(f"| {head} | " + " | ".join(cells) + " |")
    return lines


def peers(found: dict[str, Any]) -> list[str]:
    """Every contest; ours on the line above."""
    lines = [
        _machine(found),
        "",
        "| task | who | CPU ms a gradient | images/s (wall) | forwards + backwards | peak memory, MiB | cross-entropy "
        "reached | peer ÷ ours, CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        o = row["opponent"]
        if "absent" in row:
            lines.append(f"| {o['task']} | {o['peer']} {o['attack']} | not measured: {row['absent']} | | | | | |")
            continue
        task = f"{o['task']} {row['batch']}x{row['size'][0]}x{row['size'][1]}"
        for who, name in (("ours", f"robustseg `{o['ours']}`"), ("peer", f"{o['peer']} {o['attack']}")):
            r = row[who]
            ratio = _pm(row["peer_over_ours_cpu"]) if who == "peer" else ""
            cells = (
                f"{r['cpu_ms_per_gradient']['median']:.0f}",
                f"{r['images_per_second']['median']:.2f}",
                f"{r['forwards']} + {r['backwards']}",
                f"{r['peak_mib']:.0f}",
                f"{r['cross_entropy']:.3f}",
                ratio,
            )
            lines.append(f"| {task if who == 'ours' else ''} | {name} | " + " | ".join(cells) + " |")
    notes = sorted(
        {f"{r['opponent']['peer']}: {r['opponent']['note']}" for r in found["rows"] if r["opponent"]["note"]}
    )
    return [*lines, "", *(f"- {n}." for n in notes)]


def metrics(found: dict[str, Any]) -> list[str]:
    """Milliseconds an image of every path."""
    shapes = [f"{r['size'][0]}x{r['size'][1]}, {r['classes']} classes" for r in found["runs"]]
    lines = [_machine(found), "", "| CPU ms an image | " + " | ".join(shapes) + " |", "|---|" + "---|" * len(shapes)]
    for i, row in enumerate(found["runs"][0]["rows"]):
        cells = (_pm(run["rows"][i]["cpu_ms"], 1) for run in found["runs"])
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def panoptic(found: dict[str, Any]) -> list[str]:
    """Milliseconds an image and PQ of every path."""
    shapes = [
        f"{r['size'][0]}x{r['size'][1]}, {r['segments']} segments"
        + (f", {r['void']:.0%} predicted void" if r["void"] else "")
        for r in found["runs"]
    ]
    lines = [
        _machine(found),
        "",
        "| CPU ms an image (PQ) | " + " | ".join(shapes) + " |",
        "|---|" + "---|" * len(shapes),
    ]
    for i, row in enumerate(found["runs"][0]["rows"]):
        each = [run["rows"][i] for run in found["runs"]]
        cells = (f"{_pm(r['cpu_ms'], 2)} ({'none' if r['PQ'] is None else format(r['PQ'], '.3f')})" for r in each)
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def growth(found: dict[str, Any]) -> list[str]:
    """Cells of the grid."""
    lines = [
        _machine(found),
        "",
        "| size | classes | batch | attack | CPU ms a gradient and image | CPU ÷ bare CPU |",
        "|---|---|---|---|---|---|",
    ]
    for r in found["grid"]:
        cells = (f"{r['size'][0]}x{r['size'][1]}", str(r["classes"]), str(r["batch"]), f"`{r['spec'].split(':')[0]}`")
        lines.append("| " + " | ".join(cells) + f" | {r['cpu_ms_per_gradient']:.1f} | {_pm(r['ratio']['cpu'])} |")
    return lines


def runs(found: dict[str, Any]) -> list[str]:
    """Whole evaluations."""
    lines = ["| images | rows | s an image | of it outside the attacks, ms | store, KiB |", "|---|---|---|---|---|"]
    for r in found["runs"]:
        n = r["images"]
        rest = 1e3 * (r["wall_s"] - r["in_attacks_wall_s"]) / n
        lines.append(f"| {n} | {r['rows']} | {r['wall_s'] / n:.2f} | {rest:.0f} | {r['store_kib']:.0f} |")
    return lines


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], list[str]]]] = {
    "overhead": ("overhead", overhead),
    "overhead-default-allocator": ("overhead-default-allocator", overhead),
    "peers": ("peers", peers),
    "metrics": ("metrics", metrics),
    "panoptic": ("panoptic", panoptic),
    "growth": ("scaling", growth),
    "runs": ("scaling", runs),
}


def filled(page: str, folder: Path = FOLDER) -> str:
    """The page with every marked table made anew from the results in ``folder``."""

    def table(match: re.Match[str]) -> str:
        name, make = TABLES[match[2]]
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return match[1] + "\n".join(make(found)) + "\n" + match[3]

    return MARK.sub(table, page)


def _machine(found: dict[str, Any]) -> str:
    m = found["machine"]
    load = f", load {m['load'][0]} at the end" if m["load"] else ""
    return (
        f"Measured {found['measured']} on {m['gpu'] or m['cpu']}, {m['cores']} cores, {m['threads']} thread(s), "
        f"torch {m['torch']}, Python {m['python']}{load}."
    )


def _pm(s: dict[str, float], digits: int = 3) -> str:
    return f"{s['median']:.{digits}f} [{s['q1']:.{digits}f}, {s['q3']:.{digits}f}]"


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
