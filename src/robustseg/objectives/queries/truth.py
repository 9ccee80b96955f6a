"""The truth of a batch at the size of the masks that a model gives: fractions of cells, made once a target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.types import SegmentTarget

__all__ = ["Field", "field_of", "ids_of"]


@dataclass(frozen=True)
class Field:
    """Segments over the N cells of a mask grid, areas in label pixels.

    Shapes: ``inside (B,S,N)`` share of a cell that lies in the segment; ``area (B,S)``; ``void (B,N)`` share in no
    segment; ``sums (B,N,S+2)`` both as columns and one of ones, in pixels: a map times it gives its overlaps with
    segments and void and its area; ``category (B,S,C)`` one-hot, zero on padding; ``counted, crowd (B,S)`` as 0 and 1;
    ``things (C,)`` as 0 and 1; ``cell`` pixels a cell; ``grid`` the (h,w) of the cells.
    """

    inside: Tensor
    area: Tensor
    void: Tensor
    sums: Tensor
    category: Tensor
    counted: Tensor
    crowd: Tensor
    things: Tensor
    cell: float
    grid: tuple[int, int]


def field_of(target: SegmentTarget, masks: Tensor, classes: int) -> Field:
    """The truth on the grid of ``masks (B,Q,h,w)``; remembered with the target, since every step asks for it.

    Convention: cells average the label pixels that they cover, so that areas and overlaps with a constant mask are
    exact; at label size the cells are the pixels.
    """
    key = (tuple(masks.shape[-2:]), classes, masks.dtype)
    memo = target.__dict__.setdefault("_fields", {})
    if key not in memo:
        with torch.no_grad():
            memo[key] = _field(target, masks, classes)
    return memo[key]


def _field(target: SegmentTarget, masks: Tensor, classes: int) -> Field:
    (h, w), (H, W) = masks.shape[-2:], target.labels.shape[-2:]
    B, S = target.categories.shape
    dtype = masks.dtype
    counts = target.masks & target.valid.unsqueeze(1)
    inside = torch.zeros(B, S, h * w, dtype=dtype, device=masks.device)
    for i, one in enumerate(counts):  # image by image: all of them as numbers, at label size, can be gigabytes
        if S:
            inside[i] = F.adaptive_avg_pool2d(one.to(masks.device, dtype), (h, w)).flatten(1)
    cell = H * W / (h * w)
    known = target.categories >= 0
    category = torch.zeros(B, S, classes, dtype=dtype, device=masks.device)
    category = category.scatter(2, target.categories.clamp_min(0).unsqueeze(-1), known.to(dtype).unsqueeze(-1))
    void = (1 - inside.sum(1)).clamp_min(0) if S else inside.new_ones(B, h * w)
    columns = torch.cat([inside, void.unsqueeze(1), torch.ones_like(void).unsqueeze(1)], 1)
    return Field(
        inside=inside,
        area=counts.flatten(2).sum(2).to(dtype),
        void=void,
        sums=(cell * columns).transpose(1, 2).contiguous(),
        category=category,
        counted=target.counted.to(dtype),
        crowd=(target.crowd & known).to(dtype),
        things=target.things.to(masks.device, dtype),
        cell=cell,
        grid=(int(h), int(w)),
    )


def ids_of(target: SegmentTarget) -> Tensor:
    """``(B,N)`` the number of the true segment of every pixel, S where there is none; of overlapping ones the first.

    As the metric sees the truth. Remembered with the target.
    """
    memo = target.__dict__.setdefault("_fields", {})
    if "ids" not in memo:
        B, S = target.categories.shape
        masks = (target.masks & target.valid.unsqueeze(1)).flatten(2)
        void = torch.full((B, masks.shape[-1]), S, device=masks.device)
        # the first of equal values is the maximum's place
        memo["ids"] = torch.where(masks.any(1), masks.to(torch.uint8).argmax(1), void) if S else void
    return memo["ids"]
