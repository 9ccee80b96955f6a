"""What a run would cost, from two measured steps: images × gradients × seconds, and bytes on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch

from robustseg.catalog import outputs
from robustseg.evaluation import device as machine
from robustseg.evaluation.attacking import Batch, clean_rows, load
from robustseg.evaluation.batches import plan
from robustseg.evaluation.job import Job
from robustseg.evaluation.pictures import gallery
from robustseg.ops.state import frozen
from robustseg.types import DenseOutput

__all__ = ["attack_warnings", "describe", "estimate", "first_size", "idle", "nothing_to_do", "together"]

ROW_OVERHEAD = 400  # bytes of a row beside its statistics, measured on stores of street:val


def first_size(job: Job, batch_size: int | str) -> int:
    """The batch size that a run starts with."""
    return min(machine.auto_batch(job.device, i.size) for i in job.items) if batch_size == "auto" else int(batch_size)


def nothing_to_do(job: Job, batch_size: int | str) -> bool:
    """The shard has no batch: there are more parts than batches."""
    size = first_size(job, batch_size)
    return job.shard is not None and not plan([i.size for i in job.items], size, job.shard)


def idle(job: Job) -> str:
    """What to say of such a shard."""
    return (
        f"shard {job.info['shard']} has nothing to do: there are fewer batches than parts; use fewer parts or a "
        "smaller --batch-size"
    )


def attack_warnings(job: Job) -> list[str]:
    """What is worth knowing of the attacks that were asked for, before any is made."""
    # an attack object of the user's own need not have any
    own = [w for p in job.attacks for w in getattr(p.attack, "warnings", ())]
    free = [p.spec for p in job.attacks if getattr(p.attack, "minimises", False)]
    if free and job.info["eps"]:
        own.append(f"--eps is not applied to {', '.join(free)}: it has no ball and looks for the smallest norm")
    radii = job.info["eps"] or []
    tied = [p.spec for p in job.attacks if getattr(p.attack, "unbounded", False) and p.attack.eps in radii]
    if tied:
        own.append(
            f"--eps puts a ball around {', '.join(tied)}, which has none of its own; for the attack as published, run "
            "it without --eps"
        )
    return list(dict.fromkeys(own))


def estimate(job: Job, batch_size: int | str, keep: int) -> dict[str, Any]:
    """Seconds and bytes of the whole run (or shard); nothing is written but artefacts. A batch's step is measured."""
    sizes = [item.size for item in job.items]
    size = first_size(job, batch_size)
    batches = plan(sizes, size, job.shard)
    images = sum(len(b) for b in batches)
    with frozen(job.model.module):
        batch = load(job, batches[0] if batches else [0])
        forward = _seconds(lambda: _step(job, batch, gradient=False), job) / len(batch.items)
        step = _seconds(lambda: _step(job, batch, gradient=True), job) / len(batch.items)
        row = len(json.dumps([r.stats for r in clean_rows(job, batch)])) / len(batch.items) + ROW_OVERHEAD
    attacks = {}
    for planned in job.attacks:
        forwards, backwards = planned.attack.budget
        each = backwards * step + (forwards - backwards + 1) * forward  # and the referee's prediction
        attacks[planned.spec] = {"forwards": forwards, "backwards": backwards, "seconds": each * images}
    pixels = max(h * w for h, w in sizes)
    pictures = min(keep, images) * pixels * (3 + 1 + len(gallery(job.attacks)) * (3 * 4 + 3 + 3 + 1))
    return {
        "images": images,
        "batch_size": size,
        "device": machine.describe(job.device),
        "seconds_per_forward": forward,
        "seconds_per_gradient": step,
        "attacks": attacks,
        "gradients": sum(a["backwards"] for a in attacks.values()) * images,
        "seconds": sum(a["seconds"] for a in attacks.values()) + 2 * forward * images,
        "note": None if batches else idle(job),
        "warnings": attack_warnings(job),
        "bytes": int(row * images * (1 + len(attacks)) + pictures),
    }


def together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The estimate of several models attacked together, of the estimates for each; one stays as it is.

    Each has the budget of all members at the price of its own step, so that their mean is what the attack costs.
    """
    if len(found) == 1:
        return found[0]
    first, n = found[0], len(found)
    attacks = {
        spec: {**a, "seconds": sum(f["attacks"][spec]["seconds"] for f in found) / n}
        for spec, a in first["attacks"].items()
    }
    forward = sum(f["seconds_per_forward"] for f in found)
    return {
        **first,
        "seconds_per_forward": forward,
        "seconds_per_gradient": sum(f["seconds_per_gradient"] for f in found),
        "attacks": attacks,
        "seconds": sum(a["seconds"] for a in attacks.values()) + 2 * forward * first["images"],
        "bytes": sum(f["bytes"] for f in found),
    }


def _step(job: Job, batch: Batch, gradient: bool) -> None:
    size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
    look = outputs.kind(job.model)
    forward = outputs.forward(job.model, "dense" if look == "query" else look, size)
    with torch.set_grad_enabled(gradient):
        x = batch.images.clone().requires_grad_(gradient)
        output = forward(x, batch.target, {})
        if gradient:
            scores = output.scores if isinstance(output, DenseOutput) else output.class_logits
            torch.autograd.grad(scores.logsumexp(1).sum(), x)


def _seconds(work: Callable[[], None], job: Job, rounds: int = 3) -> float:
    """The median of a few rounds after one to warm up."""
    work()
    found = []
    for _ in range(rounds):
        machine.synchronise(job.device)
        start = time.perf_counter()
        work()
        machine.synchronise(job.device)
        found.append(time.perf_counter() - start)
    return sorted(found)[rounds // 2]


def describe(cost: dict[str, Any]) -> str:
    """An estimate in words, one line an attack."""
    lines = [
        f"{spec}: {cost['images']} images x {a['backwards']} gradients = {_clock(a['seconds'])}"
        for spec, a in cost["attacks"].items()
    ]
    step, forward = 1000 * cost["seconds_per_gradient"], 1000 * cost["seconds_per_forward"]
    measured = f"{step:.0f} ms a gradient, {forward:.0f} ms a forward"
    lines.append(f"in all {_clock(cost['seconds'])} and {cost['bytes'] / 1e6:.1f} MB ({measured}, {cost['device']})")
    cautions = [f"warning: {w}" for w in cost["warnings"]]
    return "\n".join([*([cost["note"]] if cost["note"] else []), *cautions, *lines])


def _clock(seconds: float) -> str:
    """Seconds for people.

    >>> _clock(42), _clock(150), _clock(7300)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
