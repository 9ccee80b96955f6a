"""The PQ price: panoptic quality of a data set, linear in what one image adds to it, and differentiable.

``PQ_c = 2 S_c / (P_c + G_c)`` exactly, so one image changes it, to first order, by ``w_c (ΔS_c - ½ PQ_c ΔP_c)`` with
``w_c = 2 / (C (P_c + G_c))``. A broken mask costs its IoU, a vanished segment gives ½ PQ_c back, a phantom takes
½ PQ_c, a split does both harms. Prices come from a pilot attack on other images, since PQ_c falls as images fall.
The identity, the prices and the surrogate are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.queries.decoding import Temperatures, alone, decide, keep_margin, soft
from robustseg.objectives.queries.quality import Quality, counted, qualities, quality_of
from robustseg.objectives.queries.truth import Field, field_of, ids_of
from robustseg.ops.size import at_label_size
from robustseg.types import QueryOutput, SegmentTarget, SemanticTarget, State, UserError, View

__all__ = ["harm", "pq_price", "temperatures"]

START = Temperatures(keep=8.0, label=4.0, pixel=2.0, mask=4.0, overlap=0.05, hit=0.6)
END = Temperatures(keep=0.5, label=0.5, pixel=0.2, mask=0.5, overlap=0.05, hit=0.05)
SPARE = (0.0, 0.5)  # progress whose temperatures the queries by themselves have, all the time


def temperatures(progress: float, start: Temperatures = START, end: Temperatures = END) -> Temperatures:
    """The gates' widths at a share of the search, falling geometrically.

    >>> temperatures(0.0) == START
    True
    """
    names = ("keep", "label", "pixel", "mask", "overlap", "hit")
    return Temperatures(**{n: getattr(start, n) ** (1 - progress) * getattr(end, n) ** progress for n in names})


def segments_of(view: View, target: SemanticTarget) -> tuple[QueryOutput, Field]:
    """The output and the truth on its grid. Raises UserError where either is of another kind."""
    output = view.output
    if not isinstance(output, QueryOutput) or not isinstance(target, SegmentTarget):
        raise UserError(
            "attacks on queries need a model that gives masks with classes (Mask2Former, MaskFormer, EoMT) and a "
            "target with segments; use an attack on pixels, e.g. strong"
        )
    return output, field_of(target, output.mask_logits, output.class_logits.shape[-1] - 1)


def loss(found: Quality, truth: Field, weight: Tensor, pq: Tensor) -> Tensor:
    """``-Σ_c w_c (S_c - ½ PQ_c P_c)`` ``(...,B)``; ``weight, pq (B,C)``."""
    hits = (found.hits * (truth.category @ weight.unsqueeze(-1)).squeeze(-1)).sum(-1)
    return (0.5 * weight * pq * found.predicted).sum(-1) - hits


def _prices(view: View, target: SemanticTarget, constants: Constants) -> State:
    pq, count = (constants[name].to(view.x) for name in ("quality", "segments"))
    weight = 1 / count.clamp_min(1)
    return {
        "weight": (weight / weight.mean()).expand(len(view.x), -1),
        "quality": pq.expand(len(view.x), -1),
    }


def pq_price(start: Temperatures = START, end: Temperatures = END, spare: Sequence[float] = SPARE) -> Objective:
    """Lower the panoptic quality of the data set. Constants: ``quality (C,)`` PQ_c, ``segments (C,)`` P_c + G_c.

    The price of the decoding, its temperatures falling from ``start`` to ``end``, and prices of every query by itself,
    at temperatures that stay: they see queries that would take over, and segments far from any threshold.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output, truth = segments_of(view, target)
        fall, *stay = (temperatures(at, start, end) for at in (progress, *spare))
        found = [soft(output, fall, truth.cell), *(alone(output, t) for t in stay)]
        each = qualities(found, truth, [t.hit for t in (fall, *stay)])
        total = loss(each, truth, state["weight"], state["quality"]).sum(0)
        return {"pq-price": total}, state

    return Objective("pq-price", value, _prices)


@torch.no_grad()
def harm(view: View, target: SemanticTarget, state: State) -> Tensor:
    """How much of an image's panoptic quality is gone ``(B,)``: 0 nothing, ½ all of it, more with phantoms, at most 1.

    ``½ Σ_c w_c [(G_c - S_c) + ½ PQ_c (P_c - G_c)] / Σ_c w_c G_c``, cut to [0,1], of the hard decoding at label size, as
    the metric decodes; the prices are those of the state, else w = 1 and PQ = ½ for every class.
    """
    output, truth = segments_of(view, target)
    output, ids = _kept(output), ids_of(target)  # type: ignore[arg-type]
    size = (int(target.labels.shape[-2]), int(target.labels.shape[-1]))
    d = decide(QueryOutput(output.class_logits, at_label_size(output.mask_logits, size)))
    overlaps = counted(d.winner, d.claimed, d.alive.shape[1], ids, truth.area.shape[1])
    found = quality_of(d.alive, d.label, overlaps, truth, 0.0)
    weight = state.get("weight", found.predicted.new_ones(found.predicted.shape))
    pq = state.get("quality", torch.full_like(weight, 0.5))
    true = (truth.category * truth.counted.unsqueeze(-1)).sum(1)
    all_ = (weight * true).sum(1)
    lost = all_ + loss(found, truth, weight, pq) - (0.5 * weight * pq * true).sum(1)
    return (0.5 * lost / torch.maximum(all_, weight.mean(1))).clamp(0, 1)


def _kept(output: QueryOutput) -> QueryOutput:
    """The queries that the decoder keeps, and as many others as the image with most of them needs.

    Masks at label size are dear on a CPU, where asking how many there are costs nothing; elsewhere all come along.
    """
    if output.class_logits.device.type != "cpu":
        return output
    margin, _ = keep_margin(output.class_logits)
    number = max(int((margin > 0).sum(1).max()), 1)
    at = margin.topk(number, dim=1).indices
    z, m = output.class_logits, output.mask_logits
    return QueryOutput(
        z.gather(1, at.unsqueeze(-1).expand(-1, -1, z.shape[-1])),
        m.gather(1, at.unsqueeze(-1).unsqueeze(-1).expand(-1, -1, *m.shape[2:])),
    )
