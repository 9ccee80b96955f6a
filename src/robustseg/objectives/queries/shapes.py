"""Attacks on the masks: break them, split them, invent new ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.queries.decoding import keep_margin
from robustseg.objectives.queries.gates import KEPT, or_keep_down, owner
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.truth import Field
from robustseg.types import QueryOutput, SemanticTarget, State, View

__all__ = ["mask_break", "phantom"]

TINY = 1e-12
PART = 0.45  # of a segment: the most that surely misses an IoU of 1/2
HELD = 0.2  # IoU from which a query counts as the owner of a segment that is being split
FAR = 4.0  # logits: a mask this far past its threshold needs no more


def mask_break(*, split: bool = False) -> Objective:
    """Break the masks of the queries that hold true segments: cross-entropy on cells still right, and dice.

    ``split``: things are not broken but split: a second query takes the left part of the segment from the one that
    holds it, so that no part reaches an IoU of 1/2 and there is one false positive more. After SEA's masked loss
    (Croce, Singh, Hein, ECCV 2024); on masks of queries, and the split: our own.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        if not split:
            return {"mask-break": or_keep_down(_broken(output, truth, owner(output, truth)), output, progress)}, state
        stuff = (truth.category @ (1 - truth.things)).unsqueeze(1)
        broken = _broken(output, truth, owner(output, truth) * stuff)
        parted = _split(output, truth, owner(output, truth, at_least=HELD) * (1 - stuff))
        return {"mask-split": or_keep_down(broken + parted, output, progress)}, state

    return Objective("mask-split" if split else "mask-break", value)


def _broken(output: QueryOutput, truth: Field, holds: Tensor) -> Tensor:
    held = holds.amax(-1)
    m = output.mask_logits.flatten(2)
    valid = (1 - truth.void).unsqueeze(1)
    inside = (holds @ truth.inside).clamp_max(1)  # (B,Q,N): what the query should show
    right = ((m > 0) == (inside > 0.5)).to(m)
    ce = F.binary_cross_entropy_with_logits(m, inside, reduction="none").clamp_max(FAR)
    # the segment's own cells weigh as much as all others: otherwise a large background drowns a small object
    part = right * valid * (inside / inside.sum(-1, keepdim=True).clamp_min(1) + (1 - inside) / m.shape[-1])
    p = m.sigmoid() * valid
    dice = 1 - 2 * (p * inside).sum(-1) / (p.sum(-1) + inside.sum(-1)).clamp_min(TINY)
    return (held * ((part * ce).sum(-1) + dice)).sum(1)


def _split(output: QueryOutput, truth: Field, holds: Tensor) -> Tensor:
    """The query that holds a thing loses its left part to the query that fits it next, which is to be kept."""
    m = output.mask_logits.flatten(2)
    margin, _ = keep_margin(output.class_logits)
    left, right = _parts(truth)  # (B,S,N)
    holds = holds.transpose(1, 2)  # (B,S,Q)
    there = holds.amax(-1)
    with torch.no_grad():
        p = m.sigmoid()
        # of several owners the one that lies most to the right, so that both keep their sides from step to step
        side = ((right - left) @ p.transpose(1, 2)) / truth.inside.sum(-1, keepdim=True).clamp_min(TINY)
        first = torch.where(holds > 0, side, -2.0).argmax(-1)
        fit = truth.inside @ p.transpose(1, 2) / p.sum(-1).sqrt().unsqueeze(1)
        busy = holds.sum(1, keepdim=True) - holds > 0  # with another segment
        second = fit.masked_fill(busy, -1.0).scatter(-1, first.unsqueeze(-1), -2.0).argmax(-1)
    cells = m.shape[-1]
    one = m.gather(1, first.unsqueeze(-1).expand(-1, -1, cells))
    two = m.gather(1, second.unsqueeze(-1).expand(-1, -1, cells))
    size = truth.inside.sum(-1).clamp_min(TINY)
    # each has its part, and neither the rest
    right_of = (right * F.logsigmoid(one) + (truth.inside - right) * F.logsigmoid(-one)).sum(-1) / size
    left_of = (left * F.logsigmoid(two) + (truth.inside - left) * F.logsigmoid(-two)).sum(-1) / size
    alive = F.logsigmoid(margin).gather(1, first) + F.logsigmoid(margin).gather(1, second)
    return (there * (left_of + right_of + alive)).sum(1)


def _parts(truth: Field) -> tuple[Tensor, Tensor]:
    """The left and the right part of every segment, ``PART`` of its area each: cells in the order of columns."""
    h, w = truth.grid
    columns = truth.inside.unflatten(-1, (h, w)).transpose(-1, -2).flatten(2)
    total = columns.sum(-1, keepdim=True)
    before, after = columns.cumsum(-1), total - columns.cumsum(-1) + columns
    left, right = columns * (before <= PART * total), columns * (after <= PART * total)

    def rows(part: Tensor) -> Tensor:
        return part.unflatten(-1, (w, h)).transpose(-1, -2).flatten(2)

    return rows(left), rows(right)


def phantom(*, area: float = 0.02) -> Objective:
    """Phantoms: queries that are dead on the clean image are kept, each with a compact mask of its own.

    The mask is where the dead query's clean mask is highest, a share ``area`` of the image; there it is to beat every
    kept query, elsewhere it is to be off, so that it survives the overlap test. Its class is a thing: pieces of stuff
    would be merged. Our own.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        output, _ = segments_of(view, target)
        margin, _ = keep_margin(output.class_logits)
        m = output.mask_logits.flatten(2)
        cells = max(int(area * m.shape[-1]), 1)
        top = m.topk(cells, dim=-1).values[..., -1:]
        return {"dead": (margin <= 0).to(m), "blob": (m >= top).to(m).view_as(output.mask_logits)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        margin, top = (t.detach() for t in keep_margin(output.class_logits))
        m = output.mask_logits.flatten(2)
        blob, dead = state["blob"].flatten(2), state["dead"]
        z = output.class_logits
        things = torch.where(truth.things.any(), truth.things, 1.0) > 0
        best = z[..., :-1].detach().masked_fill(~things, -torch.inf).argmax(-1, keepdim=True)
        odds = z.gather(-1, best).squeeze(-1) - z.scatter(-1, best, -torch.inf).logsumexp(-1)
        log_mask = F.logsigmoid(m)
        rank = F.logsigmoid(odds).unsqueeze(-1) + log_mask
        # the two best of the kept queries: each query's rival is the first that it is not itself
        kept = torch.where((margin > 0).unsqueeze(-1), top.unsqueeze(-1) + log_mask, -40.0)
        two = kept.topk(min(2, m.shape[1]), dim=1).values
        rival = torch.where(kept >= two[:, :1], two[:, -1:], two[:, :1])
        size = blob.sum(-1).clamp_min(1)
        wins = (blob * (rank - rival).clamp_max(1.0)).sum(-1) / size
        solid = (blob * m.clamp_max(FAR)).sum(-1) / size
        outside = ((1 - blob) * F.softplus(m)).sum(-1) / size
        gain = odds.clamp_max(KEPT + 1.0) + wins + solid - outside.clamp_max(20.0)
        return {"phantom": (dead * gain).sum(1)}, state

    return Objective("phantom", value, init, needs_clean=True)
