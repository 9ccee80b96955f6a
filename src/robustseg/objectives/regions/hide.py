"""No object of one class: regions on it go to the background, all others stay as they are. Our own.

The losses are those of ``stages.lost_classes`` on the aimed objects and of ``training.second_stage`` on a truth without
them: after Treu et al., CVPR 2021 workshops, arXiv 2104.08422, whose truth is what the detector found but persons.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.regions.matching import DETECTED, Truth, matches, mean_over, regions_of, truth_of
from robustseg.objectives.regions.training import second_stage
from robustseg.types import SemanticTarget, State, View

__all__ = ["hidden", "hide"]


def hide(omega: float = 0.9) -> Objective:
    """``ω · mean over aimed objects of the cross-entropy of their class over the regions on them, at rest once none
    would be detected; (1-ω) · minus the second stage's training loss on the other objects``.

    Aimed are the objects of ``constants["class"] (B,)``.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        truth = truth_of(target)
        return {"aimed": truth.there & (truth.labels == constants["class"].to(truth.labels).unsqueeze(1))}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = regions_of(view), truth_of(target)
        m = matches(output, truth)
        ce = -m.log_p.clamp_min(math.log(DETECTED))
        lost = torch.where(m.hit.any(1), mean_over(ce, m.hit, 1), -math.log(DETECTED))
        kept = -second_stage(output, _without(truth, state["aimed"]))
        return {"hidden": omega * mean_over(lost, state["aimed"], 1), "kept": (1 - omega) * kept}, state

    return Objective("hide", value, init)


def _without(truth: Truth, aimed: Tensor) -> Truth:
    rest = truth.there & ~aimed
    return replace(truth, labels=torch.where(rest, truth.labels, 0), there=rest, memo={})


@torch.no_grad()
def hidden(view: View, target: SemanticTarget, state: State) -> Tensor:
    """Mean over the aimed objects of 1 - the highest probability with which a region is detected as them, ``(B,)``.

    What is not detected at all (below 0.05) counts as fully hidden; 1 where nothing is aimed at.
    """
    m = matches(regions_of(view), truth_of(target))
    p = torch.where(m.hit, m.log_p.exp(), 0).amax(1)
    p = torch.where(p > DETECTED, p, 0)
    return torch.where(state["aimed"].any(1), mean_over(1 - p, state["aimed"], 1), 1.0)
