"""Attacks on the gates of the decoder: no object, threshold squeeze, class flip, overlap trap, semantic scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Objective
from robustseg.objectives.queries.decoding import KEEP, OVERLAP, keep_margin
from robustseg.objectives.queries.price import segments_of
from robustseg.objectives.queries.truth import Field
from robustseg.ops.query import semantic_scores
from robustseg.ops.size import at_label_size
from robustseg.types import QueryOutput, SemanticTarget, State, View

__all__ = ["class_flip", "flood", "or_keep_down", "overlap", "owner", "semantic_ce", "squeeze"]

TINY = 1e-12
KEPT = math.log(KEEP / (1 - KEEP))
SLACK = 1.0  # how far past a threshold a gate is pushed, in logits

Term = Callable[[QueryOutput, Field], Tensor]


def _objective(name: str, term: Term) -> Objective:
    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        return {name: or_keep_down(term(output, truth), output, progress)}, state

    return Objective(name, value)


def or_keep_down(value: Tensor, output: QueryOutput, progress: float) -> Tensor:
    """``value (B,)``; in the first step, where it is 0, the query nearest to being kept is held down.

    An image in which a model finds nothing has no gradient from the start, which elsewhere is the sign of a broken one.
    """
    return value if progress else torch.where(value == 0, -keep_margin(output.class_logits)[0].amax(1), value)


@torch.no_grad()
def owner(output: QueryOutput, truth: Field, *, at_least: float = 0.5, named: bool = True) -> Tensor:
    """``(B,Q,S)`` 1 where a query's own mask covers a counted segment: IoU above ``at_least``.

    Stuff may come in pieces: whoever lies in it by more than half has a part of it. ``named``: the query is kept and
    has the segment's class.
    """
    solid = (output.mask_logits.flatten(2) >= 0).to(truth.inside)
    inter = truth.cell * (solid @ truth.inside.transpose(1, 2))
    area = truth.cell * (solid @ (1 - truth.void).unsqueeze(-1))
    iou = inter / (area + truth.area.unsqueeze(1) - inter).clamp_min(TINY)
    stuff = (truth.category @ (1 - truth.things)).unsqueeze(1)
    covers = ((iou > at_least) | ((stuff > 0) & (inter > 0.5 * area))).to(solid) * truth.counted.unsqueeze(1)
    if not named:
        return covers
    z = output.class_logits[..., :-1]
    label = torch.zeros_like(z).scatter(-1, z.argmax(-1, keepdim=True), 1.0)
    kept = (keep_margin(output.class_logits)[0] > 0).unsqueeze(-1)
    return covers * kept * (label @ truth.category.transpose(1, 2))


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
    """Class flip: of the queries whose masks hold a true segment, the best wrong class against all else.

    In log-odds, cut where the wrong class would be kept: from there on a query rests.
    """

    def term(output: QueryOutput, truth: Field) -> Tensor:
        right = (owner(output, truth, named=False) @ truth.category).clamp_max(1)
        z = output.class_logits
        best = z[..., :-1].detach().masked_fill(right > 0, -torch.inf).argmax(-1, keepdim=True)
        wrong = z.gather(-1, best).squeeze(-1) - z.scatter(-1, best, -torch.inf).logsumexp(-1)
        return (wrong.clamp_max(KEPT + SLACK) * (right.sum(-1) > 0)).sum(1)

    return _objective("class-flip", term)


def overlap() -> Objective:
    """Overlap trap: kept queries win less than 0.8 of their own masks, so that the decoder drops them.

    ``-Σ log(share of its mask that a query wins)``, soft, over kept queries whose share is still above 0.7. Classes
    carry no gradient: a query that is no longer sure would be no trap.
    """

    def term(output: QueryOutput, truth: Field) -> Tensor:
        margin, top = keep_margin(output.class_logits.detach())
        kept = margin > 0
        m = output.mask_logits.flatten(2)
        rank = torch.where(kept, top, -40.0).unsqueeze(-1) + F.logsigmoid(m)
        with torch.no_grad():
            wins = torch.zeros_like(m).scatter(1, rank.argmax(1, keepdim=True), 1.0)
            sure = kept & (wins.sum(-1) > (OVERLAP - 0.1) * (m >= 0).sum(-1))
        share = rank.softmax(1).sum(-1) / m.sigmoid().sum(-1).clamp_min(TINY)
        return -(share.clamp_min(TINY).log() * sure).sum(1)

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
