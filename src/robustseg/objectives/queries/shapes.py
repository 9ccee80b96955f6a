"""Attacks on the masks: break them, split them, invent new ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.queries.decoding import keep_margin
from robustseg.objectives.queries.gates import owner
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.truth import Field
from robustseg.types import QueryOutput, SemanticTarget, State, View

__all__ = ["mask_break", "phantom"]

TINY = 1e-12
FAR = 4.0  # logits: a mask this far past its threshold needs no more


def mask_break(*, split: bool = False) -> Objective:
    """Break the masks of the queries that hold true segments: cross-entropy on cells still right, and dice.

    ``split``: besides, a second query takes half of every thing from the one that holds it, so that neither half
    reaches an IoU of 1/2 and one of them is a false positive. After SEA's masked loss (Croce, Singh, Hein, ECCV 2024);
    masks and split are our own.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        holds = owner(output, truth)
        terms = {"mask-break": _broken(output, truth, holds)}
        if split:
            terms["split"] = _split(output, truth, holds)
        return terms, state

    return Objective("mask-break", value)


def _broken(output: QueryOutput, truth: Field, holds: Tensor) -> Tensor:
    held = holds.amax(-1)
    m = output.mask_logits.flatten(2)
    inside = holds @ truth.inside  # (B,Q,N): what the query should show; stuff pieces have one owner each
    inside = inside.clamp_max(1)
    right = ((m > 0) == (inside > 0.5)).to(m)
    ce = F.binary_cross_entropy_with_logits(m, inside, reduction="none").clamp_max(FAR)
    # the object's own cells and those around it count alike: otherwise a large background drowns a small object
    part = right * (inside / inside.sum(-1, keepdim=True).clamp_min(1) + (1 - inside) / m.shape[-1])
    p = m.sigmoid()
    dice = 1 - 2 * (p * inside).sum(-1) / (p.sum(-1) + inside.sum(-1)).clamp_min(TINY)
    return (held * ((part * ce).sum(-1) + dice)).sum(1)


def _split(output: QueryOutput, truth: Field, holds: Tensor) -> Tensor:
    """The query that holds a thing loses half of it to the query that comes next, which is to be kept."""
    m = output.mask_logits.flatten(2)
    margin, _ = keep_margin(output.class_logits)
    half = _half(truth)  # (B,S,N)
    thing = (holds * (truth.category @ truth.things).unsqueeze(1)).transpose(1, 2)  # (B,S,Q)
    first = thing.argmax(-1)
    there = thing.amax(-1)
    with torch.no_grad():
        fit = (m.sigmoid() @ truth.inside.transpose(1, 2)).transpose(1, 2) / m.sigmoid().sum(-1).sqrt().unsqueeze(1)
        busy = holds.amax(-1).unsqueeze(1)
        second = (fit - 1e6 * busy).scatter(-1, first.unsqueeze(-1), -1e9).argmax(-1)
    cells = m.shape[-1]
    one = m.gather(1, first.unsqueeze(-1).expand(-1, -1, cells))
    two = m.gather(1, second.unsqueeze(-1).expand(-1, -1, cells))
    size = half.sum(-1).clamp_min(TINY)
    rest = truth.inside - half
    give = (half * (F.logsigmoid(two) + F.logsigmoid(-one))).sum(-1) / size
    off = (rest * F.logsigmoid(-two)).sum(-1) / size
    alive = F.logsigmoid(margin).gather(1, second)
    return (there * (give + off + alive)).sum(1)


def _half(truth: Field) -> Tensor:
    """The left half of every segment, by area: cells in column order until half is reached."""
    h, w = truth.grid
    columns = truth.inside.unflatten(-1, (h, w)).transpose(-1, -2).flatten(2)
    first = (columns.cumsum(-1) <= 0.5 * columns.sum(-1, keepdim=True)) & (columns > 0)
    return (first * columns).unflatten(-1, (w, h)).transpose(-1, -2).flatten(2)


def phantom(*, area: float = 0.02) -> Objective:
    """Phantoms: queries that are dead on the clean image are kept, each with a compact mask of its own.

    The mask is where the dead query's clean mask is highest, a share ``area`` of the image; there it is to beat every
    other query, elsewhere it is to be off, so that it survives the overlap test. Our own.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        output, _ = segments_of(view, target)
        margin, _ = keep_margin(output.class_logits)
        m = output.mask_logits.flatten(2)
        cells = max(int(area * m.shape[-1]), 1)
        top = m.topk(cells, dim=-1).values[..., -1:]
        return {"dead": (margin <= 0).to(m), "blob": (m >= top).to(m)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, _ = segments_of(view, target)
        margin, top = keep_margin(output.class_logits)
        m = output.mask_logits.flatten(2)
        blob, dead = state["blob"], state["dead"]
        size = blob.sum(-1).clamp_min(1)
        rank = top.unsqueeze(-1) + F.logsigmoid(m)
        kept = torch.where((margin.detach() > 0).unsqueeze(-1), rank, -40.0)
        rival = kept.topk(min(2, m.shape[1]), dim=1).values
        best = rival[:, :1]
        other = torch.where(kept >= best, rival[:, -1:], best)
        inside = (blob * (rank - other).clamp_max(1.0)).sum(-1) / size
        solid = (blob * m.clamp_max(FAR)).sum(-1) / size
        outside = ((1 - blob) * F.softplus(m)).sum(-1) / size
        return {"phantom": (dead * (margin.clamp_max(1.0) + inside + solid - outside.clamp_max(20.0))).sum(1)}, state

    return Objective("phantom", value, init, needs_clean=True)
