"""True objects, and which regions would be detected as them: computed anew at every step, for proposals move.

Convention: an object counts where its class is countable and no background (class 0); a region detects the object that
its refined box of the object's class overlaps most, from IoU 1/2 on. Which regions these are carries no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robustseg.ops import boxes as bx
from robustseg.ops.prompts import boxes as tight
from robustseg.types import RegionOutput, SegmentTarget, SemanticTarget, UserError, View

__all__ = ["Matches", "Truth", "matches", "mean_over", "regions_of", "truth_of"]

REACH = 0.5  # IoU from which a region stands for an object
DETECTED = 0.05  # probability below which a detection is dropped


@dataclass(frozen=True)
class Truth:
    """Objects of a batch: ``boxes (B,S,4)``, ``labels (B,S)`` (0 where not counted), ``there (B,S)`` bool, ``masks``.

    ``crowd (B,S,4)``: boxes of groups that nobody counted, empty where there is none; ``memo``: what is made once.
    """

    boxes: Tensor
    labels: Tensor
    there: Tensor
    masks: Tensor
    crowd: Tensor
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def any(self) -> Tensor:
        """``(B,)`` bool: images with an object."""
        return self.there.any(1)


def truth_of(target: SemanticTarget, *, background: bool = True) -> Truth:
    """The objects of a target, remembered with it; ``background``: class 0 is none.

    Raises UserError for a target without segments.
    """
    if not isinstance(target, SegmentTarget):
        raise UserError("an attack on objects needs a SegmentTarget; see robustseg.tasks.truth.target")
    key = f"_objects{background}"
    if key not in target.__dict__:
        categories = target.categories
        thing = categories >= int(background)
        if len(target.things):
            thing = thing & target.things.to(categories.device)[categories.clamp_min(0)]
        masks = target.masks & target.valid.unsqueeze(1)
        boxes = tight(masks)
        there = thing & target.counted & (bx.area(boxes) > 0)
        crowd = torch.where((thing & target.crowd)[..., None], boxes, 0)
        target.__dict__[key] = Truth(boxes, torch.where(there, categories, 0), there, masks, crowd)
    return target.__dict__[key]


def regions_of(view: View) -> RegionOutput:
    """The output of a model that gives regions."""
    if not isinstance(view.output, RegionOutput):
        raise UserError(f"an attack on regions was given {type(view.output).__name__}; it needs Mask R-CNN")
    return view.output


@dataclass(frozen=True)
class Matches:
    """Regions against objects of one iterate.

    Shapes: ``log_p (B,R,S)`` log probability of the object's class; ``iou (B,R,S)`` of the refined box of that class,
    with gradient; ``hit (B,R,S)`` bool, the region stands for the object; ``free (B,R,K)`` bool, a real region whose
    box of class k overlaps no object or crowd of that class by half: if it is detected, it is false.
    """

    log_p: Tensor
    iou: Tensor
    hit: Tensor
    free: Tensor


def matches(output: RegionOutput, truth: Truth) -> Matches:
    """Compare; values carry gradients, sets do not."""
    B, R, K = output.class_logits.shape
    S = truth.labels.shape[1]
    label = truth.labels[:, None].expand(B, R, S)
    log_p = output.class_logits.log_softmax(-1).gather(2, label)
    own = output.boxes.gather(2, label[..., None].expand(B, R, S, 4))
    iou = bx.paired_iou(own, truth.boxes[:, None]) * (truth.there[:, None] & output.present[..., None])
    with torch.no_grad():
        hit = (iou >= REACH) & (iou >= iou.amax(2, keepdim=True)) if S else iou > 0
        over = iou.new_zeros(B, R, K).scatter_reduce(2, label, iou.detach(), "amax")
        crowd = _inside(output.boxes, truth.crowd)
        free = output.present[..., None] & (over < REACH) & (crowd < REACH)
        free[..., 0] = False
    return Matches(log_p, iou, hit, free)


def _inside(boxes: Tensor, crowd: Tensor) -> Tensor:
    """Share of every box ``(B,R,K,4)`` that lies in the crowd ``(B,S,4)`` that holds most of it: ``(B,R,K)``."""
    if not crowd.shape[1] or not bx.area(crowd).any():
        return boxes.new_zeros(boxes.shape[:-1])
    low = torch.maximum(boxes[..., None, :2], crowd[:, None, None, :, :2])
    high = torch.minimum(boxes[..., None, 2:], crowd[:, None, None, :, 2:])
    return ((high - low).clamp_min(0).prod(-1) / bx.area(boxes)[..., None].clamp_min(1e-9)).amax(-1)


def mean_over(values: Tensor, chosen: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Mean of ``values`` where ``chosen``, 0 where nothing is; what is not chosen has exactly zero influence."""
    return torch.where(chosen, values, 0).sum(dim) / chosen.sum(dim).clamp_min(1)
