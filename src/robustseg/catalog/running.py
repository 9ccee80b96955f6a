"""One attack on one batch: target and clean view, objective and search, and what the caller gets back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.attacks.combinators import only
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem, Search
from robustseg.catalog import build, outputs, universal
from robustseg.catalog.goals import class_index, goal_labels
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.ops import seeds
from robustseg.tasks.semantic import dense
from robustseg.tasks.truth import of_prediction, things_of
from robustseg.types import (
    AttackResult,
    DenseOutput,
    Model,
    Output,
    SegmentTarget,
    SemanticTarget,
    State,
    View,
)

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack

__all__ = ["Ready", "ready", "run"]


def run(
    attack: Attack,
    model: Model,
    images: Tensor,
    targets: SemanticTarget | Tensor | None,
    ids: Sequence[str],
    seed: int,
    region: Tensor | None,
    early_stop: bool,
) -> AttackResult:
    """See ``Attack.__call__``, which has checked what comes in and frozen the model."""
    device = next((p.device for p in model.module.parameters()), images.device)
    images = images.detach().to(device)
    truth = targets if isinstance(targets, SemanticTarget) or targets is None else SemanticTarget(targets)
    look = outputs.view(attack.entry, model)
    writable = None if region is None else region.to(device)
    one = ready(attack, model, look, images, None if truth is None else truth.to(device), writable)
    search = build.search(attack.entry, attack.params, one.objective, attack.function is not None, look)
    problem = Problem(
        forward=one.forward,
        images=images,
        target=one.target,
        state=one.state,
        generators=lambda *draw: [seeds.generator(seed, i, *draw) for i in ids],
        writable=writable,
        early_stop=early_stop,
    )
    start = None
    if attack.entry.shared:
        assert attack.artefact is not None
        start = universal.start(attack.artefact, images)
    found = _found(search, problem, build.ball(attack.params), start, one.applicable)
    return AttackResult(
        images=images + found.theta,
        score=found.score,
        forwards=found.forwards + one.forwards,
        backwards=found.backwards,
        trace=found.trace,
        goal=None if one.goal is None else one.goal.labels,
        applicable=one.applicable,
        fault=torch.where((found.score < 1) & (found.fault != UNTRIED), found.fault, 0),
    )


@dataclass(frozen=True)
class Ready:
    """Images ``(B,3,H,W)`` with all that an attack wants to know of them. ``forwards``: what this took an image."""

    images: Tensor
    forward: Callable[[Tensor, SemanticTarget, State], Output]
    target: SemanticTarget
    goal: SemanticTarget | None
    applicable: Tensor
    objective: Objective
    state: State
    forwards: int


def ready(
    attack: Attack,
    model: Model,
    look: str,
    images: Tensor,
    truth: SemanticTarget | None,
    writable: Tensor | None = None,
) -> Ready:
    """Reference, goal, objective and its state for images and truth on the model's device."""
    forward = outputs.forward(model, look, (images.shape[-2], images.shape[-1]))
    clean: Output | None = None
    if attack.needs_clean:
        with torch.no_grad():
            clean = forward(images, truth or SemanticTarget(torch.zeros_like(images[:, 0], dtype=torch.int64)), {})
    reference = _reference(attack, look, truth, clean, model, images)
    goal = goal_labels(attack.params, model, reference, _dense(clean, images)) if attack.targeted else None
    # an objective on segments knows its goal by name and keeps the reference; one on pixels runs towards the goal
    target = reference if goal is None or look != "dense" else goal
    applicable = _applicable(goal or target, reference, writable, attack.params.get("target") == "nearest")
    objective: Objective = build.objective(attack.entry, attack.params, attack.function, look)
    constants = {"reference": reference.labels, **(attack.artefact.tensors if attack.artefact else {})}
    if "class" in attack.params:
        index = class_index(model, attack.params["class"])
        constants["class"] = torch.full((len(images),), index, device=images.device)
    zero = torch.zeros_like(images)
    state: State = objective.init(View(images, images, zero, clean or DenseOutput(zero)), target, constants)
    return Ready(images, forward, target, goal, applicable, objective, state, int(clean is not None))


def _dense(clean: Output | None, images: Tensor) -> DenseOutput | None:
    """The clean output as dense scores at label size, where there is one."""
    return None if clean is None else dense(clean, (images.shape[-2], images.shape[-1]))


def _reference(
    attack: Attack, look: str, truth: SemanticTarget | None, clean: Output | None, model: Model, images: Tensor
) -> SemanticTarget:
    """What counts as right: the truth, or what the model says of the clean image; unlabelled pixels stay ignored."""
    if attack.reference == "pred":
        assert clean is not None
        if look != "dense":
            size = (int(images.shape[-2]), int(images.shape[-1]))
            return _predicted_segments(attack, look, truth, clean, model, size)
        scores = _dense(clean, images)
        assert scores is not None
        labels, ignore = scores.scores.max(1).indices, 255 if truth is None else truth.ignore
        return SemanticTarget(labels if truth is None else torch.where(truth.valid, labels, ignore), ignore)
    if truth is None:
        raise UserError(f"{attack.name}: no labels were given; pass targets, or use reference=pred")
    if look != "dense" and not isinstance(truth, SegmentTarget):
        raise UserError(
            f"{attack.name} attacks segments and was given labels; pass a SegmentTarget "
            "(robustseg.tasks.truth.target), or use reference=pred"
        )
    return truth


def _predicted_segments(
    attack: Attack, look: str, truth: SemanticTarget | None, clean: Output, model: Model, size: tuple[int, int]
) -> SegmentTarget:
    if look == "prompted":
        raise UserError(f"{attack.name}: a prompted model answers for the truth's boxes; use reference=gt")
    from robustseg.tasks.predict import predict

    things = truth.things.tolist() if isinstance(truth, SegmentTarget) else things_of(model)
    if not any(things):
        raise UserError(f"{attack.name}: {model.spec.ref} does not say which classes are countable; use reference=gt")
    found = predict(clean, size, things, ("semantic", "panoptic" if look == "query" else "instance"))
    return of_prediction(found, things, truth)


def _applicable(target: SemanticTarget, reference: SemanticTarget, writable: Tensor | None, hides: bool) -> Tensor:
    """``(B,)`` bool: a pixel counts, one may be written, and, where a class is to be hidden, one is to be changed."""
    pixels = target.valid & (target.labels != reference.labels) if hides else target.valid
    applicable = pixels.flatten(1).any(1)
    return applicable if writable is None else applicable & writable.flatten(1).any(1)


def _found(search: Search, problem: Problem, ball: Ball, start: Tensor | None, applicable: Tensor) -> Found:
    """Search where there is something to do; other images come back untouched, with score NaN, at no cost."""
    keep = applicable.nonzero().flatten()
    if len(keep) == len(applicable):
        return search(problem, ball, start, 0)
    if len(keep):
        return only(search, keep)(problem, ball, start, 0)
    nothing = torch.zeros_like(applicable, dtype=torch.int64)
    unknown = problem.images.new_full((len(applicable), 1), torch.nan)
    untried = torch.full_like(nothing, UNTRIED, dtype=torch.uint8)
    return Found(torch.zeros_like(problem.images), unknown[:, 0], nothing, nothing, unknown, untried)
