"""What can go wrong in a two-stage detector, one part at a time: first stage, class, box, mask, false detections.

Each is ``(output, truth) -> (B,)`` to maximise, a mean over the true objects of an image, so that large ones do not
outweigh small ones and a value does not fall when an object is lost: what is lost rests at the value of just lost. An
image without objects can only be given false ones, and is. Losses: Ren et al., NeurIPS 2015; He et al., ICCV 2017;
masking what is already wrong: Croce, Singh, Hein, ECCV 2024. The rest is our own.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.regions.matching import DETECTED, REACH, Matches, Truth, matches, mean_over
from robustseg.ops import boxes as bx
from robustseg.types import RegionOutput

__all__ = ["best_regions", "false_detections", "lost_boxes", "lost_classes", "lost_masks", "lost_proposals"]

FIELD = 2000  # anchors that may still be kept; the network looks at some hundred of every level
SURE = 3.0  # logits by which a false detection leads before it rests: probability 0.95
TRIED = 3  # regions of an object whose masks are broken


def lost_proposals(output: RegionOutput, truth: Truth) -> Tensor:
    """First stage: the anchors that would propose a true object fall behind those that propose nothing.

    Only the order counts, for the best are kept whatever their objectness: an anchor is compared with the mean of the
    best others, as many as there are proposals, which rise. Anchors far behind all of these are lost already.
    """
    R, A = output.proposals.shape[1], output.objectness.shape[1]
    objectness, ahead = output.objectness.topk(min(max(FIELD, 4 * R), A), 1)
    with torch.no_grad():
        at = ahead[..., None].expand(-1, -1, 4)
        boxes = bx.decoded(output.box_deltas.gather(1, at), output.anchors.gather(1, at))
        near = torch.where(truth.there[:, None], bx.iou(bx.clipped(boxes, output.size), truth.boxes), 0)
        good = (near >= REACH).any(2)
    rank = objectness.masked_fill(good, -torch.inf).topk(min(R, objectness.shape[1]), 1).values
    bar = mean_over(rank, rank.isfinite(), 1)
    lost = -mean_over(F.softplus(objectness - bar[:, None]), good, 1)
    return torch.where(truth.any, lost, bar)


def lost_classes(output: RegionOutput, truth: Truth) -> Tensor:
    """Second stage: cross-entropy of the true class over the regions on an object, until none would be detected."""
    m = matches(output, truth)
    ce = -m.log_p.clamp_min(math.log(DETECTED))
    lost = torch.where(m.hit.any(1), mean_over(ce, m.hit, 1), -math.log(DETECTED))
    return _or_false(mean_over(lost, truth.there, 1), output, truth, m)


def lost_boxes(output: RegionOutput, truth: Truth) -> Tensor:
    """Refined boxes: 1 - IoU of those that are detected as an object, weighted by their probability; rests at 1/2."""
    m = matches(output, truth)
    p = m.log_p.detach().exp()
    weight = torch.where(m.hit & (p > DETECTED), p, 0)
    off = (1 - m.iou).clamp_max(1 - REACH)
    total = weight.sum(1)
    lost = torch.where(total > 0, (weight * off).sum(1) / total.clamp_min(1e-9), 1 - REACH)
    return _or_false(mean_over(lost, truth.there, 1), output, truth, m)


def lost_masks(output: RegionOutput, truth: Truth) -> Tensor:
    """Masks over the best boxes of every object: cross-entropy of the cells, a wrong cell rests at log 2."""
    m = matches(output, truth)
    boxes, chosen, _ = best_regions(output, truth, m, TRIED)
    logits = masks_of(output, truth, boxes)
    inside = bx.crops(truth.masks, boxes, logits.shape[-1]) > 0.5
    ce = F.softplus(torch.where(inside, -logits, logits)).clamp_max(math.log(2)).flatten(3).mean(3)
    lost = torch.where(chosen.any(2), mean_over(ce, chosen, 2), math.log(2))
    return _or_false(mean_over(lost, truth.there, 1), output, truth, m)


def false_detections(output: RegionOutput, truth: Truth) -> Tensor:
    """Phantoms: regions on no object are given the class that comes nearest, until its logit leads by 3."""
    return _false(output, matches(output, truth))


def _false(output: RegionOutput, m: Matches) -> Tensor:
    z = output.class_logits
    lead = (z - z[..., :1]).masked_fill(~m.free, -torch.inf).amax(2).clamp_max(SURE)
    return mean_over(lead, m.free.any(2), 1)


def _or_false(lost: Tensor, output: RegionOutput, truth: Truth, m: Matches) -> Tensor:
    return torch.where(truth.any, lost, _false(output, m))


def best_regions(output: RegionOutput, truth: Truth, m: Matches, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The regions most sure of every object: boxes ``(B,S,T,4)``, which are real ``(B,S,T)``, their index."""
    p = torch.where(m.hit, m.log_p.detach().exp(), 0).transpose(1, 2)  # (B,S,R)
    best = p.topk(min(most, p.shape[2]), 2)
    index, T = best.indices, best.indices.shape[2]
    B, S = truth.labels.shape
    K = output.class_logits.shape[2]
    flat = (index * K + truth.labels[..., None]).view(B, S * T, 1).expand(B, S * T, 4)
    boxes = output.boxes.flatten(1, 2).gather(1, flat).view(B, S, T, 4)
    return boxes.detach(), best.values > DETECTED, index


def masks_of(output: RegionOutput, truth: Truth, boxes: Tensor) -> Tensor:
    """Mask logits ``(B,S,T,m,m)`` of each object's class over ``boxes (B,S,T,4)``."""
    B, S, T = boxes.shape[:3]
    every = output.extras["masks"](boxes.view(B, S * T, 4))  # (B*S*T, K, m, m)
    label = truth.labels[..., None].expand(B, S, T).reshape(-1)
    picked = every[torch.arange(len(label), device=label.device), label]
    return picked.view(B, S, T, *picked.shape[-2:])
