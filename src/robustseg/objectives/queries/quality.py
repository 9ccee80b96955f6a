"""Matched quality and number of segments, per class, from a decoding: the two sums that panoptic quality is made of.

``PQ_c = 2 S_c / (P_c + G_c)``: S the IoU summed over matches, P the predicted and G the true segments that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.objectives.queries.decoding import Decoded
from robustseg.objectives.queries.truth import Field

__all__ = ["Overlaps", "Quality", "counted", "qualities", "quality", "quality_of"]

TINY = 1e-12


@dataclass(frozen=True)
class Quality:
    """``hits (B,S)`` quality got from each true segment, ``predicted (B,C)`` predicted segments that count."""

    hits: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class Overlaps:
    """What the regions of queries have in common with the truth, in pixels: ``inter (B,Q,S)``, ``void, area (B,Q)``."""

    inter: Tensor
    void: Tensor
    area: Tensor


def counted(winner: Tensor, claimed: Tensor, queries: int, ids: Tensor, segments: int) -> Overlaps:
    """Overlaps of a hard decoding: ``winner (B,N)`` queries, ``claimed (B,N)`` as 0 and 1, ``ids (B,N)`` true segments.

    >>> w, one, ids = torch.tensor([[0, 0, 1]]), torch.ones(1, 3), torch.tensor([[0, 1, 1]])
    >>> o = counted(w, one, 2, ids, 1)  # one segment; 1 is void
    >>> o.inter.tolist(), o.void.tolist(), o.area.tolist()
    ([[[1.0], [0.0]]], [[1.0, 1.0]], [[2.0, 1.0]])
    """
    wide = segments + 1
    table = claimed.new_zeros(len(ids), queries * wide).scatter_add(1, winner * wide + ids, claimed)
    table = table.view(len(ids), queries, wide)
    return Overlaps(table[..., :-1], table[..., -1], table.sum(-1))


def quality(found: Decoded, truth: Field, width: float) -> Quality:
    """Quality of a decoding on the cells of the truth; ``width`` of the gate at IoU 1/2, 0 for the hard rules."""
    return quality_of(found.alive, found.label, _split(found.region @ truth.sums), truth, width)


def qualities(found: Sequence[Decoded], truth: Field, widths: Sequence[float]) -> Quality:
    """The same of several soft decodings, in a leading dimension: many small operations are made once instead of each.

    A width of 0 is not allowed here: soft and hard rules differ in more than the gate.
    """
    overlaps = _split(torch.stack([one.region @ truth.sums for one in found]))
    alive, label = torch.stack([one.alive for one in found]), torch.stack([one.label for one in found])
    # filled on the device: a copy of these few numbers would wait for it
    width = torch.stack([alive.new_full((1, 1, 1), each) for each in widths])
    return quality_of(alive, label, overlaps, truth, width)


def _split(table: Tensor) -> Overlaps:
    """Of ``(...,Q,S+2)``: overlaps with the segments, with void, and the area."""
    return Overlaps(table[..., :-2], table[..., -2], table[..., -1])


def quality_of(alive: Tensor, label: Tensor, overlaps: Overlaps, truth: Field, width: float | Tensor) -> Quality:
    """Quality of queries ``alive (...,B,Q)`` with class shares ``label (...,B,Q,C)``.

    Rules: IoU above 1/2 matches; true void is taken out of the union; a prediction that lies by more than half on
    void or on a crowd of its class, and matches nothing, is not counted; stuff is one segment a class.
    """
    share = alive.unsqueeze(-1) * label  # (...,B,Q,C) how much of a segment of the class this query is
    inter, void, area = overlaps.inter, overlaps.void, overlaps.area

    thing = share * truth.things
    own = thing @ truth.category.transpose(1, 2) * truth.counted.unsqueeze(1)  # (...,B,Q,S)
    iou = inter / (truth.area.unsqueeze(1) + (area - void).unsqueeze(-1) - inter).clamp_min(TINY)
    gate = _gate(iou, width)
    hits = (own * iou * gate).sum(-2)
    counts = _counts(own * gate, inter, area, void, truth)
    predicted = (thing * counts).sum(-2)

    stuff = (share * (1 - truth.things)).transpose(-1, -2)  # (...,B,C,Q)
    inter, area, void = (
        stuff @ inter,
        (stuff @ area.unsqueeze(-1)).squeeze(-1),
        (stuff @ void.unsqueeze(-1)).squeeze(-1),
    )
    own = truth.category.transpose(1, 2) * truth.counted.unsqueeze(1) * (1 - truth.things).unsqueeze(-1)  # (B,C,S)
    iou = inter / (truth.area.unsqueeze(1) + (area - void).unsqueeze(-1) - inter).clamp_min(TINY)
    gate = _gate(iou, width)
    hits = hits + (own * iou * gate).sum(-2)
    counts = _counts(own * gate, inter, area, void, truth).diagonal(dim1=-2, dim2=-1)
    if _is_hard(width):
        return Quality(hits, predicted + (stuff.sum(-1) > 0).to(stuff) * counts)
    any_of = 1 - torch.exp(torch.log1p(-stuff.clamp_max(1 - 1e-7)).sum(-1))
    return Quality(hits, predicted + any_of * counts)


def _is_hard(width: float | Tensor) -> bool:
    return not isinstance(width, Tensor) and width == 0


def _gate(iou: Tensor, width: float | Tensor) -> Tensor:
    return (iou > 0.5).to(iou) if _is_hard(width) else ((iou - 0.5) / width).sigmoid()


@torch.no_grad()
def _counts(matched: Tensor, inter: Tensor, area: Tensor, void: Tensor, truth: Field) -> Tensor:
    """``(...,B,·,C)`` 1 where a prediction would count as a segment of the class, 0 where it is excused."""
    on_crowd = inter @ (truth.category * truth.crowd.unsqueeze(-1))
    excused = 2 * (void.unsqueeze(-1) + on_crowd) > area.unsqueeze(-1)
    hit = (matched > 0.5).to(inter) @ truth.category
    return 1 - excused.to(inter) * (1 - hit)
