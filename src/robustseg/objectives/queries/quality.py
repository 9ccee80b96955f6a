"""Matched quality and number of segments, per class, from a decoding: the two sums that panoptic quality is made of.

``PQ_c = 2 S_c / (P_c + G_c)``: S the IoU summed over matches, P the predicted and G the true segments that count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.objectives.queries.decoding import Decoded
from robustseg.objectives.queries.truth import Field

__all__ = ["Quality", "quality"]

TINY = 1e-12


@dataclass(frozen=True)
class Quality:
    """``hits (B,S)`` quality got from each true segment, ``predicted (B,C)`` predicted segments that count."""

    hits: Tensor
    predicted: Tensor


def quality(found: Decoded, truth: Field, width: float) -> Quality:
    """Soft (``width`` of the gate at IoU 1/2) or hard (``width = 0``) quality of a decoding.

    Rules: IoU above 1/2 matches; true void is taken out of the union; a prediction that lies by more than half on
    void or on a crowd of its class, and matches nothing, is not counted; stuff is one segment a class.
    """
    share = found.alive.unsqueeze(-1) * found.label  # (B,Q,C) how much of a segment of the class this query is
    inter, void, area = (found.region @ truth.sums).split([truth.area.shape[1], 1, 1], -1)  # (B,Q,S), (B,Q,1) twice
    void, area = void.squeeze(-1), area.squeeze(-1)

    thing = share * truth.things
    own = thing @ truth.category.transpose(1, 2) * truth.counted.unsqueeze(1)  # (B,Q,S)
    iou = inter / (truth.area.unsqueeze(1) + (area - void).unsqueeze(-1) - inter).clamp_min(TINY)
    gate = _gate(iou, width)
    hits = (own * iou * gate).sum(1)
    counts = _counts(own * gate, inter, area, void, truth)
    predicted = (thing * counts).sum(1)

    stuff = (share * (1 - truth.things)).transpose(1, 2)  # (B,C,Q)
    inter, area, void = (
        stuff @ inter,
        (stuff @ area.unsqueeze(-1)).squeeze(-1),
        (stuff @ void.unsqueeze(-1)).squeeze(-1),
    )
    own = truth.category.transpose(1, 2) * truth.counted.unsqueeze(1) * (1 - truth.things).unsqueeze(-1)  # (B,C,S)
    iou = inter / (truth.area.unsqueeze(1) + (area - void).unsqueeze(-1) - inter).clamp_min(TINY)
    gate = _gate(iou, width)
    hits = hits + (own * iou * gate).sum(1)
    counts = _counts(own * gate, inter, area, void, truth).diagonal(dim1=1, dim2=2)
    any_of = 1 - torch.exp(torch.log1p(-stuff.clamp_max(1 - 1e-7)).sum(-1)) if width else (stuff.sum(-1) > 0).to(stuff)
    return Quality(hits, predicted + any_of * counts)


def _gate(iou: Tensor, width: float) -> Tensor:
    return ((iou - 0.5) / width).sigmoid() if width else (iou > 0.5).to(iou)


@torch.no_grad()
def _counts(matched: Tensor, inter: Tensor, area: Tensor, void: Tensor, truth: Field) -> Tensor:
    """``(B,·,C)`` 1 where a prediction would count as a segment of the class, 0 where it is excused."""
    on_crowd = inter @ (truth.category * truth.crowd.unsqueeze(-1))
    excused = 2 * (void.unsqueeze(-1) + on_crowd) > area.unsqueeze(-1)
    hit = (matched > 0.5).to(inter) @ truth.category
    return 1 - excused.to(inter) * (1 - hit)
