"""Stores of shards joined into exactly the rows of one run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.evaluation.aggregate import summary
from robustseg.evaluation.files import write_json
from robustseg.evaluation.store import Contents, Row, Run, Store, read

__all__ = ["merge", "without_pictures"]

VOLATILE = ("seconds", "batch", "device")  # what may differ between two makings of one row


def merge(folders: Sequence[str | Path], *, out: str | Path) -> dict[str, Any]:
    """Joins the stores in ``folders`` into ``out`` and returns its summary.

    All must hold the same request (model, data, attacks, images). A row that two of them have must be equal in both,
    time apart; a failed row gives way to a good one. Raises UserError for different requests and for missing rows.
    """
    if not folders:
        raise UserError("nothing to merge; give the folders of the shards")
    found = [read(folder) for folder in folders]
    for folder, contents in zip(folders, found, strict=True):
        if not contents.runs:
            raise UserError(f"{folder} holds no run; was it killed before it began?")
    run = found[0].runs[-1]
    for folder, contents in zip(folders[1:], found[1:], strict=True):
        if not any(_same(run, other) for other in contents.runs):
            raise UserError(
                f"{folder} holds another request than {folders[0]} (model, data, attacks, seed or images differ)"
            )
    rows = _joined(folders, found, run)
    missing = sorted({image for key in _keys(run) for image in run.images if (key, image) not in rows})
    if missing:
        raise UserError(
            f"{len(missing)} of {len(run.images)} images are in no shard or not finished, e.g. {missing[0]}; "
            "finish or add their shards"
        )
    warnings = dict.fromkeys(
        w for c in found for w in c.runs[-1].info.get("warnings", ()) if not w.startswith("shard ")
    )
    run = replace(run, info={**run.info, "shard": None, "merged": len(folders), "warnings": list(warnings)})
    with Store(out) as store:
        for key in _keys(run):
            store.add_key(found[0].keys[key])
        store.add_rows(sorted(rows.values(), key=lambda r: (r.key, r.position)))
        store.add_run(run)
        contents = store.contents()
    result = summary(contents, run)
    write_json(Path(out) / "run.json", {**run.info, "attacks": run.attacks, "clean": run.clean})
    write_json(Path(out) / "summary.json", result)
    return result


def without_pictures(folders: Sequence[str | Path], out: str | Path) -> list[str]:
    """What to say where shards hold pictures: these are the worst of their part, and are not joined."""
    if not any((Path(folder) / "pictures" / "INDEX.json").is_file() for folder in folders):
        return []
    return [
        f"note: the pictures of the parts were not merged. The command of a part without --shard, with --keep N and "
        f"--out {out}, makes those of the N worst images of the whole; no row is made again. One image: "
        f"robustseg replay {out} IMAGE ATTACK\n"
    ]


def _keys(run: Run) -> list[str]:
    return [run.clean, *run.attacks.values()]


def _same(one: Run, other: Run) -> bool:
    return (one.clean, one.attacks, one.images, one.ensembles) == (
        other.clean, other.attacks, other.images, other.ensembles,
    )  # fmt: skip


def _joined(folders: Sequence[str | Path], found: Sequence[Contents], run: Run) -> dict[tuple[str, str], Row]:
    rows: dict[tuple[str, str], Row] = {}
    wanted = set(run.images)
    for folder, contents in zip(folders, found, strict=True):
        for key in _keys(run):
            for image, row in contents.rows.get(key, {}).items():
                before = rows.get((key, image))
                if image not in wanted:
                    continue
                if before is None or before.status == "failed":
                    rows[key, image] = row
                elif row.status != "failed" and _lasting(before) != _lasting(row):
                    raise UserError(
                        f"{folder}: its row of {image} under {key} differs from another shard's; run one of them again"
                    )
    return rows


def _lasting(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in Row.__dataclass_fields__ if name not in VOLATILE)
