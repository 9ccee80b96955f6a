"""Images × attacks -> rows -> summary: the loop that may be killed at any moment and continued by the same command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustseg.evaluation import asked, guard, members
from robustseg.evaluation import device as machine
from robustseg.evaluation.aggregate import load_summary
from robustseg.evaluation.attacking import TooLarge, attack_rows, clean_rows, load
from robustseg.evaluation.batches import Shard, plan
from robustseg.evaluation.files import write_json
from robustseg.evaluation.job import Job, definite, definite_members
from robustseg.evaluation.pictures import Keeper, keep_pictures
from robustseg.evaluation.plan import attack_warnings, first_size, idle, nothing_to_do
from robustseg.evaluation.store import Run, Store
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model

__all__ = ["Progress", "evaluate", "run_jobs"]

Progress = Callable[[float, float, str], None]  # done, total (in gradients, or what the text says), what is being done


@dataclass(frozen=True)
class Track:
    """A job with the store and the folder that its rows and pictures go to."""

    job: Job
    store: Store
    keeper: Keeper
    folder: Path
    request: Run


def evaluate(
    model: str | Model | Sequence[str | Model],
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
    defense: str | None = None,
    adaptive: str = "auto",
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
    the attacks are made on, while ``model`` is scored (transfer). Several models, ``[A, B]``, are attacked together
    with one perturbation; each is scored in a folder of its own, ``out/members/N-NAME``, and the dictionary then holds
    ``"models"``, the summary of each. ``eot``: transformations that every attack must survive,
    ``"noise=0.02,jpeg=30-90"``, of which ``eot_samples`` are drawn a step; images are scored without any. ``defense``:
    what the model sees every image through, ``"jpeg=50,bits=3"``; ``adaptive``: what attacks do about it, ``"auto"``
    (BPDA and EOT), ``"bpda"``, ``"eot"``, or ``"off"``: they do not know of it, which measures no robustness.
    Raises UserError for what the user can put right; an attack that fails becomes rows with a status, never a number.

    Example::

        rs.evaluate("zoo:street-unet", "street:val", ["pgd", "segpgd"], eps="2/255,8/255", out="runs/first")
    """
    batch_size = asked.batch(batch_size)
    tell = progress or (lambda *_: None)
    folder = Path(out)
    options: dict[str, Any] = {
        "out": folder, "eps": eps, "limit": limit, "seed": seed, "device": device, "resize": resize,
        "fit_data": fit_data, "region": region, "count": count, "class_map": class_map, "eight_bit": eight_bit,
        "early_stop": early_stop, "shard": shard, "window": window, "task": task, "source": source,
        "eot": eot, "eot_samples": eot_samples, "defense": defense, "adaptive": adaptive,
        "tick": lambda text, done, of: tell(done, of, text),
    }  # fmt: skip
    several = list(model) if isinstance(model, list | tuple) else [model]
    members.one_kind(folder, len(several))
    if len(several) == 1:
        jobs, folders = [definite(several[0], data, attacks, **options)], [folder]  # type: ignore[arg-type]
    else:
        jobs = definite_members(several, data, attacks, **options)  # type: ignore[arg-type]
        folders = members.folders(folder, [j.model.spec.ref for j in jobs])
    for job in jobs:
        if command is not None:
            job.info["argv"] = list(command)
    if dry_run:
        from robustseg.evaluation.plan import estimate, together

        return together([estimate(job, batch_size, keep) for job in jobs])
    with ExitStack() as stack:
        stores = [stack.enter_context(Store(f)) for f in folders]
        found = run_jobs(jobs, stores, folders, batch_size, keep, tell)
    return found[0] if len(jobs) == 1 else members.write(folder, folders, found, jobs[0].info)


def run_jobs(
    jobs: Sequence[Job],
    stores: Sequence[Store],
    folders: Sequence[Path],
    batch_size: int | str,
    keep: int,
    tell: Progress,
) -> list[dict[str, Any]]:
    """Everything that is not yet in the stores, then pictures and summaries. Several jobs, the members of a team, go
    side by side through the batches, so that an attack on all of them is made once."""
    tracks = [_begun(job, store, folder, keep) for job, store, folder in zip(jobs, stores, folders, strict=True)]
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(frozen(job.model.module))
        stack.enter_context(machine.repeatable(jobs[0].device))
        for t in tracks:
            t.job.info["warnings"] = _warnings(t.job, t.store, batch_size)
        used = _loop(tracks, batch_size, tell)
        return [_ended(t, used, keep, tell) for t in tracks]


def _begun(job: Job, store: Store, folder: Path, keep: int) -> Track:
    store.add_key(job.clean_config)
    for planned in job.attacks:
        store.add_key(planned.config)
    request = Run(
        job.clean_key, {p.spec: p.key for p in job.attacks}, [i.id for i in job.items], job.ensembles, job.info
    )
    store.add_run(request)
    return Track(job, store, Keeper(keep, job), folder, request)


def _ended(t: Track, used: dict[str, Any], keep: int, tell: Progress) -> dict[str, Any]:
    final = replace(t.request, info={**t.job.info, "device": machine.describe(t.job.device), **used})
    t.store.add_run(final)
    if keep:
        keep_pictures(t.job, t.store, t.folder, t.keeper, tell)
    write_json(t.folder / "run.json", {**final.info, "attacks": final.attacks, "clean": final.clean, "keep": keep})
    summary = load_summary(t.folder)
    write_json(t.folder / "summary.json", summary)
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
    return [*found, *json.loads(seen), *attack_warnings(job), *members.plain(job), *guard.cautions(job.model, job.info)]


def _loop(tracks: Sequence[Track], batch_size: int | str, tell: Progress) -> dict[str, Any]:
    job, store = tracks[0].job, tracks[0].store
    sizes = [item.size for item in job.items]
    auto = batch_size == "auto"
    base = first_size(job, batch_size)
    note = f"batch size on {job.device.type} from {base} for {max(sizes)}"
    now = min(base, int(store.meta().get(note, base))) if auto else base
    while True:
        try:
            _pass(tracks, plan(sizes, now, job.shard, base), tell, may_shrink=auto)
            return {"batch_size": now, "batch_size_asked": batch_size}
        except TooLarge:
            machine.free()
            now //= 2
            store.set_meta(note, str(now))
            tell(0, 0, f"out of memory: batch size {now} from here on")


def _pass(tracks: Sequence[Track], batches: Sequence[Sequence[int]], tell: Progress, may_shrink: bool) -> None:
    job = tracks[0].job
    weights = [p.attack.budget[0] + 2 * p.attack.budget[1] for p in job.attacks]
    each = len(tracks) + sum(weights)
    total, done = float(each * sum(len(b) for b in batches)), 0.0
    for number, positions in enumerate(batches):
        ids = [job.items[p].id for p in positions]
        text = f"batch {number + 1} of {len(batches)}"
        todo = [{p.key for p in t.job.attacks if not _complete(t.store, p.key, ids)} for t in tracks]
        clean = [not _complete(t.store, t.job.clean_key, ids) for t in tracks]
        loaded = [
            load(t.job, positions, may_shrink=may_shrink) if left or new else None
            for t, left, new in zip(tracks, todo, clean, strict=True)
        ]
        for t, batch, new in zip(tracks, loaded, clean, strict=True):
            if batch is not None and new:
                t.store.add_rows(clean_rows(t.job, batch))
            done += len(ids)
        for n, weight in enumerate(weights):
            tell(done, total, f"{text}, {job.attacks[n].spec}")
            for t, left, batch in zip(tracks, todo, loaded, strict=True):
                planned = t.job.attacks[n]
                if batch is not None and planned.key in left:
                    rows, made = attack_rows(t.job, planned, batch, may_shrink=may_shrink)
                    t.store.add_rows(rows)
                    t.keeper.hold(planned, rows, made)
            done += weight * len(ids)
        for t in tracks:
            t.keeper.settle(t.store, ids)
        tell(done, total, text)


def _complete(store: Store, key: str, ids: Sequence[str]) -> bool:
    """Every image has a row that will not change: a failure is tried again, with its whole batch."""
    found = store.statuses(key, ids)
    return len(found) == len(ids) and "failed" not in found.values()
