"""Dense Adversary Generation against a detector: many fixed proposals, each pushed to a wrong class until it has it.

Source: Xie et al., ICCV 2017, arXiv 1703.08603, algorithm 1 and section 3.3; where the authors' code differs it is
followed: a proposal is active until it reaches its wrong class or the background, and what is pushed down is the class
that it has now. The step, ``γ·g/|g|_∞``, is the update rule ``normalised``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.regions.matching import regions_of, truth_of
from robustseg.ops import boxes as bx
from robustseg.ops.seeds import content_ids, generator
from robustseg.types import SemanticTarget, State, View

__all__ = ["dag", "derangement"]

LEAST = 0.1  # IoU with the closest object, and probability of its class, above which a proposal is a target


def dag(nms: float = 0.9, top: int = 3000) -> Objective:
    """``Σ over active proposals of [z_wrong - z_now]``, proposals of the clean image at overlap ``nms``.

    Raises: UserError for a model without regions.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        output = regions_of(view)
        A = output.objectness.shape[1]
        proposals, _ = bx.proposals(
            output.objectness, output.anchors, output.box_deltas, output.extras["levels"], output.size,
            nms=nms, top=top, before=min(max(top, 1000), A),
        )  # fmt: skip
        # the classes of these proposals are known after the first forward
        unknown = torch.full_like(proposals[..., 0], -1, dtype=torch.int64)
        goals = derangement(view.x0, output.class_logits.shape[2])
        return {"proposals": proposals, "label": unknown, "goals": goals}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output = regions_of(view)
        z = output.class_logits
        with torch.no_grad():
            label = torch.where(state["label"] < 0, _targets(view, target), state["label"])
            goal = state["goals"].gather(1, label)
            now = z.argmax(2)
            active = (label > 0) & (now != goal) & (now != 0)
        push = z.gather(2, goal[..., None]) - z.gather(2, now[..., None])
        return {"dag": torch.where(active, push[..., 0], 0).sum(1)}, {**state, "label": label}

    return Objective("dag", value, init, needs_clean=True)


def _targets(view: View, target: SemanticTarget) -> Tensor:
    """``(B,R)`` class of the object that a proposal stands for, 0 for none."""
    output, truth = regions_of(view), truth_of(target)
    near = torch.where(truth.there[:, None], bx.iou(output.proposals, truth.boxes), 0)
    if not near.shape[2]:
        return torch.zeros_like(output.present, dtype=torch.int64)
    best, which = near.max(2)
    label = truth.labels.gather(1, which)
    p = output.class_logits.softmax(-1).gather(2, label[..., None])[..., 0]
    return torch.where((best > LEAST) & (p > LEAST) & output.present, label, 0)


def derangement(images: Tensor, classes: int) -> Tensor:
    """``(B,K)``: for each class another object class, drawn per image from its content; the background stays.

    A cyclic shift of the object classes; where there is only one, it is driven to the background.

    >>> derangement(torch.zeros(1, 3, 2, 2), 2), int(derangement(torch.zeros(1, 3, 2, 2), 3)[0, 1])
    (tensor([[0, 0]]), 2)
    """
    objects = classes - 1
    goals = torch.zeros(len(images), classes, dtype=torch.int64)
    if objects > 1:
        for row, name in zip(goals, content_ids(images)):
            shift = int(torch.randint(1, objects, (1,), generator=generator(0, name)))
            row[1:] = (torch.arange(objects) + shift) % objects + 1
    return goals.to(images.device)
