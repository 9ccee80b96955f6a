"""Panoptic decoding as a function that can be differentiated, and the same with hard gates.

The gates stand where the decoder decides (``tasks.decode``): a query is kept, wins a pixel, claims it, survives the
overlap test, has a class. Every gate is a sigmoid of the distance to its threshold over a temperature, measured in
logits where there are logits: the gradient of a probability dies at 0.999, that of its logit does not.
As all temperatures fall to 0 the soft decoding becomes the hard one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.ops.planes import counts, winners
from robustseg.types import QueryOutput

__all__ = ["KEEP", "OVERLAP", "Decided", "Decoded", "Temperatures", "alone", "decide", "hard", "keep_margin", "soft"]

KEEP, OVERLAP = 0.8, 0.8  # thresholds of the original decoder: class score, share of its mask that a query must win
TINY = 1e-12


@dataclass(frozen=True)
class Temperatures:
    """Widths of the gates: class score and mask in logits, class choice in logits, pixel choice in log score, overlap
    and IoU as they are."""

    keep: float = 1.0
    label: float = 1.0
    pixel: float = 1.0
    mask: float = 1.0
    overlap: float = 0.1
    hit: float = 0.1


@dataclass(frozen=True)
class Decoded:
    """What became of the queries: ``alive (B,Q)`` kept and not dropped, ``label (B,Q,C)`` class shares, ``region
    (B,Q,N)`` share of each cell that the query claims."""

    alive: Tensor
    label: Tensor
    region: Tensor


def keep_margin(class_logits: Tensor) -> tuple[Tensor, Tensor]:
    """``(B,Q)`` log-odds of the best class against everything else, above the threshold; and its log probability.

    >>> z = torch.tensor([[[0.8, 0.1, 0.1]]]).log()
    >>> abs(keep_margin(z)[0].item()) < 1e-6
    True
    """
    log_p = class_logits.log_softmax(-1)
    top, label = log_p[..., :-1].max(-1)
    others = log_p.scatter(-1, label.unsqueeze(-1), -torch.inf).logsumexp(-1)
    return top - others - math.log(KEEP / (1 - KEEP)), top


def soft(output: QueryOutput, t: Temperatures, cell: float) -> Decoded:
    """Differentiable decoding; ``cell`` label pixels lie in one cell of a mask."""
    margin, top = keep_margin(output.class_logits)
    m = output.mask_logits.flatten(2)
    log_keep = torch.nn.functional.logsigmoid(margin / t.keep)
    rank = (top + log_keep).unsqueeze(-1) + torch.nn.functional.logsigmoid(m)
    wins = (rank / t.pixel).softmax(1)
    solid = (m / t.mask).sigmoid()
    region = wins * solid
    ratio = wins.sum(-1) / solid.sum(-1).clamp_min(TINY)
    there = -torch.expm1(-region.sum(-1) * cell / t.overlap)  # 1 once a pixel is claimed
    alive = log_keep.exp() * ((ratio - OVERLAP) / t.overlap).sigmoid() * there
    return Decoded(alive, (output.class_logits[..., :-1] / t.label).softmax(-1), region)


def alone(output: QueryOutput, t: Temperatures) -> Decoded:
    """Every query by itself, as if no other were there: what it would be worth once its rivals have fallen."""
    margin, _ = keep_margin(output.class_logits)
    region = (output.mask_logits.flatten(2) / t.mask).sigmoid()
    return Decoded((margin / t.keep).sigmoid(), (output.class_logits[..., :-1] / t.label).softmax(-1), region)


@dataclass(frozen=True)
class Decided:
    """The decoder's decisions: ``alive (B,Q)`` and ``label (B,Q,C)`` as 0 and 1, ``winner (B,N)`` the query of every
    pixel, ``claimed (B,N)`` 1 where its mask reaches 1/2."""

    alive: Tensor
    label: Tensor
    winner: Tensor
    claimed: Tensor


@torch.no_grad()
def decide(output: QueryOutput) -> Decided:
    """The decoder itself, on the device, at the size of the masks."""
    margin, top = keep_margin(output.class_logits)
    m = output.mask_logits.flatten(2)
    kept = margin > 0
    # sigmoid and logarithm keep the order within a query only, so the product itself is compared
    rank = m.sigmoid().mul_(torch.where(kept, top.exp(), -1.0).unsqueeze(-1))
    winner = winners(rank.transpose(0, 1))
    claimed = (m.gather(1, winner.unsqueeze(1)).squeeze(1) >= 0).to(m)
    solid = counts((m >= 0).flatten(0, 1)).view(kept.shape).to(m)
    # sums over pixels by the number of the winner: a table of all queries would be read three times
    nothing = m.new_zeros(m.shape[:2])
    won = nothing.scatter_add(1, winner, torch.ones_like(claimed))
    left = nothing.scatter_add(1, winner, claimed)
    alive = kept & (left > 0) & (won >= OVERLAP * solid)
    z = output.class_logits[..., :-1]
    label = torch.zeros_like(z).scatter_(-1, z.argmax(-1, keepdim=True), 1.0)
    return Decided(alive.to(m), label, winner, claimed)


@torch.no_grad()
def hard(output: QueryOutput) -> Decoded:
    """The same as regions, one a query."""
    d = decide(output)
    region = torch.zeros_like(output.mask_logits.flatten(2))
    return Decoded(d.alive, d.label, region.scatter_(1, d.winner.unsqueeze(1), d.claimed.unsqueeze(1)))
