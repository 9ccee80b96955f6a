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
from robustseg.evaluation import compression, referee
from robustseg.evaluation.device import out_of_memory, synchronise
from robustseg.evaluation.equal_noise import equal_noise
from robustseg.evaluation.goals import goal_counts, met_counts
from robustseg.evaluation.job import Job, Planned
from robustseg.evaluation.matching import Item, item
from robustseg.evaluation.store import Row
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.tasks import truth
from robustseg.tasks.predict import Prediction
from robustseg.tasks.rows import rows as segment_rows
from robustseg.tasks.semantic import statistics
from robustseg.types import AttackResult, Sample, SegmentTarget, SemanticTarget

__all__ = ["Attacked", "Batch", "TooLarge", "attack_rows", "clean_rows", "load", "part_of", "trace_points"]

TRACE_POINTS = 32

FAULTS = {  # of AttackResult.fault
    1: "the gradient (or the objective) is not finite: the attack could not follow it; look with: robustseg doctor",
    2: "the gradient is exactly zero at every step: the attack could do nothing; look with: robustseg doctor",
}


class TooLarge(Exception):
    """The batch did not fit into memory; a smaller one may."""


@dataclass(frozen=True)
class Batch:
    """Images of one size on the device, with truth and clean prediction. ``finite (B,)``: the clean scores are.

    The target has segments where more than semantic scores are asked for; ``prediction`` is None after an error.
    """

    items: Sequence[Item]
    samples: Sequence[Sample]
    images: Tensor
    target: SemanticTarget
    instances: Tensor | None
    prediction: Prediction | None
    finite: Tensor
    error: str | None
    seconds: float

    @property
    def name(self) -> str:
        """Positions of the images, as stored with each row."""
        return " ".join(str(item.position) for item in self.items)


@dataclass(frozen=True)
class Attacked:
    """One adversarial image ``(3,H,W)`` on the device, and what the model says of it (a batch of one)."""

    image: Tensor
    prediction: Prediction


def part_of(prediction: Prediction, at: Sequence[int]) -> Prediction:
    """The predictions of the images at these places."""

    def tensor(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[torch.tensor(list(at), dtype=torch.int64, device=value.device)]

    def listed(value: Any) -> Any:
        return None if value is None else [value[i] for i in at]

    return Prediction(
        tensor(prediction.labels), listed(prediction.panoptic), listed(prediction.instances), tensor(prediction.masks)
    )


def load(job: Job, positions: Sequence[int], *, may_shrink: bool = False) -> Batch:
    """Read, move and predict a batch. Raises TooLarge where a smaller batch may fit."""
    samples = [job.data.whole(p) for p in positions]
    images = torch.stack([s.image for s in samples]).to(job.device)
    target = _target(job, [job.data.counted(s) for s in samples]).to(job.device)
    objects = [s.instances for s in samples]
    instances = None if any(o is None for o in objects) else torch.stack(objects).to(job.device)  # type: ignore[arg-type]
    prediction, finite = None, torch.zeros(len(samples), dtype=torch.bool)
    # a row of an earlier, longer run may have had neighbours beyond this run's limit
    items = [job.items[p] if p < len(job.items) else item(p, s) for p, s in zip(positions, samples, strict=True)]
    synchronise(job.device)
    start, error = time.perf_counter(), None
    try:
        prediction, finite = _predict(job, images, target, items)
        synchronise(job.device)
    except UserError:
        raise
    except Exception as problem:
        error = _text(problem, len(samples), may_shrink)
    seconds = (time.perf_counter() - start) / len(samples)
    return Batch(items, samples, images, target, instances, prediction, finite.cpu(), error, seconds)


def _target(job: Job, counted: Sequence[Sample]) -> SemanticTarget:
    if job.tasks not in (("semantic",), (WHOLE_IMAGE,)):
        return truth.target(counted, job.data.countable, job.data.ignore, job.model.spec.prompt)
    return SemanticTarget(torch.stack([s.labels for s in counted]), job.data.ignore)  # type: ignore[arg-type]


def _predict(job: Job, images: Tensor, target: SemanticTarget, items: Sequence[Item]) -> tuple[Prediction, Tensor]:
    prompts = target.prompts if "prompted" in job.tasks and isinstance(target, SegmentTarget) else None
    draws = referee.draws(job.model, [i.content for i in items], job.seed)
    return referee.predict(job.model, images, tasks=job.tasks, things=job.data.countable, prompts=prompts, draws=draws,
                            most=job.data.detections)  # fmt: skip


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
    stats = [] if batch.prediction is None else _statistics(job, batch, batch.prediction, range(len(batch.items)))
    rows = []
    for i, row in enumerate(_blank(job, batch, job.clean_key, (1, 0))):
        if batch.prediction is None or not batch.finite[i]:
            error = batch.error or "the model's scores on the clean image are not finite"
            rows.append(replace(row, status="failed", error=error, seconds=batch.seconds))
        else:
            rows.append(replace(row, stats=stats[i], forwards=1, seconds=batch.seconds))
    return rows


def attack_rows(
    job: Job, planned: Planned, batch: Batch, *, may_shrink: bool = False
) -> tuple[list[Row], dict[int, Attacked]]:
    """Rows of one attack on one batch, and what became of the images that were attacked, by their place in it.

    The attack sees the images it can work on: with a finite clean prediction, counted pixels and a pixel to write.
    """
    rows = list(_blank(job, batch, planned.key, planned.attack.budget))
    region = None if planned.region is None else torch.stack([planned.region(s) for s in batch.samples]).to(job.device)
    counted = batch.target.valid.flatten(1).any(1).cpu()
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
        return rows, {}
    part = index.to(job.device)
    images, target = batch.images[part], batch.target.select(part)
    writable = None if region is None else region[part]
    start = time.perf_counter()
    try:
        result = planned.attack(
            job.model,
            images.clone(),
            target.select(torch.arange(len(index), device=job.device)),  # a copy: what is scored is nobody else's
            ids=[batch.items[i].content for i in index.tolist()],
            seed=job.seed,
            region=writable,
            early_stop=job.early_stop,
        )
        synchronise(job.device)
        seconds = (getattr(planned.attack, "seconds", None) or time.perf_counter() - start) / len(index)
        shown = [batch.items[i] for i in index.tolist()]
        found, judged, faults, finite = _judge(job, planned, images, target, result, writable, shown)
    except UserError:
        raise
    except Exception as problem:
        error = _text(problem, len(index), may_shrink)
        for i in index.tolist():
            rows[i] = replace(rows[i], status="failed", error=error)
        return rows, {}
    quiet = None if judged is None else _quiet(job, planned, batch, index.tolist(), images, target, found)
    stats = None if judged is None else _statistics(job, batch, judged, index.tolist(), batch.prediction)
    sizes = referee.norms(images, found)
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
            assert stats is not None
            assert judged is not None
            aim = None if result.goal is None else result.goal[n]
            goal = None if aim is None else _goal(job, planned, batch, i, aim, judged, n)
            if goal and quiet is not None and aim is not None:
                under = _goal(job, planned, batch, i, aim, quiet, n) or {}
                goal |= {f"noise_{name}": under[name] for name in ("hit", "kept")}
            trace = trace_points(result.trace[n].tolist())
            met = _met(job, planned, batch, i, aim, judged, n)
            rows[i] = replace(rows[i], stats={**stats[n], **met}, norms=sizes[n], extra=goal, trace=trace, **cost)
    if (
        judged is not None
        and writable is not None
        and getattr(getattr(planned.attack, "entry", None), "natural", False)
    ):
        at, items = index.tolist(), [batch.items[i] for i in index.tolist()]
        assert batch.prediction is not None
        compression.note(
            rows, at, images, found, writable, _statistics(job, batch, part_of(batch.prediction, at), at),
            lambda x: _statistics(job, batch, _predict(job, x, target, items)[0], at),
            [c.lower() for c in job.data.classes].index(planned.attack.params["class"].lower()),
        )  # fmt: skip
    made = {} if judged is None else {i: Attacked(found[n], part_of(judged, [n])) for n, i in enumerate(index.tolist())}
    return rows, made


def _judge(
    job: Job,
    planned: Planned,
    images: Tensor,
    target: SemanticTarget,
    result: AttackResult,
    region: Tensor | None,
    items: Sequence[Item],
) -> tuple[Tensor, Prediction | None, list[str | None], Tensor]:
    """The referee's view: images to score, their predictions, faults, finite scores. Faulty images are scored clean."""
    eps = None if planned.attack.eps is None else float(Fraction(planned.attack.eps))
    ball: dict[str, Any] = {"eps": eps, "norm": planned.attack.norm}
    faults = referee.inspect(images, result.images, region=region, **ball)
    good = torch.tensor([f is None for f in faults], device=images.device).view(-1, 1, 1, 1)
    if not bool(good.any()):
        return images, None, faults, torch.ones(len(images))
    found = torch.where(good, result.images.detach(), images).to(images).clamp(0, 1)
    if job.eight_bit:
        found = referee.eight_bits(images, found, **ball)
        again = referee.inspect(images, found, region=None, **ball)
        faults = [f or (f"after rounding to 8 bits {g}" if g else None) for f, g in zip(faults, again, strict=True)]
    prediction, finite = _predict(job, found, target, items)
    return found, prediction, faults, finite.cpu()


def _blank(job: Job, batch: Batch, key: str, budget: tuple[int, int]) -> list[Row]:
    device = job.device.type
    return [
        Row(key, item.id, item.position, item.content, budget_f=budget[0], budget_b=budget[1], batch=batch.name,
            device=device)
        for item in batch.items
    ]  # fmt: skip


def _statistics(
    job: Job, batch: Batch, prediction: Prediction, at: Sequence[int], before: Prediction | None = None
) -> list[dict[str, Any]]:
    """Of the images ``at`` these places of the batch, whose predictions these are, in that order."""
    places = torch.tensor(list(at), dtype=torch.int64)
    target = batch.target.to("cpu").select(places)
    clean = None if before is None else part_of(before, list(at))
    found: list[dict[str, Any]] = [{} for _ in at]
    if "semantic" in job.tasks or WHOLE_IMAGE in job.tasks:
        assert prediction.labels is not None
        found = statistics(
            prediction.labels.cpu(),
            target.labels,
            classes=len(job.data.classes),
            ignore=job.data.ignore,
            instances=None if batch.instances is None else batch.instances.cpu()[places],
            clean_prediction=None if clean is None or clean.labels is None else clean.labels.cpu(),
        )
    if isinstance(target, SegmentTarget):
        more = segment_rows(prediction, target, tasks=job.tasks, clean=clean, most=job.data.detections)
        found = [{**row, **extra} for row, extra in zip(found, more, strict=True)]
    return found


def _numbers(result: AttackResult, images: int) -> list[tuple[int, int, bool, int]]:
    """Forwards, backwards, "nothing to do here" and fault of each image."""
    idle = torch.zeros(images, dtype=torch.bool) if result.applicable is None else ~result.applicable.cpu()
    fault = [0] * images if result.fault is None else result.fault.tolist()
    return list(zip(result.forwards.tolist(), result.backwards.tolist(), idle.tolist(), fault, strict=True))


def _met(
    job: Job, planned: Planned, batch: Batch, i: int, goal: Tensor | None, judged: Prediction, n: int
) -> dict[str, int]:
    """Of an attack that minimises a norm: how many pixels it had to fool, and fooled."""
    if not getattr(planned.attack, "minimises", False) or judged.labels is None:
        return {}
    labels = batch.target.labels[i]
    assert batch.prediction is not None
    assert batch.prediction.labels is not None
    reference = labels if planned.attack.reference == "gt" else batch.prediction.labels[i]
    return met_counts(goal, reference, judged.labels[n], labels, job.data.ignore)


def _goal(
    job: Job, planned: Planned, batch: Batch, i: int, goal: Tensor, judged: Prediction, n: int
) -> dict[str, int] | None:
    if judged.labels is None or batch.prediction is None or batch.prediction.labels is None:
        return None
    labels, clean = batch.target.labels[i], batch.prediction.labels[i]
    reference = labels if planned.attack.reference == "gt" else clean
    return goal_counts(goal, reference, judged.labels[n], clean, labels, job.data.ignore)


def _quiet(
    job: Job, planned: Planned, batch: Batch, at: Sequence[int], images: Tensor, target: SemanticTarget, found: Tensor
) -> Prediction | None:
    """What the model says under noise of the same length, for attacks whose stealth is judged beside it."""
    if not getattr(getattr(planned.attack, "entry", None), "equal_noise", False):
        return None
    noisy = equal_noise(images, found, [batch.items[i].content for i in at], job.seed)
    return _predict(job, noisy, target, [batch.items[i] for i in at])[0]


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
