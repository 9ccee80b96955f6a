"""The training loss of mask classification, upwards: dense, deterministic, re-matched every few steps.

Class cross-entropy (no object weighs 0.1), binary cross-entropy and dice with weights 2, 5, 5, as Mask2Former is
trained (Cheng et al., CVPR 2022, arXiv 2112.01527), but over all cells instead of sampled points, so that an attack
can be repeated, and of the last decoder layer alone. The matching is the cheapest one (Hungarian), costs 2, 5, 5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.truth import Field
from robustseg.types import QueryOutput, SemanticTarget, State, View

__all__ = ["mask_losses", "match", "set_loss", "training_loss"]

CLASS, MASK, DICE, NO_OBJECT = 2.0, 5.0, 5.0, 0.1
REMATCH = 5
TINY = 1e-12


def mask_losses(logits: Tensor, inside: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss ``(B,S)`` of paired masks ``(B,S,N)`` over the valid cells ``(B,N)``."""
    valid = valid.unsqueeze(1)
    number = valid.sum(-1).clamp_min(TINY)
    bce = (valid * F.binary_cross_entropy_with_logits(logits, inside, reduction="none")).sum(-1) / number
    p = logits.sigmoid() * valid
    dice = 1 - (2 * (p * inside).sum(-1) + 1) / (p.sum(-1) + (inside * valid).sum(-1) + 1)
    return bce, dice


@torch.no_grad()
def match(output: QueryOutput, truth: Field, counted: Tensor) -> Tensor:
    """The query of every counted segment ``(B,S)`` int64, -1 where it has none. Waits for the device.

    Every query has one segment at most; the sum of costs is lowest.
    """
    from scipy.optimize import linear_sum_assignment

    valid = _valid(truth, counted)
    logits, inside = output.mask_logits.flatten(2), truth.inside * valid.unsqueeze(1)
    p = output.class_logits.softmax(-1)[..., :-1] @ truth.category.transpose(1, 2)
    number = valid.sum(-1).clamp_min(TINY).view(-1, 1, 1)
    outside = valid.unsqueeze(1) - inside
    bce = (F.softplus(-logits) @ inside.transpose(1, 2) + F.softplus(logits) @ outside.transpose(1, 2)) / number
    soft = logits.sigmoid() * valid.unsqueeze(1)
    dice = 1 - (2 * soft @ inside.transpose(1, 2) + 1) / (soft.sum(-1).unsqueeze(-1) + inside.sum(-1).unsqueeze(1) + 1)
    cost = (MASK * bce + DICE * dice - CLASS * p).nan_to_num(0.0, 0.0, 0.0).cpu().numpy()
    there = (counted > 0).cpu().numpy()
    found = torch.full(counted.shape, -1, dtype=torch.int64)
    for b, mine in enumerate(there):
        columns = mine.nonzero()[0]
        rows, order = linear_sum_assignment(cost[b][:, columns])
        found[b, columns[order]] = torch.from_numpy(rows)
    return found.to(counted.device)


def _valid(truth: Field, counted: Tensor) -> Tensor:
    return (truth.inside * counted.unsqueeze(-1)).sum(1)


def set_loss(output: QueryOutput, truth: Field, counted: Tensor, matched: Tensor) -> Tensor:
    """The training loss ``(B,)`` under a matching ``(B,S)`` of the counted segments."""
    has = ((matched >= 0) & (counted > 0)).to(truth.inside)
    at = matched.clamp_min(0)
    log_p = output.class_logits.log_softmax(-1)
    # every query is "no object" but for those that a segment has
    nothing = torch.ones_like(log_p[..., 0]).scatter_add(1, at, -has)
    picked = log_p.gather(1, at.unsqueeze(-1).expand(-1, -1, log_p.shape[-1]))[..., :-1]
    true = (picked * truth.category).sum(-1)
    weight = (NO_OBJECT * nothing).sum(1) + has.sum(1)
    ce = -(NO_OBJECT * (nothing * log_p[..., -1]).sum(1) + (has * true).sum(1)) / weight.clamp_min(TINY)
    logits = output.mask_logits.flatten(2)
    paired = logits.gather(1, at.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
    bce, dice = mask_losses(paired, truth.inside, _valid(truth, counted))
    masks = (has * (MASK * bce + DICE * dice)).sum(1) / has.sum(1).clamp_min(1)
    return CLASS * ce + masks


def rematched(output: QueryOutput, truth: Field, counted: Tensor, state: State) -> State:
    """The state with its matching, made anew every ``REMATCH`` steps.

    Steps are counted by the width of the leaf ``steps (B,n)``: a number that a batch can leave and no device must tell.
    """
    n = state["steps"].shape[1]
    matched = match(output, truth, counted) if n % REMATCH == 0 else state["matched"]
    return {**state, "matched": matched, "steps": state["steps"].new_zeros(len(counted), (n + 1) % REMATCH)}


def start(view: View, target: SemanticTarget, constants: Constants) -> State:
    """No matching yet."""
    nothing = torch.zeros(len(view.x), 0, dtype=torch.int64, device=view.x.device)
    return {"matched": nothing, "steps": nothing}


def training_loss() -> Objective:
    """The training loss of a model of queries."""

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        state = rematched(output, truth, truth.counted, state)
        return {"training-loss": set_loss(output, truth, truth.counted, state["matched"])}, state

    return Objective("training-loss", value, start)
