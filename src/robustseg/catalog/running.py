"""One attack on one batch, on one model or several: what is asked of each, the search, what the caller gets back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.attacks.combinators import only
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem, Search
from robustseg.attacks.rules import summed
from robustseg.catalog import build, fashion, outputs, shared, stealthy
from robustseg.catalog.goals import class_index, goal_labels
from robustseg.catalog.spec import shares
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.ops import seeds
from robustseg.ops.size import label_size
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

__all__ = ["Side", "run", "side"]


@dataclass(frozen=True)
class Side:
    """One model under attack: the images, how it answers, what is asked of it, and what counts as reached."""

    images: Tensor
    forward: Callable[[Tensor, SemanticTarget, State], Output]
    target: SemanticTarget
    goal: SemanticTarget | None
    objective: Objective
    score: build.Judge
    track: Callable[[View, SemanticTarget], Tensor] | None
    state: State
    applicable: Tensor


def run(
    attack: Attack,
    models: Sequence[Model],
    images: Tensor,
    targets: Sequence[SemanticTarget | None],
    ids: Sequence[str],
    seed: int,
    region: Tensor | None,
    early_stop: bool,
) -> AttackResult:
    """See ``Attack.__call__``, which has checked what comes in and frozen the models; one target a model."""
    device = next((p.device for p in models[0].module.parameters()), images.device)
    images = images.detach().to(device)
    writable = None if region is None else region.to(device)
    free = stealthy.may_change(attack.params, images, _named(seed, ids, "mask"))
    if free is not None:
        writable = free if writable is None else writable & free
    sides = [
        side(attack, m, images, t, writable, _named(seed, ids, "goal")) for m, t in zip(models, targets, strict=True)
    ]
    one, rule = sides[0], summed
    if len(sides) > 1 or attack.entry.rule != "summed":
        from robustseg.catalog import ensemble

        one, rule = ensemble.joined(sides, shares(attack.params)), ensemble.rule(attack)
    own = outputs.draws(models[0], "eot" in attack.params)
    search = build.search(attack.entry, attack.params, one.objective, one.score, one.track, rule, own=own)
    problem = Problem(
        forward=one.forward,
        images=images,
        target=one.target,
        state=one.state,
        generators=lambda *draw: [seeds.generator(seed, i, *draw) for i in ids],
        writable=writable,
        early_stop=early_stop and not attack.entry.natural,  # a cloth that hides may still become more natural
    )
    start = None
    if attack.entry.shared:
        start = shared.start(attack, images, ids, seed)
    elif stealthy.learned(attack.params):
        assert attack.artefact is not None
        start = stealthy.start(attack.artefact, sides[0], class_index(models[0], attack.params["class"]))
    found = _found(search, problem, build.ball(attack.params), start, one.applicable)
    again = attack.entry.natural and fashion.looks_again(attack.params)
    plain = (found.backwards + found.backwards.clamp_max(1)) if again else 0  # a look at the plain image each, and one
    return AttackResult(
        images=images + found.theta,
        score=found.score,
        forwards=(found.forwards + int(attack.needs_clean) + plain) * len(sides),
        backwards=found.backwards * len(sides),
        trace=found.trace,
        goal=None if one.goal is None else one.goal.labels,
        applicable=one.applicable,
        fault=torch.where((found.score < attack.enough) & (found.fault != UNTRIED), found.fault, 0),
        goals=() if len(sides) == 1 else tuple(None if s.goal is None else s.goal.labels for s in sides),
    )


def _named(seed: int, ids: Sequence[str], what: str) -> list[torch.Generator]:
    """Draws of every image that no search knows: each name of ``what`` has its own."""
    return [seeds.generator(seed, f"{i}/{what}") for i in ids]


def side(
    attack: Attack,
    model: Model,
    images: Tensor,
    truth: SemanticTarget | None,
    writable: Tensor | None = None,
    draws: Sequence[torch.Generator] = (),
) -> Side:
    """What the attack asks of one model; ``images`` and ``writable`` are on its device; ``draws`` are for its goal."""
    device = images.device
    look = outputs.view(attack.entry, model, attack.given)
    maps = attack.params.get("rollout") == "auto" and "attention" in getattr(model, "gives", ())
    want = frozenset({"attention"} if maps else ())
    want |= fashion.wanted(attack.params) if attack.entry.natural else frozenset()
    forward = outputs.forward(model, look, (images.shape[-2], images.shape[-1]), want)
    size = label_size(model.spec.task, (images.shape[-2], images.shape[-1]))
    truth = None if truth is None else truth.to(device)
    clean: Output | None = None
    if attack.needs_clean:
        with torch.no_grad():
            nothing = torch.zeros(len(images), *size, dtype=torch.int64, device=device)
            clean = forward(images, truth or SemanticTarget(nothing), {})
    reference = _reference(attack, look, truth, clean, model, size)
    # an object has no map of labels, nor has a detection
    named = attack.targeted and (look == "dense" or (look == "query" and "instance" not in attack.params))
    goal = goal_labels(attack.params, model, reference, _dense(clean, size), draws) if named else None
    # an objective on segments knows its goal by name and keeps the reference; one on pixels runs towards the goal
    target = reference if goal is None or look != "dense" else goal
    hides = goal is not None and (attack.params.get("target") == "nearest" or "kind" in attack.params)
    applicable = _applicable(goal or target, reference, writable, hides)

    objective: Objective = build.objective(attack.entry, attack.params, attack.function, look)
    score, track = build.judges(attack.entry, attack.params, attack.function is not None, look)
    constants = {"reference": reference.labels, **(attack.artefact.tensors if attack.artefact else {})}
    if "class" in attack.params and "instance" not in attack.params:
        constants["class"] = torch.full((len(images),), class_index(model, attack.params["class"]), device=device)
    if attack.entry.natural:
        objective = fashion.dressed(objective, attack.params, model, images, look)
        constants |= {} if writable is None else {"clothing": writable}
    zero = torch.zeros_like(images)
    state: State = objective.init(View(images, images, zero, clean or DenseOutput(zero)), target, constants)
    if look != "dense" and "aimed" in state:
        applicable = applicable & (state["aimed"] > 0).any(1)
    return Side(images, forward, target, goal, objective, score, track, state, applicable)


def _dense(clean: Output | None, size: tuple[int, int]) -> DenseOutput | None:
    """The clean output as dense scores at label size, where there is one."""
    return None if clean is None else dense(clean, size)


def _reference(
    attack: Attack,
    look: str,
    truth: SemanticTarget | None,
    clean: Output | None,
    model: Model,
    size: tuple[int, int],
) -> SemanticTarget:
    """What counts as right: the truth, or what the model says of the clean image; unlabelled pixels stay ignored."""
    if attack.reference == "pred":
        assert clean is not None
        if look != "dense":
            return _predicted_segments(attack, look, truth, clean, model, size)
        scores = _dense(clean, size)
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
        raise UserError(
            f"{attack.name}: {model.spec.ref} does not say which classes are countable; name them (of an hf: model "
            "?things=car,person or a file), or use data with segments and reference=gt"
        )
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
