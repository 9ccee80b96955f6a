"""Towards a goal: one class or one object hidden or moved, everything else kept. Our own.

The goal is a truth with other segments, and the training loss towards it goes down; where a hidden
segment was, any other may be.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.queries.decoding import hard, keep_margin
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.quality import quality
from robustseg.objectives.queries.training import rematched, set_loss, start
from robustseg.objectives.queries.truth import Field, field_of
from robustseg.ops.shift import shifted
from robustseg.types import QueryOutput, SegmentTarget, SemanticTarget, State, View

__all__ = ["aimed", "displace", "hidden", "hidden_and_kept", "hide", "moved_and_kept"]

SLACK = 1.0  # logits that a hidden query is pushed below the threshold
TINY = 1e-12


def aimed(target: SegmentTarget, constants: Constants, instance: int | None) -> Tensor:
    """``(B,S)`` 1 on the segments to change: those of ``constants["class"] (B,)``, or the ``instance``-th object."""
    if instance is None:
        mine = target.categories == constants["class"].to(target.categories).unsqueeze(1)
    else:
        known = target.counted
        thing = known & target.things.to(known.device)[target.categories.clamp_min(0)]
        mine = thing & (thing.cumsum(1) == instance)
    return (mine & target.counted).float()


def hide(omega: float = 0.5, instance: int | None = None) -> Objective:
    """No kept query on the aimed segments; all others towards the truth. ``omega`` weighs the first against the second.

    ``ω Σ_hidden -relu(log-odds - log-odds(0.8) + 1) - (1-ω) training loss`` without the aimed segments.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        assert isinstance(target, SegmentTarget)
        return {"aimed": aimed(target, constants, instance), **start(view, target, constants)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        counted = truth.counted * (1 - state["aimed"])
        state = rematched(output, truth, counted, state)
        margin, _ = keep_margin(output.class_logits)
        there = _lies_in(output, truth, state["aimed"])
        gone = -(there * F.relu(margin + SLACK)).sum(1)
        rest = -set_loss(output, truth, counted, state["matched"])
        return {"hidden": omega * gone, "kept": (1 - omega) * rest}, state

    return Objective("hide", value, init)


@torch.no_grad()
def _lies_in(output: QueryOutput, truth: Field, chosen: Tensor) -> Tensor:
    """``(B,Q)`` 1 where a query's mask lies by more than half in the chosen segments."""
    solid = (output.mask_logits.flatten(2) >= 0).to(truth.inside)
    region = (truth.inside * chosen.unsqueeze(-1)).sum(1)
    return (2 * (solid @ region.unsqueeze(-1)).squeeze(-1) > solid.sum(-1)).to(solid)


def displace(dx: int, dy: int, instance: int | None = None) -> Objective:
    """Aimed segments appear ``dx`` pixels to the right and ``dy`` down; the nearest stuff fills what they uncover."""

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        assert isinstance(target, SegmentTarget)
        chosen = aimed(target, constants, instance)
        there = target.masks & (chosen > 0).unsqueeze(-1).unsqueeze(-1)
        moved = shifted(there, dx, dy)
        others = target.masks & ~there & ~moved.any(1, keepdim=True)
        masks = _filled(target, moved | others, there.any(1))
        return {"aimed": chosen, "goal": masks, **start(view, target, constants)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = _goal(view, target, state)
        state = rematched(output, truth, truth.counted, state)
        return {"displace": -set_loss(output, truth, truth.counted, state["matched"])}, state

    return Objective("displace", value, init)


def _filled(target: SegmentTarget, masks: Tensor, uncovered: Tensor) -> Tensor:
    """Pixels of ``uncovered (B,H,W)`` that no mask has go to the nearest stuff segment, where there is one."""
    from scipy.ndimage import distance_transform_edt

    stuff = target.counted & ~target.things.to(target.categories.device)[target.categories.clamp_min(0)]
    free = uncovered & ~masks.any(1)
    masks = masks.clone()
    for b in range(len(masks)):
        mine = masks[b] & stuff[b, :, None, None]
        if not mine.any():
            continue
        lender = mine.any(0)
        nearest = np.asarray(distance_transform_edt(~lender.cpu().numpy(), return_distances=False, return_indices=True))
        y, x = torch.from_numpy(nearest).to(mine.device)
        masks[b] |= mine[:, y, x] & free[b]
    return masks


def _goal(view: View, target: SemanticTarget, state: State) -> tuple[QueryOutput, Field]:
    assert isinstance(target, SegmentTarget)
    output, _ = segments_of(view, target)
    goal = replace(target, masks=state["goal"])
    truth = field_of(goal, output.mask_logits, output.class_logits.shape[-1] - 1)
    return output, replace(truth, counted=truth.counted * (truth.area > 0))


@torch.no_grad()
def hidden_and_kept(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Mean of the share of aimed segments that nobody finds any more and the share of the others that are found."""
    output, truth = segments_of(view, target)
    found = (quality(hard(output), truth, 0.0).hits > 0).to(truth.counted)
    rest = truth.counted * (1 - state["aimed"])
    return (_share(1 - found, state["aimed"]) + _share(found, rest)) / 2


@torch.no_grad()
def hidden(view: View, target: SemanticTarget, state: State) -> Tensor:
    """The share of aimed segments that nobody finds any more."""
    output, truth = segments_of(view, target)
    found = (quality(hard(output), truth, 0.0).hits > 0).to(truth.counted)
    return _share(1 - found, state["aimed"])


@torch.no_grad()
def moved_and_kept(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Mean of the share of aimed segments found at their new place and the share of the others found at theirs."""
    output, truth = _goal(view, target, state)
    found = (quality(hard(output), truth, 0.0).hits > 0).to(truth.counted)
    aim = truth.counted * state["aimed"]
    return (_share(found, aim) + _share(found, truth.counted - aim)) / 2


def _share(flags: Tensor, among: Tensor) -> Tensor:
    total = among.sum(1)
    return torch.where(total > 0, (flags * among).sum(1) / total.clamp_min(TINY), 1.0)
