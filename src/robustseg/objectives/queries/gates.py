"""Attacks on the gates of the decoder: no object, threshold squeeze, class flip, overlap trap, semantic scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Objective
from robustseg.objectives.queries.decoding import OVERLAP, keep_margin
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.truth import Field
from robustseg.ops.query import semantic_scores
from robustseg.ops.size import at_label_size
from robustseg.types import QueryOutput, SemanticTarget, State, View

__all__ = ["class_flip", "flood", "overlap", "owner", "semantic_ce", "squeeze"]

TINY = 1e-12
SLACK = 1.0  # how far past a threshold a gate is pushed, in logits

Term = Callable[[QueryOutput, Field], Tensor]


def _objective(name: str, term: Term) -> Objective:
    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        return {name: term(output, truth)}, state

    return Objective(name, value)


@torch.no_grad()
def owner(output: QueryOutput, truth: Field) -> Tensor:
    """``(B,Q,S)`` 1 where a kept query covers a counted segment: IoU of its own mask above 1/2, its class right."""
    margin, _ = keep_margin(output.class_logits)
    solid = (output.mask_logits.flatten(2) >= 0).to(truth.inside)
    inter = truth.cell * (solid @ truth.inside.transpose(1, 2))
    area = truth.cell * (solid @ (1 - truth.void).unsqueeze(-1))
    iou = inter / (area + truth.area.unsqueeze(1) - inter).clamp_min(TINY)
    label = torch.zeros_like(output.class_logits[..., :-1])
    label = label.scatter(-1, output.class_logits[..., :-1].argmax(-1, keepdim=True), 1.0)
    right = label @ truth.category.transpose(1, 2) * truth.counted.unsqueeze(1)
    # stuff may come in pieces: whoever lies in it with its class has a part of it
    stuff = truth.category @ (1 - truth.things) > 0
    inside = inter > 0.5 * area
    return ((margin > 0).unsqueeze(-1) & ((iou > 0.5) | (stuff.unsqueeze(1) & inside))).to(right) * right


def flood() -> Objective:
    """No-object flood: every query that is still kept is pushed from its best class to "no object"."""

    def term(output: QueryOutput, truth: Field) -> Tensor:
        margin, top = keep_margin(output.class_logits)
        none = output.class_logits.log_softmax(-1)[..., -1]
        return ((none - top) * (margin.detach() > -SLACK)).sum(1)

    return _objective("flood", term)


def squeeze() -> Objective:
    """Threshold squeeze: scores just below the 0.8 that keeps a query. Labels hardly change, panoptic quality does."""

    def term(output: QueryOutput, truth: Field) -> Tensor:
        margin, _ = keep_margin(output.class_logits)
        return -F.relu(margin + SLACK).sum(1)

    return _objective("squeeze", term)


def class_flip() -> Objective:
    """Class flip: of the queries that hold a true segment, the best wrong class against the right one."""

    def term(output: QueryOutput, truth: Field) -> Tensor:
        holds = owner(output, truth)
        z = output.class_logits[..., :-1]
        right = (holds @ truth.category).clamp_max(1)
        held = right.sum(-1) > 0
        wrong = z.masked_fill(right > 0, -torch.inf).amax(-1)
        lag = wrong - (z * right).sum(-1)
        return torch.where(held, lag, 0).clamp_max(SLACK).sum(1)

    return _objective("class-flip", term)


def overlap() -> Objective:
    """Overlap trap: kept queries win less than 0.8 of their own masks, so that the decoder drops them."""

    def term(output: QueryOutput, truth: Field) -> Tensor:
        margin, top = keep_margin(output.class_logits)
        m = output.mask_logits.flatten(2)
        kept = (margin > 0).detach()
        rank = torch.where(kept, top, -40.0).unsqueeze(-1) + F.logsigmoid(m)
        share = rank.softmax(1).sum(-1) / m.sigmoid().sum(-1).clamp_min(TINY)
        return -(F.relu(share - OVERLAP + 0.1) * kept).sum(1)

    return _objective("overlap", term)


def semantic_ce() -> Objective:
    """Cross-entropy of the logarithm of the semantic scores, normalised over classes, on every labelled pixel.

    Scores are made at the size of the masks and then brought to label size: a tenth of the cost of the other order.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, _ = segments_of(view, target)
        scores = at_label_size(semantic_scores(output.class_logits, output.mask_logits), tuple(target.labels.shape[1:]))  # type: ignore[arg-type]
        log_p = (scores + 1e-9).log().log_softmax(1)
        picked = log_p.gather(1, target.index.unsqueeze(1)).squeeze(1)
        return {"semantic-ce": -torch.where(target.valid, picked, 0).flatten(1).sum(1) / target.count}, state

    return Objective("semantic-ce", value)
