"""Hand-made truths and outputs for tests of attacks on queries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robustseg.tasks.panoptic import PanopticMap
from robustseg.types import QueryOutput, SegmentTarget, View

SKY, ROAD, CAR, MAN = range(4)
THINGS = torch.tensor([False, False, True, True])


def truth(maps: Tensor, categories: list[list[int]], crowd: list[list[bool]] | None = None) -> SegmentTarget:
    """Maps of segment numbers ``(B,H,W)``, 0 = void, and the class of each number; -1 pads."""
    most = max(len(c) for c in categories)
    names = torch.tensor([c + [-1] * (most - len(c)) for c in categories], dtype=torch.int64).reshape(len(maps), most)
    masks = torch.stack([maps == s + 1 for s in range(most)], 1) if most else torch.zeros(len(maps), 0, *maps.shape[1:])
    groups = torch.zeros_like(names, dtype=torch.bool)
    for b, row in enumerate(crowd or []):
        groups[b, : len(row)] = torch.tensor(row)
    labels = torch.full_like(maps, 255)
    for b in range(len(maps)):
        for s in range(most):
            if names[b, s] >= 0:
                labels[b][masks[b, s]] = names[b, s]
    return SegmentTarget(labels, 255, masks.bool() & (names >= 0)[..., None, None], names, groups, THINGS)


def street(images: int = 1, scale: int = 1) -> SegmentTarget:
    """Sky above, road below, a car and a man on the road."""
    one = torch.zeros(8, 16, dtype=torch.int64)
    one[:4], one[4:] = 1, 2
    one[4:7, 1:6], one[3:7, 10:13] = 3, 4
    one = one.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return truth(one.expand(images, -1, -1).clone(), [[SKY, ROAD, CAR, MAN]] * images)


def answer(target: SegmentTarget, spare: int = 2, sure: float = 4.0, dtype: torch.dtype = torch.float64) -> QueryOutput:
    """A query for every segment, right and ``sure``, and spare ones that say "no object" with small masks."""
    B, S = target.categories.shape
    z = torch.zeros(B, S + spare, 5, dtype=dtype)
    at = target.categories.where(target.categories >= 0, 4)
    z[:, :S].scatter_(2, at.unsqueeze(-1), 1.5 * sure)
    z[:, S:, -1] = sure
    m = torch.full((B, S + spare, *target.labels.shape[1:]), -sure, dtype=dtype)
    m[:, :S] += 2 * sure * target.masks.to(dtype)
    for q in range(spare):  # a corner each, weakly
        m[:, S + q, :2, 4 * q : 4 * q + 2] = -0.5
    return QueryOutput(z, m)


def view(output: QueryOutput) -> View:
    """What objectives see; images are not looked at."""
    images = torch.zeros(len(output.class_logits), 3, 1, 1, dtype=output.class_logits.dtype)
    return View(images, images, images, output)


def official(target: SegmentTarget, b: int) -> PanopticMap:
    """The true map of image b."""
    real = [s for s in range(target.categories.shape[1]) if target.categories[b, s] >= 0]
    ids = np.zeros(target.labels.shape[1:], int)
    for k, s in enumerate(real):
        ids[target.masks[b, s].numpy()] = k + 1
    return PanopticMap(ids, target.categories[b, real].numpy(), target.crowd[b, real].numpy())
