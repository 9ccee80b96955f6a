"""Mask R-CNN's training loss without the dice it throws: all anchors and proposals, weighted as its sampler would.

Losses and rules: Ren et al., NeurIPS 2015; He et al., ICCV 2017; torchvision's constants. The first stage samples 256
anchors an image, at most half of them positive; the second 512 proposals, at most a quarter. The expectation over that
draw is a weighted mean, which is what is attacked. Unlike in training, true boxes are not added to the proposals.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.regions.matching import Truth, mean_over
from robustseg.objectives.regions.stages import masks_of
from robustseg.ops import boxes as bx
from robustseg.types import RegionOutput

__all__ = ["first_stage", "second_stage", "training_loss"]

FIRST = (256, 0.5)  # sampled an image, at most this share positive
SECOND = (512, 0.25)
POSITIVE, NEGATIVE = 0.7, 0.3  # IoU of anchors
AT_ONCE = 16  # objects that all anchors are compared with
MASKED = 4  # proposals of an object whose masks count


def training_loss(output: RegionOutput, truth: Truth) -> Tensor:
    """All five losses ``(B,)``: objectness and offsets of anchors, class, offsets and masks of proposals."""
    return first_stage(output, truth) + second_stage(output, truth) + mask_loss(output, truth)


def first_stage(output: RegionOutput, truth: Truth, sampled: tuple[int, float] = FIRST) -> Tensor:
    """Objectness cross-entropy and smooth L1 of the offsets of positive anchors, ``(B,)``."""
    positive, negative, goal = _anchors(output, truth)
    ce = F.softplus(torch.where(positive, -output.objectness, output.objectness))
    wanted = bx.encoded(goal, output.anchors)
    off = F.smooth_l1_loss(output.box_deltas, wanted, beta=1 / 9, reduction="none").sum(-1)
    return _expected(ce, positive, negative, sampled) + _expected(off, positive, negative, sampled, only_positive=True)


def second_stage(output: RegionOutput, truth: Truth, sampled: tuple[int, float] = SECOND) -> Tensor:
    """Class cross-entropy of proposals and smooth L1 of the offsets of positive ones, ``(B,)``."""
    label, goal = _proposals(output, truth)
    positive, negative = (label > 0) & output.present, (label == 0) & output.present
    ce = -output.class_logits.log_softmax(-1).gather(2, label[..., None])[..., 0]
    weights = output.extras.get("weights", (10.0, 10.0, 5.0, 5.0))
    own = output.boxes.gather(2, label[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
    off = bx.encoded(own, output.proposals, weights) - bx.encoded(goal, output.proposals, weights)
    off = torch.where(positive[..., None], off, 0)  # the offsets of padding are no numbers
    smooth = F.smooth_l1_loss(off, torch.zeros_like(off), beta=1 / 9, reduction="none").sum(-1)
    return _expected(ce, positive, negative, sampled) + _expected(smooth, positive, negative, sampled, True)


def mask_loss(output: RegionOutput, truth: Truth) -> Tensor:
    """Cross-entropy of the masks over the best proposals of every object, ``(B,)``."""
    with torch.no_grad():
        near = torch.where(truth.there[:, None] & output.present[..., None], bx.iou(output.proposals, truth.boxes), 0)
        best = near.transpose(1, 2).topk(min(MASKED, near.shape[1]), 2)  # (B,S,T)
    B, S, T = best.indices.shape
    boxes = output.proposals.gather(1, best.indices.view(B, S * T, 1).expand(-1, -1, 4)).view(B, S, T, 4)
    logits = masks_of(output, truth, boxes)
    inside = bx.crops(truth.masks, boxes, logits.shape[-1], aligned=False)
    ce = F.binary_cross_entropy_with_logits(logits, inside, reduction="none").flatten(3).mean(3)
    return mean_over(ce, best.values >= 0.5, (1, 2))


def _expected(
    loss: Tensor, positive: Tensor, negative: Tensor, sampled: tuple[int, float], only_positive: bool = False
) -> Tensor:
    """Mean of ``loss (B,N)`` that a random sample would have on average, ``(B,)``."""
    most, share = sampled
    P, N = positive.sum(1), negative.sum(1)
    p = P.clamp_max(int(most * share))
    n = torch.minimum(N, most - p)
    total = torch.where(positive, loss, 0).sum(1) * (p / P.clamp_min(1))
    if not only_positive:
        total = total + torch.where(negative, loss, 0).sum(1) * (n / N.clamp_min(1))
    return total / (p + n).clamp_min(1)


def _anchors(output: RegionOutput, truth: Truth) -> tuple[Tensor, Tensor, Tensor]:
    """Positive and negative anchors ``(B,A)`` and the box that each should become ``(B,A,4)``.

    Anchors do not move and there are many: compared once, a few objects at a time.
    """
    key = ("anchors", tuple(output.anchors.shape), output.size)
    if key not in truth.memo:
        truth.memo[key] = _compared(output.anchors, truth)
    return truth.memo[key]


@torch.no_grad()
def _compared(anchors: Tensor, truth: Truth) -> tuple[Tensor, Tensor, Tensor]:
    best = anchors.new_full(anchors.shape[:2], 0.0)
    which = torch.zeros_like(best, dtype=torch.int64)
    closest = torch.zeros_like(which, dtype=torch.bool)
    for start in range(0, truth.boxes.shape[1], AT_ONCE):
        part = slice(start, start + AT_ONCE)
        near = torch.where(truth.there[:, None, part], bx.iou(anchors, truth.boxes[:, part]), 0)
        top, index = near.max(2)
        which = torch.where(top > best, index + start, which)
        best = torch.maximum(best, top)
        closest |= ((near == near.amax(1, keepdim=True)) & (near > 0)).any(2)  # every object has its anchors
    goal = truth.boxes.gather(1, which[..., None].expand(-1, -1, 4)) if truth.boxes.shape[1] else anchors
    return (best >= POSITIVE) | closest, (best < NEGATIVE) & ~closest, goal


@torch.no_grad()
def _proposals(output: RegionOutput, truth: Truth) -> tuple[Tensor, Tensor]:
    """Label ``(B,R)`` of every proposal, 0 = background, and its object's box ``(B,R,4)``."""
    near = torch.where(truth.there[:, None], bx.iou(output.proposals, truth.boxes), 0)
    if not near.shape[2]:
        return torch.zeros_like(output.present, dtype=torch.int64), output.proposals
    best, which = near.max(2)
    label = torch.where(best >= 0.5, truth.labels.gather(1, which), 0)
    return label, truth.boxes.gather(1, which[..., None].expand(-1, -1, 4))
