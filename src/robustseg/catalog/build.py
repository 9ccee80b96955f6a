"""From an entry and its options to a search: the one place where objectives and attacks meet."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from robustseg.attacks import updates
from robustseg.attacks.combinators import radius_schedule, restarts, shuffled
from robustseg.attacks.constraints import Ball
from robustseg.attacks.expectation import through
from robustseg.attacks.looks import Looks, plainly
from robustseg.attacks.loop import Search, gradient_search
from robustseg.attacks.rules import Rule, summed
from robustseg.catalog import eot, fashion, minimal
from robustseg.catalog.entries import Entry
from robustseg.catalog.goals import aims
from robustseg.catalog.spec import Params, number, step_length
from robustseg.catalog.stealthy import learned
from robustseg.objectives.base import Objective, from_plain
from robustseg.objectives.dag import dag, lost
from robustseg.objectives.fashion import gone
from robustseg.objectives.semantic import metzen, semantic, stealthy
from robustseg.ops import pixels as px
from robustseg.types import SemanticTarget, State, View

__all__ = ["Judge", "ball", "budget", "judges", "no_steps", "objective", "search"]

Judge = Callable[[View, SemanticTarget, State], Tensor]
Track = Callable[[View, SemanticTarget], Tensor]

SEGMENTS = {  # how an attack looks at a model -> where its objectives are, by name, and their score
    "query": "robustseg.objectives.queries",
    "region": "robustseg.objectives.regions",
    "prompted": "robustseg.objectives.prompted",
}


def ball(params: Params) -> Ball:
    """The constraint of the options; without a radius all images there are."""
    return Ball(params["norm"], number(params["eps"], "eps")) if "eps" in params else Ball("linf", 1.0)


def objective(entry: Entry, params: Params, custom: Callable[..., Any] | None, look: str = "dense") -> Objective:
    """The objective of an attack that looks at a model in this way; a custom function replaces the entry's."""
    if custom is not None:
        return from_plain(custom)
    if look != "dense":
        made = import_module(SEGMENTS[look]).OBJECTIVES.get(entry.name)
        return _nothing if made is None else made(params)  # noise follows no objective
    if entry.loss_of(params) == "dag":
        return dag(params["rest"])
    if entry.minimal:
        return minimal.objective(params)
    if entry.loss_of(params) == "metzen":
        return metzen(number(params["omega"], "omega"), number(params["tau"], "tau"))
    if entry.loss == "stealthy":
        return stealthy(number(params["keep"], "keep"))
    return semantic(entry.loss, targeted="target" in params)


def judges(entry: Entry, params: Params, custom: bool, look: str = "dense") -> tuple[Judge, Track | None]:
    """What decides which iterate is returned, and what APGD watches (None: the objective)."""
    if entry.minimal:
        return minimal.judge(params), None
    targeted = aims(params)
    if entry.loss_of(params) == "dag" and look == "dense":
        return (lost if params["rest"] == "wrong" else _reached), None
    score = _hidden_and_kept if entry.loss_of(params) in ("metzen", "stealthy") else _reached if targeted else _wrong
    score = gone if entry.natural else score
    if look != "dense":
        module = import_module(SEGMENTS[look])
        score = getattr(module, "SCORES", {}).get(entry.name, module.harm)
    track = None
    if entry.track_ce and params["update"] == "apgd" and not custom and look == "dense":
        track = _toward_goal if targeted else _away
    return score, track


def search(
    entry: Entry,
    params: Params,
    goal: Objective,
    score: Judge,
    track: Track | None,
    rule: Rule = summed,
    *,
    fit: Looks | None = None,
    own: Callable[[Looks], Looks] | None = None,
) -> Search:
    """The search: update and gradient rule, radius stages, restarts; ``fit``: looks at all images of one variable.

    ``own``: what becomes of the looks at a model that draws at random itself.
    """
    if entry.minimal:
        return minimal.search(entry, params, goal, score)
    update = _update(entry, params)
    seen = looks(params, fit or plainly)
    seen = seen if own is None else own(seen)

    def stage(steps: int) -> Search:
        return gradient_search(
            goal, update, steps, score, random_start=entry.random_start, track=track, rule=rule,
            looks=seen,
        )  # fmt: skip

    steps = 0 if no_steps(entry, params) and fit is None else int(params["steps"])
    once = stage(steps) if len(entry.radii) == 1 else radius_schedule(stage, steps, entry.radii)
    whole = restarts(once, int(params["restarts"]))
    return shuffled(whole, stage(0)) if params.get("control") == "shuffled" else whole


def no_steps(entry: Entry, params: Params) -> bool:
    """What changes an image was found beforehand: a tile, or a network that makes it in one forward."""
    return entry.shared or learned(params)


def looks(params: Params, plain: Looks = plainly) -> Looks:
    """How a step sees its iterate: as it is, or through the transformations it must survive."""
    if "eot" not in params:
        return plain
    return through(eot.expectation(params["eot"], int(params.get("eot_samples", "1"))), plain)


def budget(entry: Entry, params: Params, clean: bool) -> tuple[int, int]:
    """Planned forwards and backwards an image, ``clean``: one forward more for the clean prediction."""
    if entry.minimal:
        forwards, backwards = minimal.budget(params)
        return forwards + int(clean), backwards
    steps, count, samples = int(params["steps"]), int(params["restarts"]), int(params.get("eot_samples", "1"))
    steps = 0 if no_steps(entry, params) else steps
    judged = 2 * steps if "eot" in params else steps  # under an expectation scores have forwards of their own
    control = samples if params.get("control") == "shuffled" else 0
    again = samples * steps + 1 if entry.natural and fashion.looks_again(params) else 0
    return count * samples * (judged + len(entry.radii)) + control + int(clean) + again, count * samples * steps


def _update(entry: Entry, params: Params) -> updates.Update:
    length = step_length(params)
    if params["update"] == "momentum":
        return updates.momentum(length, number(params.get("decay", "1"), "decay"))
    if params["update"] == "adam":
        return updates.adam(length)
    if params["update"] == "normalised":
        return updates.normalised(length)
    if params["update"] == "apgd":
        radius = number(params["eps"], "eps")
        return updates.apgd(length / radius if radius else 2.0)
    return updates.sign(length)


def _no_value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
    return {"nothing": view.theta.flatten(1).sum(1)}, state


_nothing = Objective("nothing", _no_value)


# ------------------------------------------------------------------------- scores: which iterate is returned


def _wrong(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Share of the counted pixels that are wrong."""
    return px.share(px.wrong(view.output, target), target)  # type: ignore[arg-type]


def _reached(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Share of the counted pixels that are predicted as the goal."""
    return px.share(px.correct(view.output, target), target)  # type: ignore[arg-type]


def _hidden_and_kept(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Mean of the share of aimed pixels that reach the goal and the share of the others that keep theirs."""
    there = px.correct(view.output, target)  # type: ignore[arg-type]
    aimed, rest = state["aimed"] & target.valid, ~state["aimed"] & target.valid

    def part(mask: Tensor) -> Tensor:
        # an empty part is fully reached: nothing of it is left to do
        total = mask.flatten(1).sum(1)
        return torch.where(total > 0, (there & mask).flatten(1).sum(1) / total.clamp_min(1), 1.0)

    return (part(aimed) + part(rest)) / 2


def _away(view: View, target: SemanticTarget) -> Tensor:
    return px.mean(-px.log_probability(view.output, target).detach(), target)  # type: ignore[arg-type]


def _toward_goal(view: View, target: SemanticTarget) -> Tensor:
    return -_away(view, target)
