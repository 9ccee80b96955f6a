"""One adversarial image made again, and held against its row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.evaluation import device as machine
from robustseg.evaluation.attacking import attack_rows, load
from robustseg.evaluation.colours import palette
from robustseg.evaluation.files import slug, write_json
from robustseg.evaluation.guard import recorded
from robustseg.evaluation.job import definite, definite_members
from robustseg.evaluation.pictures import add_segments, write_attacked, write_clean
from robustseg.evaluation.store import Contents, Row, Run, read
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model

__all__ = ["compare_rows", "replay"]

COMPARED = ("status", "error", "stats", "extra", "norms", "forwards", "backwards", "trace")


def replay(
    folder: str | Path,
    image: str,
    attack: str,
    *,
    model: str | Model | Sequence[str | Model] | None = None,
    data: str | DataSet | None = None,
    out: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Make the adversarial image of ``attack`` on ``image`` again, with its whole batch and the same draws.

    Returns ``{"equal", "differences", "row", "pictures"}``; pictures go to ``out`` (default ``folder/replay``).
    ``model`` and ``data`` are needed where the run was given objects (all its models, in order, where there were
    several). Raises UserError where there is no such row, and
    where model, data or options are no longer those of the row.
    """
    contents = read(folder)
    run, row = _find(contents, folder, image, attack)
    info, spec = run.info, _spec(run, attack)
    options = {name: info[name] for name in ("resize", "fit_data", "region", "count")}
    made_on = info["model"] if info.get("adaptive") == "off" else info.get("source")
    named = contents.keys[row.key]["attack"].removesuffix(f",source={made_on}")
    options |= {
        "out": folder, "limit": len(run.images), "seed": info["seed"], "device": device, "baseline": False,
        "class_map": info["class_map"], "eight_bit": info["eight_bit"], "early_stop": info["early_stop"],
        "window": info.get("window"), "task": info.get("tasks"), "source": info.get("source"), **recorded(info),
    }  # fmt: skip
    if info.get("models"):  # made on several models at once, of which this folder is about one
        job = definite_members(_several(model, info["models"]), data or info["data"], named, **options)[info["member"]]
    else:
        job = definite(model or info["model"], data or info["data"], named, **options)  # type: ignore[arg-type]
    planned = next(p for p in job.attacks)
    changed = [k for k, v in contents.keys[row.key].items() if planned.config.get(k) != v]
    if changed:
        raise UserError(
            f"{spec} can no longer be made as it was: {', '.join(changed)} changed since this row was written"
        )
    with frozen(job.model.module), machine.repeatable(job.device):
        positions = [int(p) for p in row.batch.split()]
        batch = load(job, positions)
        rows, made = attack_rows(job, planned, batch)
        at = positions.index(row.position)
        alone = batch if at == 0 else load(job, [row.position])
    differences = compare_rows(row, rows[at])
    target = Path(out) if out else Path(folder) / "replay"
    name, colours = slug(image), palette(job.data.classes)
    entry = write_clean(target, name, alone, colours, {"id": image, "rank": 0})
    truth = add_segments(target, name, alone, job.tasks, colours, entry)
    if at in made and rows[at].status == "ok":
        one = made[at].image.cpu().numpy(), made[at].prediction
        clean = batch.images[at].cpu()
        entry["attacks"].append(write_attacked(target, name, planned, clean, one, rows[at], colours, truth))
    write_json(target / name / "replay.json", {"equal": not differences, "differences": differences, "picture": entry})
    return {"equal": not differences, "differences": differences, "row": rows[at], "pictures": target / name}


def _several(given: Any, asked: list[str]) -> list[Any]:
    models = asked if given is None else list(given) if isinstance(given, list | tuple) else [given]
    if len(models) != len(asked):
        raise UserError(
            f"the run attacked {len(asked)} models at once ({', '.join(asked)}); give all of them, in order"
        )
    return models


def compare_rows(stored: Row, made: Row) -> list[str]:
    """What differs between a row and its replay, in words; the time is no part of it."""
    found = []
    for name in COMPARED:
        before, now = getattr(stored, name), getattr(made, name)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            for key in sorted({*before, *now}):
                if before.get(key) != now.get(key):
                    found.append(f"{name}.{key}: {_short(before.get(key))} stored, {_short(now.get(key))} now")
        else:
            found.append(f"{name}: {_short(before)} stored, {_short(now)} now")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _spec(run: Run, attack: str) -> str:
    """The canonical spec that ``attack`` means in a run: its text, or a beginning that fits one alone."""
    fits = [s for s in run.attacks if s == attack] or [s for s in run.attacks if s.startswith(attack)]
    if len(fits) != 1:
        members = dict.fromkeys(m for spec, parts in run.ensembles.items() if spec.startswith(attack) for m in parts)
        if members and not fits:
            raise UserError(f"{attack} is composed of the rows of its members; replay one of {', '.join(members)}")
        what = "fits several" if fits else "is none"
        raise UserError(f"attack {attack!r} {what} of this run's: {', '.join(fits or run.attacks)}")
    return fits[0]


def _find(contents: Contents, folder: str | Path, image: str, attack: str) -> tuple[Run, Row]:
    if not contents.runs:
        raise UserError(f"{folder} holds no run")
    run = contents.runs[-1]
    rows = contents.rows[run.attacks[_spec(run, attack)]]
    if image not in rows:
        raise UserError(f"no row of image {image!r} in {folder}; its images: {', '.join(list(rows)[:5])} …")
    return run, rows[image]
