"""One batch under one key: from images to rows, whatever happens. A failure is a row with a status and no numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.evaluation import referee
from robustseg.evaluation.device import out_of_memory, synchronise
from robustseg.evaluation.goals import goal_counts
from robustseg.evaluation.job import Job, Planned
from robustseg.evaluation.matching import Item, item
from robustseg.evaluation.store import Row
from robustseg.tasks.semantic import statistics
from robustseg.types import AttackResult, Sample, SemanticTarget

__all__ = ["Batch", "TooLarge", "attack_rows", "clean_rows", "load", "trace_points"]

TRACE_POINTS = 32

FAULTS = {  # of AttackResult.fault
    1: "the gradient (or the objective) is not finite: the attack could not follow it; look with: robustseg doctor",
    2: "the gradient is exactly zero at every step: the attack could do nothing; look with: robustseg doctor",
}


class TooLarge(Exception):
    """The batch did not fit into memory; a smaller one may."""


@dataclass(frozen=True)
class Batch:
    """Images of one size on the device, with their clean prediction. ``finite (B,)``: the clean scores are."""

    items: Sequence[Item]
    samples: Sequence[Sample]
    images: Tensor
    labels: Tensor
    instances: Tensor | None
    prediction: Tensor
    finite: Tensor
    error: str | None
    seconds: float

    @property
    def name(self) -> str:
        """Positions of the images, as stored with each row."""
        return " ".join(str(item.position) for item in self.items)


def load(job: Job, positions: Sequence[int], *, may_shrink: bool = False) -> Batch:
    """Read, move and predict a batch. Raises TooLarge where a smaller batch may fit."""
    samples = [job.data.whole(p) for p in positions]
    images = torch.stack([s.image for s in samples]).to(job.device)
    labels = torch.stack([_labels(job.data.counted(s)) for s in samples]).to(job.device)
    objects = [s.instances for s in samples]
    instances = None if any(o is None for o in objects) else torch.stack(objects).to(job.device)  # type: ignore[arg-type]
    prediction, finite = torch.zeros_like(labels), torch.zeros(len(samples), dtype=torch.bool)
    synchronise(job.device)
    start, error = time.perf_counter(), None
    try:
        prediction, finite = referee.predict(job.model, images)
        synchronise(job.device)
    except UserError:
        raise
    except Exception as problem:
        error = _text(problem, len(samples), may_shrink)
    seconds = (time.perf_counter() - start) / len(samples)
    # a row of an earlier, longer run may have had neighbours beyond this run's limit
    items = [job.items[p] if p < len(job.items) else item(p, s) for p, s in zip(positions, samples, strict=True)]
    return Batch(items, samples, images, labels, instances, prediction, finite.cpu(), error, seconds)


def _labels(sample: Sample) -> Tensor:
    assert sample.labels is not None  # Mapped refuses samples without
    return sample.labels


def _text(problem: Exception, images: int, may_shrink: bool) -> str:
    """One line for a failed row. Raises TooLarge instead where a smaller batch may do."""
    if out_of_memory(problem):
        if may_shrink and images > 1:
            raise TooLarge(str(problem)) from problem
        advice = "" if images == 1 else "; use --batch-size auto or a smaller number"
        return f"out of memory at batch size {images}{advice}"
    return " ".join(f"{type(problem).__name__}: {problem}".split())[:500]


def clean_rows(job: Job, batch: Batch) -> list[Row]:
    """The rows of the clean images."""
    stats = _statistics(job, batch, batch.prediction, clean=False) if batch.error is None else []
    rows = []
    for i, row in enumerate(_blank(job, batch, job.clean_key, (1, 0))):
        if batch.error is not None or not batch.finite[i]:
            error = batch.error or "the model's scores on the clean image are not finite"
            rows.append(replace(row, status="failed", error=error, seconds=batch.seconds))
        else:
            rows.append(replace(row, stats=stats[i], forwards=1, seconds=batch.seconds))
    return rows


def attack_rows(
    job: Job, planned: Planned, batch: Batch, *, may_shrink: bool = False
) -> tuple[list[Row], Tensor | None, Tensor | None]:
    """Rows of one attack on one batch, with the adversarial images and predictions ``(B,…)`` where there are any.

    The attack sees the images it can work on: with a finite clean prediction, counted pixels and a pixel to write.
    """
    rows = list(_blank(job, batch, planned.key, planned.attack.budget))
    region = None if planned.region is None else torch.stack([planned.region(s) for s in batch.samples]).to(job.device)
    counted = (batch.labels != job.data.ignore).flatten(1).any(1).cpu()
    usable = batch.finite & counted
    if region is not None:
        usable &= region.flatten(1).any(1).cpu()
    for i, row in enumerate(rows):
        if not batch.finite[i]:
            rows[i] = replace(row, status="failed", error=f"no clean prediction: {batch.error or 'scores not finite'}")
        elif not usable[i]:
            rows[i] = replace(row, status="not-applicable")
    index = usable.nonzero().flatten()
    if not len(index):
        return rows, None, None
    part = index.to(job.device)
    images, labels = batch.images[part], batch.labels[part]
    writable = None if region is None else region[part]
    attacked, prediction = batch.images.clone(), batch.prediction.clone()
    start = time.perf_counter()
    try:
        result = planned.attack(
            job.model,
            images.clone(),
            SemanticTarget(labels.clone(), job.data.ignore),
            ids=[batch.items[i].content for i in index.tolist()],
            seed=job.seed,
            region=writable,
            early_stop=job.early_stop,
        )
        synchronise(job.device)
        seconds = (time.perf_counter() - start) / len(index)
        found, judged, faults, finite = _judge(job, planned, images, result, writable)
    except UserError:
        raise
    except Exception as problem:
        error = _text(problem, len(index), may_shrink)
        for i in index.tolist():
            rows[i] = replace(rows[i], status="failed", error=error)
        return rows, None, None
    attacked[part], prediction[part] = found, judged
    stats = _statistics(job, batch, prediction)
    sizes = referee.norms(batch.images, attacked)
    done = _numbers(result, len(index))
    for n, i in enumerate(index.tolist()):
        cost = {"forwards": done[n][0], "backwards": done[n][1], "seconds": seconds}
        if done[n][2]:
            rows[i] = replace(rows[i], status="not-applicable", **cost)
        elif faults[n] is not None:
            rows[i] = replace(rows[i], status="violation", error=faults[n], **cost)
        elif not finite[n]:
            error = "the model's scores on the adversarial image are not finite"
            rows[i] = replace(rows[i], status="failed", error=error, **cost)
        elif done[n][3]:
            rows[i] = replace(rows[i], status="failed", error=FAULTS[done[n][3]], **cost)
        else:
            goal = None if result.goal is None else _goal(job, planned, batch, i, result.goal[n], prediction[i])
            trace = trace_points(result.trace[n].tolist())
            rows[i] = replace(rows[i], stats=stats[i], norms=sizes[i], extra=goal, trace=trace, **cost)
    return rows, attacked, prediction


def _judge(
    job: Job, planned: Planned, images: Tensor, result: AttackResult, region: Tensor | None
) -> tuple[Tensor, Tensor, list[str | None], Tensor]:
    """The referee's view: images to score, their predictions, faults, finite scores. Faulty images are scored clean."""
    eps = None if planned.attack.eps is None else float(Fraction(planned.attack.eps))
    ball: dict[str, Any] = {"eps": eps, "norm": planned.attack.norm}
    faults = referee.inspect(images, result.images, region=region, **ball)
    good = torch.tensor([f is None for f in faults], device=images.device).view(-1, 1, 1, 1)
    if not bool(good.any()):
        return images, torch.zeros_like(images[:, 0], dtype=torch.int64), faults, torch.ones(len(images))
    found = torch.where(good, result.images.detach(), images).to(images).clamp(0, 1)
    if job.eight_bit:
        found = referee.eight_bits(images, found, **ball)
        again = referee.inspect(images, found, region=None, **ball)
        faults = [f or (f"after rounding to 8 bits {g}" if g else None) for f, g in zip(faults, again, strict=True)]
    prediction, finite = referee.predict(job.model, found)
    return found, prediction, faults, finite.cpu()


def _blank(job: Job, batch: Batch, key: str, budget: tuple[int, int]) -> list[Row]:
    device = job.device.type
    return [
        Row(key, item.id, item.position, item.content, budget_f=budget[0], budget_b=budget[1], batch=batch.name,
            device=device)
        for item in batch.items
    ]  # fmt: skip


def _statistics(job: Job, batch: Batch, prediction: Tensor, clean: bool = True) -> list[dict[str, Any]]:
    return statistics(
        prediction.cpu(),
        batch.labels.cpu(),
        classes=len(job.data.classes),
        ignore=job.data.ignore,
        instances=None if batch.instances is None else batch.instances.cpu(),
        clean_prediction=batch.prediction.cpu() if clean else None,
    )


def _numbers(result: AttackResult, images: int) -> list[tuple[int, int, bool, int]]:
    """Forwards, backwards, "nothing to do here" and fault of each image."""
    idle = torch.zeros(images, dtype=torch.bool) if result.applicable is None else ~result.applicable.cpu()
    fault = [0] * images if result.fault is None else result.fault.tolist()
    return list(zip(result.forwards.tolist(), result.backwards.tolist(), idle.tolist(), fault, strict=True))


def _goal(job: Job, planned: Planned, batch: Batch, i: int, goal: Tensor, prediction: Tensor) -> dict[str, int]:
    reference = batch.labels[i] if planned.attack.reference == "gt" else batch.prediction[i]
    return goal_counts(goal, reference, prediction, batch.prediction[i], batch.labels[i], job.data.ignore)


def trace_points(values: Sequence[float]) -> list[float | None] | None:
    """At most 32 evenly spaced values, the last among them; what is not finite is None.

    >>> trace_points([0.0, 0.5, 1.0]), trace_points([])
    ([0.0, 0.5, 1.0], None)
    """
    if not values:
        return None
    last, number = len(values) - 1, min(TRACE_POINTS, len(values))
    picked = [values[round(k * last / max(number - 1, 1))] for k in range(number)]
    return [round(v, 6) if math.isfinite(v) else None for v in picked]
