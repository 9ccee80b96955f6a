"""Dense Adversary Generation on pixels: each is pushed to a wrong class of its own until it rests.

Source: Xie et al., ICCV 2017, arXiv 1703.08603, algorithm 1; what the authors' code does instead is the default. The
step, ``γ·g/|g|_∞``, is the update rule ``normalised``; on detections see ``objectives.regions.dag``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.ops import pixels as px
from robustseg.types import SemanticTarget, State, View

__all__ = ["dag", "lost"]


def dag(rest: str = "goal") -> Objective:
    """``Σ over active pixels of [z(goal) - z(now)]``, scores before the softmax; ``target`` is the goal map.

    ``rest="goal"`` (the code): active is what is not yet predicted as its goal, and the class of now is pushed down, so
    that the value is 0 exactly where all goals are reached. ``rest="wrong"`` (the paper): active is what is still
    predicted as its reference, ``constants["reference"] (B,H,W)``, and that class is pushed down.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        return {"reference": constants["reference"]} if rest == "wrong" else {}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        z = px.logits(view.output)  # type: ignore[arg-type]
        goal = z.gather(1, target.index[:, None])[:, 0]
        if rest == "goal":
            active, now = target.valid, z.amax(1)  # where the goal is reached it is the highest: 0, and no gradient
        else:
            before = _before(target, state)
            active = px.correct(view.output, before)  # type: ignore[arg-type]
            now = z.gather(1, before.index[:, None])[:, 0]
        return {"dag": torch.where(active, goal - now, 0).flatten(1).sum(1)}, state

    return Objective("dag", value, init)


def lost(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Share ``(B,)`` of the pixels with a goal that are no longer predicted as their reference; 1: none is active."""
    before = _before(target, state)
    return px.share(px.wrong(view.output, before), before)  # type: ignore[arg-type]


def _before(target: SemanticTarget, state: State) -> SemanticTarget:
    """What the pixels that have a goal were at first."""
    return SemanticTarget(torch.where(target.valid, state["reference"], target.ignore), target.ignore)
