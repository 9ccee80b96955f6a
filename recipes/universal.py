"""Training loss of mask classification: dense masks, Hungarian matching of objects, one fixed query a stuff class.

The terms are Mask2Former's (Cheng et al., CVPR 2022): cross-entropy with a small weight on "no object", binary
cross-entropy and Dice of matched masks, after every decoder layer. What differs serves short trainings on a CPU:
every pixel counts instead of sampled points (at the masks' own resolution for the inner layers, at twice that for the
last), query k belongs to the k-th stuff class, and the pixel features are also read by linear heads (class, way to the
middle of the object), which are no part of the exported network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.recipes import Recipe
from robustseg.ops.prompts import boxes
from robustseg.tasks.truth import segments
from robustseg.types import Sample, Segments

WAVES = 24  # numbers in which pixel features tell the place of their object: waves down to a third of the side
MATCH = {"class": 2.0, "mask": 5.0, "dice": 5.0}  # the original's weights, in the matching and in the loss


def truth(code: Tensor, recipe: Recipe) -> Segments:
    """Segments of a map of codes (label + 256 * object number); objects under `smallest` pixels are left out."""
    labels = code & 255
    blank = torch.empty(3, *code.shape)
    found = segments(Sample("", blank, labels, (code >> 8).int()), recipe.is_thing, recipe.ignore)
    thing = torch.tensor(recipe.is_thing)[found.categories]
    keep = ~found.crowd & (~thing | (found.masks.flatten(1).sum(1) >= recipe.smallest))
    return Segments(found.masks[keep], found.categories[keep], found.crowd[keep])


def objects(code: Tensor, recipe: Recipe) -> dict[str, Tensor]:
    """The same of things only, as torchvision's detectors want it."""
    found = truth(code, recipe)
    thing = torch.tensor(recipe.is_thing)[found.categories]
    masks = found.masks[thing]
    return {"boxes": boxes(masks), "labels": found.categories[thing], "masks": masks.to(torch.uint8)}


def places(queries: int) -> Tensor:
    """Where each query for objects is at home, `(Q,2)` as parts of height and width: points spread evenly in any order.

    The R2 sequence of M. Roberts ("The unreasonable effectiveness of quasirandom sequences", 2018).
    """
    steps = torch.tensor([0.7548776662466927, 0.5698402909980532], dtype=torch.float64)
    return ((0.5 + torch.arange(1, queries + 1)[:, None] * steps) % 1).float()


def grid(shape: Sequence[int]) -> Tensor:
    """The middle of every cell, `(h*w,2)` as parts of height and width."""
    y, x = ((torch.arange(n) + 0.5) / n for n in shape)
    return torch.cartesian_prod(y, x)


def waves(at: Tensor, width: int) -> Tensor:
    """Places `(n,2)`, parts of the sides, as `width` (a multiple of 4) sines and cosines of ever shorter waves."""
    turns = torch.pi * at[:, :, None] * torch.arange(1, width // 4 + 1)  # half a wave on the side, one, one and a half
    return torch.cat([turns.sin(), turns.cos()], 2).flatten(1)


def assign(classes: Tensor, masks: Tensor, soft: Tensor, valid: Tensor, categories: Tensor, recipe: Recipe) -> Tensor:
    """The query of each segment, `(S,)`; -1 where there are more objects than queries.

    classes `(Q,K+1)` and masks `(Q,h,w)` logits, soft `(S,h*w)` truth in [0,1], valid `(h*w,)` weights of the pixels.
    """
    from scipy.optimize import linear_sum_assignment

    stuff = [c for c, thing in enumerate(recipe.is_thing) if not thing]
    query = torch.full((len(categories),), -1)
    thing = torch.tensor(recipe.is_thing)[categories]
    for k, c in enumerate(stuff):
        query[categories == c] = k
    if thing.any():
        free, wanted = slice(len(stuff), None), soft[thing]
        z = masks[free].flatten(1)
        p = z.sigmoid()
        n = valid.sum().clamp(min=1)
        area = wanted @ valid
        bce = (softplus(z) @ valid)[:, None] - z @ (wanted * valid).T
        dice = 1 - (2 * p @ (wanted * valid).T + 1) / ((p @ valid)[:, None] + area[None] + 1)
        cost = MATCH["mask"] * bce / reach(area, n) + MATCH["dice"] * dice
        cost = cost - MATCH["class"] * classes[free].softmax(-1)[:, categories[thing]]
        if recipe.place:
            middle = (wanted * valid) @ grid(masks.shape[-2:]) / area.clamp(min=1e-6)[:, None]
            cost = cost + recipe.place * torch.cdist(places(len(z)), middle) * len(z) ** 0.5
        rows, columns = linear_sum_assignment(cost.nan_to_num(1e4).numpy())
        query[thing.nonzero()[:, 0][torch.as_tensor(columns)]] = torch.as_tensor(rows) + len(stuff)
    return query


def reach(area: Tensor, pixels: Tensor) -> Tensor:
    """Over how many pixels the cross-entropy of a mask is averaged: a small object would vanish in a whole image."""
    return torch.minimum(8 * area + 64, pixels)


def scale(t: Tensor, v: Tensor, outside: float) -> tuple[Tensor, Tensor]:
    """The weight of a pixel outside each mask, and what the cross-entropy is divided by, `(M,1)` each.

    Truth t and weights v `(M,n)`. `outside` > 0: all pixels outside weigh no more than so many times those inside;
    where objects are tiny, masks else begin by vanishing and stay so.
    """
    area, pixels = (t * v).sum(1), v.sum(1).clamp(min=1)
    if not outside:
        return torch.ones_like(area)[:, None], reach(area, pixels)[:, None]
    rest = (pixels - area).clamp(min=1)
    quiet = (outside * area / rest).clamp(max=1)
    return quiet[:, None], (area + quiet * rest).clamp(min=1)[:, None]


def softplus(z: Tensor) -> Tensor:
    """log(1 + e^z); four times as fast as the library's on a CPU, whose log1p is not vectorised."""
    return z.abs().neg_().exp_().add_(1).log_().add_(z.clamp(min=0))


class MaskLoss(torch.autograd.Function):
    """Weighted sum of binary cross-entropy and Dice loss of M masks, with its gradient written out.

    With p = sigmoid(z), truth t, pixel weights v, q and r the `scale`, w = t + q (1 - t), I = Σ p t v,
    D = Σ (p + t) v + 1, per mask:

        L = a Σ (w softplus(z) - z t) v / r + b (1 - (2 I + 1) / D)
        dL/dz = v (a (w p - t) / r + b p (1 - p) ((2 I + 1) / D² - 2 t / D))
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, t: Tensor, v: Tensor, q: Tensor, r: Tensor) -> Tensor:
        """Summed over the masks; z, t, v `(M,n)`, q and r `(M,1)`."""
        a, b = MATCH["mask"], MATCH["dice"]
        p, tv = z.sigmoid(), t * v
        area, w = tv.sum(1), t + q * (1 - t)
        bce = (softplus(z) * v * w - z * tv).sum(1, keepdim=True) / r
        over = (2 * (p * tv).sum(1) + 1)[:, None]
        D = ((p * v).sum(1) + area + 1)[:, None]
        slope = (t * (-2 * b / D)).add_(b * over / D**2).mul_(p).mul_(1 - p)
        ctx.save_for_backward(slope.add_((p * w - t).mul_(a / r)).mul_(v))
        return (a * bce + b * (1 - over / D)).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        """The stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None, None


def loss(layers: Sequence[tuple[Tensor, Tensor]], codes: Tensor, weights: Tensor, recipe: Recipe) -> Tensor:
    """Sum over layers: class `(B,Q,K+1)` and mask `(B,Q,h,w)` logits, last ones last; codes `(B,H,W)`."""
    h, w = layers[-1][1].shape[-2:]
    found = [truth(code, recipe) for code in codes]
    counted = ((codes & 255) != recipe.ignore).float()
    small, large = (h, w), (2 * h, 2 * w)  # grids of the inner layers and of the last
    fine = [shrunk(maps, large) for maps in (counted, *(s.masks.float() for s in found))]
    (valid, *soft) = zip([shrunk(maps, small).flatten(1) for maps in fine], [maps.flatten(1) for maps in fine])
    count = max(sum(len(s) for s in found), 1)
    total = torch.zeros(())
    for depth, (classes, masks) in enumerate(layers):
        classes, masks, last = classes.float(), masks.float(), int(depth == len(layers) - 1)
        target = torch.full(classes.shape[:2], len(recipe.classes))
        picked, wanted, weight = [], [], []
        for i, s in enumerate(found):
            with torch.no_grad():
                query = assign(classes[i], masks[i], soft[i][0], valid[0][i], s.categories, recipe)
            hit = query >= 0
            target[i, query[hit]] = s.categories[hit]
            picked.append(masks[i, query[hit]])
            wanted.append(soft[i][last][hit])
            weight.append(valid[last][i].expand(len(wanted[-1]), -1))
        z = torch.cat(picked)
        if last and len(z):
            z = F.interpolate(z[None], large, mode="bilinear", align_corners=False)[0]
        t, v = torch.cat(wanted), torch.cat(weight)
        shapes = MaskLoss.apply(z.flatten(1), t, v, *scale(t, v, recipe.outside)) if len(z) else z.sum()
        ce = F.cross_entropy(classes.flatten(0, 1), target.flatten(), weights)
        total = total + MATCH["class"] * ce + shapes / count
    return total


def shrunk(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Means of `(N,H,W)` over the cells of a coarser grid."""
    return F.adaptive_avg_pool2d(maps[None], size)[0]


def bearing(middle: Tensor, here: Tensor, recipe: Recipe) -> Tensor:
    """What a pixel should know about the middle of its object, `(C,n)`: both `(2,n)`, as parts of the image's sides.

    The way there, in eighths of a side; with `place`, where queries look for objects by place, the place as waves.
    """
    if not recipe.place:
        return 8 * (middle - here)
    return waves(middle.T, WAVES).T


def bearings(recipe: Recipe) -> int:
    """How many numbers `bearing` gives a pixel."""
    return len(bearing(torch.zeros(2, 1), torch.zeros(2, 1), recipe))


def centre_loss(offsets: Tensor, codes: Tensor, recipe: Recipe) -> Tensor:
    """Pixels of an object should know where its middle is: smooth L1 of `(B,C,h,w)` to the `bearing`.

    It tells the pixel features of one object from those of the next long before the queries do.
    """
    h, w = offsets.shape[-2:]
    y, x = (torch.arange(n) / n for n in (h, w))
    total, numbers = torch.zeros(()), 0.0
    step = (codes.shape[-2] // h, codes.shape[-1] // w)
    for offset, code in zip(offsets.float(), codes[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]]):
        thing = torch.tensor([*recipe.is_thing, False])[(code & 255).clamp(max=len(recipe.classes))]
        at_y, at_x = thing.nonzero(as_tuple=True)
        _, object_ = code[thing].unique(return_inverse=True)
        here = torch.stack([y[at_y], x[at_x]])
        size = torch.bincount(object_).clamp(min=1)
        middle = torch.stack([torch.bincount(object_, v) / size for v in here])
        wanted = bearing(middle[:, object_], here, recipe)
        total = total + F.smooth_l1_loss(offset[:, thing], wanted, reduction="sum", beta=0.1)
        numbers += wanted.numel()
    return total / max(numbers, 1)
