"""Average precision: the score of an image by the official rules, and a surrogate of it that has a gradient.

AP depends on order alone: an object's contribution is the precision at the rank of its detection, at every IoU
threshold that the detection reaches. So an attack pushes true detections below false ones, or below the thresholds. The
pairwise form is AP-loss (Chen et al., CVPR 2019, arXiv 1904.06373), turned round; the gates over the thresholds are
our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.regions.matching import Truth, matches, mean_over, truth_of
from robustseg.objectives.regions.stages import best_regions, masks_of
from robustseg.ops import boxes as bx
from robustseg.tasks import decode, instance, overlap, regions
from robustseg.types import QueryOutput, RegionOutput, SegmentTarget, SemanticTarget, State, UserError, View

__all__ = ["ap_rank", "harm", "image_ap", "log_odds"]

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SHARP, WIDE = 0.05, 0.2  # width of the gates at the IoU thresholds, of queries and of regions: wide gates have a slope
MOST = 100  # false detections that an object is compared with
NEAR = 0.2  # IoU from which a detection may stand for an object at all
FIRST, LAST = 2.0, 0.5  # temperature of the order, in logits, falling during a stage
SURE = 3.0


# ------------------------------------------------------------------------------------------------ the score itself


@torch.no_grad()
def harm(view: View, target: SemanticTarget, state: State) -> Tensor:
    """``1 - AP`` of each image by itself, ``(B,)``: mask AP after the official rules, as if it were the whole data set.

    1 means that no object is found at any threshold. AP is averaged over the classes that have an object. An image
    without objects has no AP; its harm is the score of its best detection, which is a false one. Judged are all
    detections that a detector gives, of queries 100 or twice as many as there are objects.
    """
    if not isinstance(target, SegmentTarget):
        raise UserError("AP needs a SegmentTarget; see robustseg.tasks.truth.target")
    values = []
    for i, found in enumerate(_instances(view, target)):
        truth = _objects(target, i)
        iou = overlap.iou_of(
            overlap.intersections(found.masks.numpy(), truth["masks"]),
            area := overlap.areas(found.masks.numpy()),
            truth["area"],
            truth["crowd"],
        )
        row = instance.statistics(
            iou, found.scores.numpy(), found.labels.numpy(), area, truth["classes"], truth["area"], truth["crowd"],
            most=len(area),
        )  # fmt: skip
        ap = image_ap(row)
        best = float(found.scores.max()) if len(found.scores) else 0.0
        values.append(min(best, 1 - 1e-6) if ap is None else 1 - ap)  # 1 is for "nothing is left to do"
    return torch.tensor(values, dtype=view.x.dtype, device=view.x.device)


def _instances(view: View, target: SegmentTarget) -> Sequence[Any]:
    output, size = view.output, (int(view.x.shape[-2]), int(view.x.shape[-1]))
    if isinstance(output, RegionOutput):
        return regions.instances(output, size=size)
    if isinstance(output, QueryOutput):
        most = max(decode.MOST, 2 * target.masks.shape[1])
        return decode.instances(output, size, target.things.tolist(), most=most)
    raise UserError("AP needs detections; scores of every pixel have none")


def _objects(target: SegmentTarget, i: int) -> dict[str, Any]:
    """Masks, classes, areas and crowds of the countable objects of image ``i``, remembered with the target."""
    memo = target.__dict__.setdefault("_countable", {})
    if i not in memo:
        categories = target.categories[i].cpu()
        thing = (categories >= 0) & target.things.cpu()[categories.clamp_min(0)]
        masks = (target.masks[i].cpu() & target.valid[i].cpu())[thing]
        thing[thing.clone()] = (real := masks.flatten(1).any(1))
        masks = masks[real].numpy()
        memo[i] = {"masks": masks, "classes": categories[thing].numpy(), "area": overlap.areas(masks),
                   "crowd": target.crowd[i].cpu()[thing].numpy()}  # fmt: skip
    return memo[i]


def image_ap(row: dict[str, Any]) -> float | None:
    """AP of the matches of one image (``tasks.instance.statistics``), of all sizes; None without objects.

    >>> image_ap({"1": {"objects": [2, 0, 0, 0], "detections": [[0.9, "1" * 40]]}})  # one of two found, at every IoU
    0.504950495049505
    """
    each = []
    for known in row.values():
        objects = known["objects"][0]
        if objects:
            codes = np.array([[int(x) for x in digits[: len(THRESHOLDS)]] for _, digits in known["detections"]], int)
            each.append(_precision(codes.reshape(-1, len(THRESHOLDS)), objects))
    return float(np.mean(each)) if each else None


def _precision(codes: Any, objects: int) -> float:
    """Mean over thresholds and 101 recalls of the falling precision; ``codes (N,T)``, best detection first."""
    hits, misses = (codes == instance.HIT).cumsum(0), (codes == instance.MISS).cumsum(0)
    precision = hits / np.maximum(hits + misses, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    # one more point of precision 0 stands for the recalls never reached
    at = [np.searchsorted(hits[:, t] / objects, instance.RECALLS, side="left") for t in range(codes.shape[1])]
    padded = np.concatenate([precision, np.zeros((1, codes.shape[1]))])
    return float(np.mean([padded[a, t] for t, a in enumerate(at)]))


# ------------------------------------------------------------------------------------------------ the surrogate


def ap_rank(*, fixed: bool = False) -> Objective:
    """Pairwise ranking surrogate of AP, for regions and for queries; ``fixed``: proposals of the clean image.

    1 - [precision at the object's rank x share of IoU thresholds reached], mean over the objects: precision is true /
    (true + false) over the detections of its class above it, each counted by a sigmoid of the difference of their
    log-odds. (A logarithm of it, and a hinge on the differences, were weaker on a Mask2Former at equal gradients.)
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        if not fixed or not isinstance(view.output, RegionOutput):
            return {}
        return {"proposals": torch.where(view.output.present[..., None], view.output.proposals, 0)}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        output = view.output
        regional = isinstance(output, RegionOutput)
        truth = truth_of(target, background=regional)
        parts = _of_regions(output, truth) if isinstance(output, RegionOutput) else _of_queries(output, truth, target)
        temperature = FIRST + (LAST - FIRST) * progress
        return {"ap-rank": _surrogate(*parts, truth, temperature, WIDE if regional else SHARP)}, state

    return Objective("ap-rank", value, init, needs_clean=fixed)


def _surrogate(
    odds: Tensor, iou: Tensor, free: Tensor, quality: Tensor, truth: Truth, temperature: float, width: float
) -> Tensor:
    """``odds (B,R,K)``, ``iou (B,R,S)``, ``free (B,R,K)`` false if detected, ``quality (B,S)`` of the object's mask."""
    B, R, S = iou.shape
    false = odds.masked_fill(~free, -torch.inf).topk(min(MOST, R), 1).values  # (B,M,K) of every class
    alone = mean_over(false.clamp_max(SURE), false.isfinite(), (1, 2))
    if not S:
        return alone
    own = odds.gather(2, truth.labels[:, None].expand(B, R, S))
    with torch.no_grad():
        near = (iou >= NEAR) & (iou >= iou.amax(2, keepdim=True)) & truth.there[:, None]
    reach = own + F.logsigmoid((iou - 0.5) / width)  # a detection below IoU 1/2 is no detection of this object
    reach = torch.where(near, reach, -50.0)
    best = temperature * (reach / temperature).logsumexp(1)  # (B,S)
    weight = (reach / temperature).softmax(1)
    reached = (weight * _gated(iou, width)).sum(1) * quality

    above = ((best[:, None, :] - best[..., None]) / temperature).sigmoid()  # (B,S,S) how much others lie above
    same = (truth.labels[:, None] == truth.labels[..., None]) & truth.there[:, None] & truth.there[..., None]
    others = same & ~torch.eye(S, dtype=torch.bool, device=same.device)
    true = 1 + torch.where(others, above, 0).sum(2)
    rivals = false.gather(2, truth.labels[:, None].expand(-1, false.shape[1], -1))  # (B,M,S)
    wrong = ((rivals - best[:, None]) / temperature).sigmoid().sum(1)
    lost = 1 - true / (true + wrong) * reached
    return torch.where(truth.any, mean_over(lost, truth.there, 1), alone)


def _of_regions(output: RegionOutput, truth: Truth) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    m = matches(output, truth)
    boxes, chosen, _ = best_regions(output, truth, m, 1)
    logits = masks_of(output, truth, boxes)[:, :, 0]
    inside = bx.crops(truth.masks, boxes, logits.shape[-1])[:, :, 0]
    cell = bx.area(boxes[:, :, 0]) / (logits.shape[-1] ** 2 or 1)
    p = logits.sigmoid()
    inter, area = (p * inside).flatten(2).sum(2) * cell, p.flatten(2).sum(2) * cell
    whole = truth.masks.flatten(2).sum(2).to(area)
    iou = inter / (area + whole - inter).clamp_min(1e-9)
    quality = torch.where(chosen[:, :, 0], _gated(iou, WIDE), 1.0)
    return log_odds(output.class_logits), m.iou, m.free, quality


def _of_queries(output: Any, truth: Truth, target: SemanticTarget) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not isinstance(output, QueryOutput):
        raise UserError("ap-rank needs regions or queries; scores of every pixel have no detections")
    masks = output.mask_logits.flatten(2).sigmoid()
    inside = _on_grid(target, truth, output.mask_logits)  # (B,S,N)
    inter = masks @ inside.transpose(1, 2)
    union = masks.sum(2, keepdim=True) + inside.sum(2)[:, None] - inter
    iou = inter / union.clamp_min(1e-9) * truth.there[:, None]
    solid = (masks > 0.5).to(masks)
    sure = (masks * solid).sum(2) / (solid.sum(2) + 1e-6)
    odds = log_odds(output.class_logits)[..., :-1] + sure.clamp_min(1e-6).log()[..., None]
    B, Q, S = iou.shape
    with torch.no_grad():
        label = truth.labels[:, None].expand(B, Q, S)
        over = iou.new_zeros(odds.shape).scatter_reduce(2, label, iou.detach(), "amax")
        things = target.things if isinstance(target, SegmentTarget) else torch.ones(odds.shape[2], dtype=torch.bool)
        free = (over < 0.5) & things.to(over.device)
    return odds, iou, free, torch.ones_like(inside[..., 0] if S else iou[:, 0])


def _on_grid(target: SemanticTarget, truth: Truth, mask_logits: Tensor) -> Tensor:
    key = f"_inside{tuple(mask_logits.shape[-2:])}"
    if key not in target.__dict__:
        size = (int(mask_logits.shape[-2]), int(mask_logits.shape[-1]))
        masks = truth.masks.to(mask_logits.dtype)
        target.__dict__[key] = (F.interpolate(masks, size, mode="area") if masks.numel() else
                                masks.new_zeros(*masks.shape[:2], *size)).flatten(2)  # fmt: skip
    return target.__dict__[key]


def _gated(iou: Tensor, width: float) -> Tensor:
    return torch.stack([((iou - t) / width).sigmoid() for t in THRESHOLDS]).mean(0)


def log_odds(logits: Tensor) -> Tensor:
    """``log p/(1-p)`` of every class, with a gradient at any confidence: ``(...,K) -> (...,K)``.

    >>> log_odds(torch.tensor([40.0, 0.0])).tolist()
    [40.0, -40.0]
    """
    log_p = logits.log_softmax(-1)
    top = logits.argmax(-1, keepdim=True)
    rest = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    first = logits.gather(-1, top) - rest
    others = log_p - torch.log1p(-log_p.exp().clamp_max(0.5 + 1e-6))
    return others.scatter(-1, top, first)
