"""Images × attacks -> rows -> summary: the loop that may be killed at any moment and continued by the same command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustseg.evaluation import asked
from robustseg.evaluation import device as machine
from robustseg.evaluation.aggregate import load_summary
from robustseg.evaluation.attacking import TooLarge, attack_rows, clean_rows, load
from robustseg.evaluation.batches import Shard, plan
from robustseg.evaluation.files import write_json
from robustseg.evaluation.job import Job, definite
from robustseg.evaluation.pictures import Keeper, keep_pictures
from robustseg.evaluation.plan import first_size, idle, nothing_to_do
from robustseg.evaluation.store import Run, Store
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model

__all__ = ["Progress", "evaluate", "run_job"]

Progress = Callable[[float, float, str], None]  # done, total (in gradients, or what the text says), what is being done


def evaluate(
    model: str | Model,
    data: str | DataSet,
    attacks: Any,
    *,
    out: str | Path,
    eps: str | float | Sequence[str | float] | None = None,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    device: str = "auto",
    resize: str | tuple[int, int] | None = None,
    fit_data: str | DataSet | None = None,
    region: str | None = None,
    count: str | None = None,
    class_map: Mapping[str, str] | str | Path | None = None,
    eight_bit: bool = False,
    shard: str | Shard | None = None,
    keep: int = 0,
    early_stop: bool = True,
    window: int | None = None,
    task: str | Sequence[str] | None = None,
    source: str | Model | None = None,
    eot: str | None = None,
    eot_samples: int | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Attack a model on a data set and score what is left of it; the dictionary is that of ``out/summary.json``.

    ``model``, ``data``: references or objects; ``attacks``: specs, attack objects or objective functions, one or many;
    ``eps``: radii for attacks that name none: ``"2/255,8/255"``, a number, or a list of either. A uniform-noise
    baseline joins at every radius. The same call on the same ``out`` continues where it stopped; another configuration
    is another key in the store. ``batch_size="auto"`` halves itself when memory runs out; ``keep`` stores the pictures
    of the worst images. ``task``: what is scored, ``"semantic"``, ``"instance"``, ``"panoptic"`` or several of them
    (default: all that the model can answer and the data can judge). ``source``: another model of the same classes that
    the attacks are made on, while ``model`` is scored (transfer). ``eot``: transformations that every attack must
    survive, ``"noise=0.02,jpeg=30-90"``, of which ``eot_samples`` are drawn a step; images are scored without any.
    Raises UserError for what the user can put right; an attack that fails becomes rows with a status, never a number.

    Example::

        rs.evaluate("zoo:street-unet", "street:val", ["pgd", "segpgd"], eps="2/255,8/255", out="runs/first")
    """
    batch_size = asked.batch(batch_size)
    tell = progress or (lambda *_: None)
    folder = Path(out)
    job = definite(
        model, data, attacks, out=folder, eps=eps, limit=limit, seed=seed, device=device, resize=resize,
        fit_data=fit_data, region=region, count=count, class_map=class_map, eight_bit=eight_bit,
        early_stop=early_stop, shard=shard, window=window, task=task, source=source,
        eot=eot, eot_samples=eot_samples, tick=lambda text, done, of: tell(done, of, text),
    )  # fmt: skip
    if command is not None:
        job.info["argv"] = list(command)
    if dry_run:
        from robustseg.evaluation.plan import estimate

        return estimate(job, batch_size, keep)
    with Store(folder) as store:
        return run_job(job, store, folder, batch_size, keep, tell)


def run_job(job: Job, store: Store, folder: Path, batch_size: int | str, keep: int, tell: Progress) -> dict[str, Any]:
    """Everything that is not yet in the store, then pictures and summary."""
    store.add_key(job.clean_config)
    for planned in job.attacks:
        store.add_key(planned.config)
    request = Run(
        job.clean_key, {p.spec: p.key for p in job.attacks}, [i.id for i in job.items], job.ensembles, job.info
    )
    store.add_run(request)
    keeper = Keeper(keep, job)
    with frozen(job.model.module), machine.repeatable(job.device):
        job.info["warnings"] = _warnings(job, store, batch_size)
        used = _loop(job, store, batch_size, keeper, tell)
        final = replace(request, info={**job.info, "device": machine.describe(job.device), **used})
        store.add_run(final)
        if keep:
            keep_pictures(job, store, folder, keeper, tell)
    write_json(folder / "run.json", {**final.info, "attacks": final.attacks, "clean": final.clean, "keep": keep})
    summary = load_summary(folder)
    write_json(folder / "summary.json", summary)
    return summary


def _warnings(job: Job, store: Store, batch_size: int | str) -> list[str]:
    """What is suspicious before the first attack, looked at once for each model in a folder."""
    found = []
    if nothing_to_do(job, batch_size):
        found.append(idle(job))
    note = f"glance at {job.clean_key}"
    seen = store.meta().get(note)
    if seen is None:
        from robustseg.models.check import glance

        image = job.data.whole(0).image[None].to(job.device)
        lines = [f"{f.name}: {f.message} (`robustseg doctor` says more)" for f in glance(job.model, image)]
        store.set_meta(note, seen := json.dumps(lines))
    # an attack object of the user's own need not have any
    own = [w for p in job.attacks for w in getattr(p.attack, "warnings", ())]
    return [*found, *json.loads(seen), *dict.fromkeys(own)]


def _loop(job: Job, store: Store, batch_size: int | str, keeper: Keeper, tell: Progress) -> dict[str, Any]:
    sizes = [item.size for item in job.items]
    auto = batch_size == "auto"
    base = first_size(job, batch_size)
    note = f"batch size on {job.device.type} from {base} for {max(sizes)}"
    now = min(base, int(store.meta().get(note, base))) if auto else base
    while True:
        try:
            _pass(job, store, plan(sizes, now, job.shard, base), keeper, tell, may_shrink=auto)
            return {"batch_size": now, "batch_size_asked": batch_size}
        except TooLarge:
            machine.free()
            now //= 2
            store.set_meta(note, str(now))
            tell(0, 0, f"out of memory: batch size {now} from here on")


def _pass(
    job: Job, store: Store, batches: Sequence[Sequence[int]], keeper: Keeper, tell: Progress, may_shrink: bool
) -> None:
    weights = {p.key: p.attack.budget[0] + 2 * p.attack.budget[1] for p in job.attacks}
    each = 1 + sum(weights.values())
    total, done = float(each * sum(len(b) for b in batches)), 0.0
    for number, positions in enumerate(batches):
        ids = [job.items[p].id for p in positions]
        text = f"batch {number + 1} of {len(batches)}"
        todo = [p for p in job.attacks if not _complete(store, p.key, ids)]
        clean = not _complete(store, job.clean_key, ids)
        batch = load(job, positions, may_shrink=may_shrink) if todo or clean else None
        if batch is not None and clean:
            store.add_rows(clean_rows(job, batch))
        done += len(ids)
        for planned in job.attacks:
            tell(done, total, f"{text}, {planned.spec}")
            if batch is not None and planned in todo:
                rows, made = attack_rows(job, planned, batch, may_shrink=may_shrink)
                store.add_rows(rows)
                keeper.hold(planned, rows, made)
            done += weights[planned.key] * len(ids)
        keeper.settle(store, ids)
        tell(done, total, text)


def _complete(store: Store, key: str, ids: Sequence[str]) -> bool:
    """Every image has a row that will not change: a failure is tried again, with its whole batch."""
    found = store.statuses(key, ids)
    return len(found) == len(ids) and "failed" not in found.values()
