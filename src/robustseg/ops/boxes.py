"""Boxes ``(..., 4)`` as (x0, y0, x1, y1) in pixels: overlap, offsets, cropping of masks, proposals of a first stage."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["area", "clipped", "crops", "decoded", "encoded", "iou", "paired_iou", "proposals", "scaled"]

LARGEST_STRETCH = math.log(1000 / 16)  # a box never grows by more in one refinement (Detectron's constant)


def area(boxes: Tensor) -> Tensor:
    """Areas ``(...)``; 0 for boxes that are empty or turned inside out.

    >>> area(torch.tensor([[0.0, 0, 2, 3], [1, 1, 0, 0]]))
    tensor([6., 0.])
    """
    return (boxes[..., 2] - boxes[..., 0]).clamp_min(0) * (boxes[..., 3] - boxes[..., 1]).clamp_min(0)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of every pair, ``(...,N,4), (...,M,4) -> (...,N,M)``; differentiable, 0 where a box is empty.

    >>> iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2], [0, 0, 0, 0]]))
    tensor([[0.3333, 0.0000]])
    """
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    inter = (high - low).clamp_min(0).prod(-1)
    union = area(a)[..., :, None] + area(b)[..., None, :] - inter
    return inter / union.clamp_min(1e-9)


def scaled(boxes: Tensor, factor: tuple[float, float]) -> Tensor:
    """Boxes of an image that was stretched by ``factor = (fy, fx)``."""
    fy, fx = factor
    return boxes if (fy, fx) == (1, 1) else boxes * boxes.new_tensor([fx, fy, fx, fy])


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes cut off at the border of an image of ``(H, W)``."""
    H, W = size
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([x0.clamp(0, W), y0.clamp(0, H), x1.clamp(0, W), y1.clamp(0, H)], -1)


def decoded(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Boxes moved by offsets ``(dx, dy, dw, dh)``: centre by parts of the side, sides by ``exp``; shapes broadcast.

    Source: Girshick et al., CVPR 2014 (R-CNN), appendix C; ``weights`` divide the offsets (Fast R-CNN).

    >>> decoded(torch.tensor([[0.5, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0, 2, 4]]))
    tensor([[1., 0., 3., 4.]])
    """
    w, h = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    cx, cy = boxes[..., 0] + 0.5 * w, boxes[..., 1] + 0.5 * h
    dx, dy, dw, dh = (d / k for d, k in zip(deltas.unbind(-1), weights))
    cx, cy = dx * w + cx, dy * h + cy
    w, h = dw.clamp_max(LARGEST_STRETCH).exp() * w, dh.clamp_max(LARGEST_STRETCH).exp() * h
    return torch.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], -1)


def encoded(goal: Tensor, boxes: Tensor, weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """The offsets that move ``boxes`` to ``goal``; the inverse of ``decoded``. Sides below 1e-3 count as 1e-3.

    >>> encoded(torch.tensor([1.0, 0, 3, 4]), torch.tensor([0.0, 0, 2, 4]))
    tensor([0.5000, 0.0000, 0.0000, 0.0000])
    """
    w, h = ((boxes[..., i + 2] - boxes[..., i]).clamp_min(1e-3) for i in (0, 1))
    gw, gh = ((goal[..., i + 2] - goal[..., i]).clamp_min(1e-3) for i in (0, 1))
    dx = (goal[..., 0] + 0.5 * gw - boxes[..., 0] - 0.5 * w) / w
    dy = (goal[..., 1] + 0.5 * gh - boxes[..., 1] - 0.5 * h) / h
    return torch.stack([dx, dy, (gw / w).log(), (gh / h).log()], -1) * boxes.new_tensor(weights)


def crops(masks: Tensor, boxes: Tensor, side: int, *, aligned: bool = True) -> Tensor:
    """What ``masks (B,N,H,W)`` show inside ``boxes (B,N,...,4)``, resampled: ``(B,N,...,side,side)`` in [0,1].

    Every mask is read in its own boxes (RoIAlign, bilinear). ``aligned=False``: half a pixel off, as the training
    targets of torchvision's Mask R-CNN are.
    """
    from torchvision.ops import roi_align

    B, N, H, W = masks.shape
    shape = (*boxes.shape[:-1], side, side)
    if not boxes.numel():
        return boxes.new_zeros(shape)
    index = torch.arange(B * N, device=boxes.device, dtype=boxes.dtype).repeat_interleave(boxes[0, 0].numel() // 4)
    rois = torch.cat([index[:, None], boxes.reshape(-1, 4)], 1)
    return roi_align(masks.reshape(-1, 1, H, W).to(boxes), rois, (side, side), 1.0, aligned=aligned).view(shape)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes that belong together, shapes broadcast: ``(...,4), (...,4) -> (...)``; differentiable.

    >>> paired_iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([[1.0, 0, 3, 2], [0, 0, 2, 2]]))
    tensor([0.3333, 1.0000])
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp_min(0).prod(-1)
    return inter / (area(a) + area(b) - inter).clamp_min(1e-9)


def proposals(
    objectness: Tensor,
    anchors: Tensor,
    deltas: Tensor,
    levels: Tensor,
    size: tuple[int, int],
    *,
    nms: float,
    top: int,
    before: int,
    least: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """The proposals of a first stage: the ``before`` best anchors of every level, cut off at the border, thinned out.

    Shapes: ``objectness (B,A)`` logits, ``anchors, deltas (B,A,4)``, ``levels (A,)`` int64 of the pyramid, rising;
    gives boxes ``(B,R,4)``, best first, zeros where an image has fewer than R, and which are real ``(B,R)``. No
    gradient. ``nms``: the overlap above which the worse of two of one level goes; ``top``: how many stay; ``least``:
    the shortest side. Source: Ren et al., NeurIPS 2015 (Faster R-CNN), with a pyramid: Lin et al., CVPR 2017.
    """
    from torchvision.ops import batched_nms

    scores = objectness.detach()
    boxes = clipped(decoded(deltas.detach(), anchors.detach()), size)
    counts = torch.unique_consecutive(levels, return_counts=True)[1].tolist()
    picks, start = [], 0
    for count in counts:
        picks.append(start + scores[:, start : start + count].topk(min(before, count), 1).indices)
        start += count
    pick = torch.cat(picks, 1)
    found = []
    for s, b, p in zip(scores, boxes, pick):
        s, b, level = s[p].sigmoid(), b[p], levels[p]
        large = (b[:, 2:] - b[:, :2] >= least).all(1)
        s, b, level = s[large], b[large], level[large]
        found.append(b[batched_nms(b, s, level, nms)[:top]])
    most = max(len(f) for f in found)
    padded = torch.stack([torch.cat([f, f.new_zeros(most - len(f), 4)]) for f in found])
    there = torch.tensor([len(f) for f in found], device=padded.device)
    return padded, torch.arange(most, device=padded.device) < there[:, None]
