"""What going wrong means for two-stage detectors: objectives by the name of their attack, and their score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.regions import stages, training
from robustseg.objectives.regions.dag import dag
from robustseg.objectives.regions.hide import hidden, hide
from robustseg.objectives.regions.matching import Truth, regions_of, truth_of
from robustseg.objectives.regions.ranking import ap_rank, harm
from robustseg.types import RegionOutput, SemanticTarget, State, UserError, View

__all__ = ["OBJECTIVES", "SCORES", "harm", "objective", "phantom", "training_loss"]

Params = Mapping[str, str]
Loss = Callable[[RegionOutput, Truth], Tensor]


def objective(name: str, loss: Loss, *, fixed: bool = False) -> Objective:
    """A loss ``(output, truth) -> (B,)`` as an objective; ``fixed``: the clean image's proposals throughout."""

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        if not fixed:
            return {}
        output = regions_of(view)
        return {"proposals": torch.where(output.present[..., None], output.proposals, 0)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        return {name: loss(regions_of(view), truth_of(target))}, state

    return Objective(name, value, init, needs_clean=fixed)


def _named(name: str, loss: Loss, params: Params) -> Objective:
    return objective(name, loss, fixed=params.get("proposals") == "fixed")


def _dense(params: Params) -> tuple[float, int]:
    try:
        nms, top = float(Fraction(params.get("nms", "0.9"))), int(params.get("top", "1000"))
    except ValueError:
        raise UserError(
            f"dag: nms={params.get('nms')}, top={params.get('top')}; wanted e.g. nms=0.9,top=1000"
        ) from None
    if not 0 < nms <= 1 or top < 1:
        raise UserError(f"dag: nms={nms}, top={top}; nms is an overlap between 0 and 1, top at least 1")
    return nms, top


phantom = partial(objective, "phantom", stages.false_detections)
training_loss = partial(objective, "training-loss", training.training_loss)

_LOSSES: dict[str, Loss] = {
    "rpn-objectness": stages.lost_proposals,
    "roi-class": stages.lost_classes,
    "roi-box": stages.lost_boxes,
    "roi-mask": stages.lost_masks,
    "phantom": stages.false_detections,
    "training-loss": training.training_loss,
}

OBJECTIVES: dict[str, Callable[[Params], Objective]] = {
    **{name: partial(_named, name, loss) for name, loss in _LOSSES.items()},
    "dag": lambda p: dag(*_dense(p)),
    "fashion": lambda p: hide(float(Fraction(p.get("omega", "0.9")))),
    "ap-rank": lambda p: ap_rank(fixed=p.get("proposals") == "fixed"),
}

SCORES = {"fashion": hidden}  # which iterate is returned; all others: ``harm``
