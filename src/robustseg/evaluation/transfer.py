"""Every model as surrogate and as victim: attacks are made once on each and scored on all. A folder a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from robustseg.data import load_data
from robustseg.data.resize import parse_size
from robustseg.errors import UserError
from robustseg.evaluation import asked
from robustseg.evaluation.crafted import shared
from robustseg.evaluation.device import choose
from robustseg.evaluation.files import slug, write_json
from robustseg.evaluation.job import definite
from robustseg.evaluation.run import run_jobs
from robustseg.evaluation.store import Store
from robustseg.types import DataSet, Model

__all__ = ["NAME", "matrix", "transfer"]

NAME = "transfer.json"
SCORES = ("PQ", "AP", "IoU_prompted", "accuracy", "mIoU")  # the first that there is leads
KEPT = ("aAcc", "ASR", "images", "failed", "violations")


def transfer(
    models: Sequence[str | Model],
    data: str | DataSet,
    attacks: Any,
    *,
    out: str | Path,
    batch_size: int | str = "auto",
    device: str = "auto",
    resize: str | tuple[int, int] | None = None,
    window: int | None = None,
    keep: int = 0,
    progress: Callable[[float, float, str], None] | None = None,
    command: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Attack each of ``models`` and score all of them on it; the dictionary is that of ``out/transfer.json``.

    The arguments are those of :func:`robustseg.evaluate`, ``options`` the rest of them (``eps``, ``limit``, ``seed``,
    ``eot`` …). ``out/pairs/S-on-V-…`` is the run on victim V of attacks made on surrogate S, an ordinary one, and on
    the diagonal the white-box run; the same call continues where it stopped.
    Raises UserError for fewer than two models and for models of different classes.
    """
    folder, tell = Path(out), progress or (lambda *_: None)
    if len(models) < 2:
        raise UserError("transfer needs two models or more; give --model several times")
    size = parse_size(resize) if isinstance(resize, str) else resize
    nets = [_loaded(m, device, window) for m in models]
    _of_one_kind(nets)
    dataset = load_data(data, resize=size) if isinstance(data, str) else data
    options = {"out": folder, "device": device, "resize": size, "window": window, **options}
    found: list[list[dict[str, Any]]] = []
    names = [[_folder(a, b, nets) for b in range(len(nets))] for a in range(len(nets))]
    for a, surrogate in enumerate(nets):

        def part(done: float, of: float, text: str, a: int = a) -> None:
            tell(a * of + done, len(nets) * of, f"on {nets[a].spec.ref}: {text}")

        jobs = [
            definite(victim, dataset, attacks, source=None if v == a else surrogate,
                     tick=lambda text, done, of: tell(done, of, text), **options)
            for v, victim in enumerate(nets)
        ]  # fmt: skip
        for job in jobs:
            if command is not None:
                job.info["argv"] = list(command)
        folders = [folder / name for name in names[a]]
        with ExitStack() as stack:
            stores = [stack.enter_context(Store(f)) for f in folders]
            jobs = shared(jobs, surrogate.spec.ref)
            found.append(run_jobs(jobs, stores, folders, asked.batch(batch_size), keep, part))
    made = matrix([m.spec.ref for m in nets], found, names)
    write_json(folder / NAME, made)
    return made


def matrix(models: Sequence[str], found: Sequence[Sequence[Mapping[str, Any]]], folders: Any = None) -> dict[str, Any]:
    """The content of ``transfer.json`` from the summaries ``found[surrogate][victim]``.

    ``attacks``: by spec, ``cells[surrogate][victim]`` with the leading score, its interval, and ``carried``, the loss
    of that score relative to the victim's loss by the strongest white-box attack of the run in the same ball: 0 no
    harm, 1 as bad; None where none does harm. Not by the same attack: what helps to carry over weakens at home.
    """
    own = found[0][0]
    score = next((s for s in SCORES if own["clean"].get(s) is not None), SCORES[-1])
    clean = [_cell(found[v][v]["clean"], score) for v in range(len(models))]
    attacks: dict[str, Any] = {}
    for spec, entry in own["attacks"].items():
        cells = [
            [_cell(_entry(found[a][v], spec, models[a], a == v), score) for v in range(len(models))]
            for a in range(len(models))
        ]
        attacks[spec] = {"name": entry["name"], "eps": entry["eps"], "norm": entry["norm"], "cells": cells}
    for entry in attacks.values():
        rivals = [e for e in attacks.values() if (e["eps"], e["norm"]) == (entry["eps"], entry["norm"])]
        for line in entry["cells"]:
            for v, cell in enumerate(line):
                home = [e["cells"][v][v]["score"] for e in rivals]
                white = min((s for s in home if s is not None), default=None)
                cell["carried"] = _carried(clean[v]["score"], cell["score"], white)
    every = [s for line in found for s in line]
    return {
        "models": list(models),
        **{name: own.get(name) for name in ("data", "images", "seed", "tasks")},
        "score": score,
        "clean": clean,
        "attacks": attacks,
        "folders": folders,
        "failed": sum(s["failed"] for s in every),
        "violations": sum(s["violations"] for s in every),
        "cautions": list(dict.fromkeys(f"{s['model']}: {c}" for s in every for c in s["cautions"])),
    }


def _entry(summary: Mapping[str, Any], spec: str, surrogate: str, white: bool) -> Mapping[str, Any]:
    carried = f"{spec},source={surrogate}"
    return summary["attacks"][spec if white or carried not in summary["attacks"] else carried]


def _cell(entry: Mapping[str, Any], score: str) -> dict[str, Any]:
    return {
        "score": entry.get(score),
        "ci95": (entry.get("ci95") or {}).get(score),
        **{name: entry[name] for name in KEPT if name in entry},
    }


def _carried(clean: float | None, attacked: float | None, white: float | None) -> float | None:
    """The loss relative to the white-box loss.

    >>> _carried(0.6, 0.5, 0.2), _carried(0.6, 0.5, 0.6)
    (0.25, None)
    """
    if clean is None or attacked is None or white is None or clean <= white:
        return None
    return round((clean - attacked) / (clean - white), 6)


def _folder(a: int, b: int, nets: Sequence[Model]) -> str:
    """Where a pair's run lies: numbers first, because two references may end alike."""
    return f"pairs/{a + 1}-on-{b + 1}-{slug(nets[a].spec.ref)}-on-{slug(nets[b].spec.ref)}"[:120]


def _loaded(model: str | Model, device: str, window: int | None) -> Model:
    if not isinstance(model, str):
        return model
    from robustseg.models import load_model

    return load_model(model, device=str(choose(device)), window=window)


def _of_one_kind(nets: Sequence[Model]) -> None:
    first = nets[0].spec
    for other in (m.spec for m in nets[1:]):
        if other.classes != first.classes:
            raise UserError(
                f"{other.ref} has other classes than {first.ref}, or another order of them; an attack is carried over "
                "between models of the same classes"
            )
