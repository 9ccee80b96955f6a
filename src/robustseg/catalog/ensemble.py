"""Several models under one perturbation: their sides as one, and how their gradients combine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from robustseg.attacks.rules import Rule, blended, summed
from robustseg.catalog.outputs import kind, randoms
from robustseg.catalog.spec import shares
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.ops.rollout import rollout
from robustseg.types import (
    DenseOutput,
    EnsembleOutput,
    EnsembleTarget,
    Model,
    Output,
    SegmentTarget,
    SemanticTarget,
    State,
    View,
)

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack
    from robustseg.catalog.running import Side

__all__ = ["check", "joined", "rule", "targets"]


def joined(sides: Sequence[Side], weights: Sequence[float] | None = None) -> Side:
    """One side: the mean of the members' objectives, one term each, and the mean of their scores.

    The state of member ``m`` lives under ``m.name``. The score reaches 1 only where every member is solved; a member
    of weight 0 is looked at and no more.
    """
    from robustseg.catalog.running import Side

    counted = [m for m in range(len(sides)) if weights is None or weights[m] > 0]

    def own(state: State, m: int) -> State:
        return {name.partition(".")[2]: leaf for name, leaf in state.items() if name.startswith(f"{m}.")}

    def forward(images: Tensor, target: SemanticTarget, state: State) -> EnsembleOutput:
        members = _members(target)
        return EnsembleOutput(tuple(s.forward(images, members[m], own(state, m)) for m, s in enumerate(sides)))

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        terms: dict[str, Tensor] = {}
        after: State = {}
        for m, (s, part) in enumerate(zip(sides, _views(view), strict=True)):
            found, mine = s.objective.value(part, _members(target)[m], own(state, m), progress)
            terms[str(m)] = cast(Tensor, sum(found.values())) / len(sides)
            after.update({f"{m}.{name}": leaf for name, leaf in mine.items()})
        return terms, after

    def score(view: View, target: SemanticTarget, state: State) -> Tensor:
        views, members = _views(view), _members(target)
        return _mean([sides[m].score(views[m], members[m], own(state, m)) for m in counted])

    def track(view: View, target: SemanticTarget) -> Tensor:
        views, members = _views(view), _members(target)
        return _mean([cast(Any, sides[m].track)(views[m], members[m]) for m in counted])

    first = sides[0].target
    return Side(
        images=sides[0].images,
        forward=cast("Callable[..., Output]", forward),
        target=EnsembleTarget(first.labels, first.ignore, tuple(s.target for s in sides)),
        goal=sides[0].goal,
        objective=Objective("ensemble", value),
        score=score,
        track=track if all(s.track for s in sides) else None,
        state={f"{m}.{name}": leaf for m, s in enumerate(sides) for name, leaf in s.state.items()},
        applicable=torch.stack([s.applicable for s in sides]).any(0),
    )


def rule(attack: Attack) -> Rule:
    """How the gradients of the members combine."""
    return summed if attack.entry.rule == "summed" else blended(shares(attack.params), _rollouts)


def check(attack: Attack, models: Sequence[Model]) -> None:
    """Raises UserError for what one perturbation cannot do to these models, and for another number of weights."""
    weights = shares(attack.params)
    if weights is not None and len(weights) != len(models):
        raise UserError(
            f"{attack.name}: weights={attack.params['weights']} are {len(weights)} for {len(models)} "
            f"model{'s' if len(models) > 1 else ''}; give one a model, in their order, or weights=auto"
        )
    if len(models) < 2:
        if attack.entry.rule == "blended" and "eot" in attack.params:
            raise UserError(f"{attack.name}: a rollout belongs to the plain image, not to one under eot=; use pgd")
        if attack.entry.rule == "blended" and randoms(models[0]):
            raise UserError(f"{attack.name}: a rollout belongs to one image, not to the draws of a defence; use pgd")
        return
    names = ", ".join(m.spec.ref for m in models)
    if attack.needs_fit:
        raise UserError(
            f"{attack.name} must be fitted, which is defined for one model only, not for {names}; "
            "attack them with strong, pgd or saga"
        )
    if "eot" in attack.params:
        raise UserError(f"{attack.name}: eot= is for one model at a time, not for {names}; leave one of the two out")
    if any(randoms(m) for m in models):
        raise UserError(f"a randomised defence is for one model at a time, not for {names}; give it fixed numbers")
    strange = next((m for m in models if kind(m) == "prompted"), None)
    if strange is not None:
        raise UserError(f"{strange.spec.ref} is asked with prompts and cannot be attacked together with others")
    words = ("least-likely", "nearest", "permuted")
    target = attack.params.get("target", "nearest")
    if target not in words and not target.startswith("class:") and len({m.spec.classes for m in models}) > 1:
        raise UserError(
            f"target={target} holds class indices, but the models have different classes; use target=class:NAME"
        )


def targets(models: Sequence[Model], target: SemanticTarget | None, of: int = 0) -> list[SemanticTarget | None]:
    """A target in the class indices of model ``of``, in those of every model: classes are matched by name.

    Raises UserError where a label's class is unknown to one of them.
    """
    if target is None:
        return [None] * len(models)
    own = models[of].spec.classes
    return [target if m.spec.classes == own else _renamed(target, own, m) for m in models]


def _renamed(target: SemanticTarget, names: tuple[str, ...], model: Model) -> SemanticTarget:
    known = {name.lower(): i for i, name in enumerate(model.spec.classes)}
    ignore = 255 if len(known) <= 255 else 65535
    missing = -1
    table = torch.tensor([known.get(n.lower(), missing) for n in names], device=target.labels.device)
    labels = torch.where(target.valid, table[target.index], ignore)
    lost = target.index[labels == missing]
    if len(lost):
        raise UserError(
            f"{model.spec.ref} has no class {names[int(lost[0])]!r}, which the images show; attack models together "
            "that know the same classes by the same names, or leave it out with a class map"
        )
    if not isinstance(target, SegmentTarget):
        return SemanticTarget(labels, ignore)
    real = target.categories >= 0
    categories = torch.where(real, table[target.categories.clamp_min(0)], -1)
    things = torch.zeros(len(model.spec.classes), dtype=torch.bool, device=target.things.device)
    things[table[target.things & (table >= 0)]] = True
    return SegmentTarget(labels, ignore, target.masks, categories, target.crowd, things, target.prompts)


def _rollouts(view: View, target: SemanticTarget) -> list[Tensor | None]:
    """φ of every member whose output carries its attention; a counted pixel weighs 1, as in the mean of the loss."""
    found: list[Tensor | None] = []
    size = (int(view.x.shape[-2]), int(view.x.shape[-1]))  # not that of the labels: a classifier has one of them
    for part, mine in zip(_views(view), _members(target), strict=True):
        attention = part.output.extras.get("attention") if isinstance(part.output, DenseOutput) else None
        found.append(None if attention is None else rollout(attention, mine.valid.to(view.x.dtype), size))
    return found


def _members(target: SemanticTarget) -> tuple[SemanticTarget, ...]:
    assert isinstance(target, EnsembleTarget)
    return target.members


def _views(view: View) -> list[View]:
    assert isinstance(view.output, EnsembleOutput)
    return [View(view.x0, view.x, view.theta, output) for output in view.output.members]


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)
