"""From regions (Mask R-CNN) to instances and label maps, by torchvision's rules.

Softmax over the classes; each class's refined box is a detection of its own; boxes clipped to the image; scores above
0.05, sides of at least 0.01 px, non-maximum suppression at IoU 0.5 within a class, the 100 best. A mask of m×m cells
gets a ring of zeros, its box grows by (m+2)/m around its centre, corners are cut to whole pixels, and it is stretched
bilinearly over them. Source: He et al., ICCV 2017, arXiv 1703.06870, and torchvision's ``roi_heads``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.tasks.decode import Instances
from robustseg.types import RegionOutput

__all__ = ["instances", "painted", "pasted"]

SMALLEST = 1e-2  # px, side of a box
SURE = 0.5  # score from which an instance is painted


def instances(
    output: RegionOutput,
    *,
    score: float = 0.05,
    nms: float = 0.5,
    most: int = 100,
    mask: float = 0.5,
    size: tuple[int, int] | None = None,
) -> list[Instances]:
    """The detections of every image, best first, at ``size`` (the image's by default); class 0 is background.

    Masks are read over the detections' own boxes where the model gives ``extras["masks"]`` (torchvision's rule); else
    they are ``mask_logits``, over ``extras["mask_boxes"]`` ``(B,R,4)`` or ``(B,R,K,4)`` or, by default, the proposals.
    """
    from torchvision.ops import batched_nms

    height, width = output.size
    size = size or output.size
    scale = output.boxes.new_tensor([size[1] / width, size[0] / height] * 2)
    limit = output.boxes.new_tensor([width, height] * 2)
    over = output.extras.get("mask_boxes", output.proposals)
    chosen = []
    for i in range(len(output.boxes)):
        probability = output.class_logits[i].softmax(-1)
        boxes = output.boxes[i].clamp_min(0).minimum(limit)
        sides = boxes[..., 2:] - boxes[..., :2]
        good = (probability > score) & (sides >= SMALLEST).all(-1) & output.present[i][:, None]
        good[:, 0] = False
        region, label = good.nonzero(as_tuple=True)
        best = batched_nms(boxes[region, label], probability[region, label], label, nms)[:most]
        region, label = region[best], label[best]
        chosen.append((boxes[region, label], probability[region, label], region, label))
    on_demand, every = output.extras.get("masks"), ()
    if on_demand is not None:
        every = on_demand([boxes for boxes, *_ in chosen]).split([len(boxes) for boxes, *_ in chosen])
    found = []
    for i, (boxes, probability, region, label) in enumerate(chosen):
        if on_demand is not None:
            own, cells = boxes, every[i][torch.arange(len(label), device=label.device), label].sigmoid()
        else:
            own = over[i][region, label] if over.dim() == 4 else over[i][region]
            own = own.clamp_min(0).minimum(limit) if "mask_boxes" in output.extras else own
            cells = output.mask_logits[i][region, label].sigmoid()
        masks = pasted(cells, own * scale, size) > mask
        found.append(Instances(masks.cpu(), probability.cpu(), label.cpu(), (boxes * scale).cpu()))
    return found


def pasted(cells: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask probabilities ``(N,H,W)`` of ``cells (N,m,m)`` over ``boxes (N,4)``; 0 outside."""
    m = cells.shape[-1]
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((m + 2) / m)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    corners = torch.cat([centre - half, centre + half], 1).long().tolist()
    ringed = F.pad(cells, (1, 1, 1, 1))
    found = cells.new_zeros(len(cells), *size)
    for image, cell, (x0, y0, x1, y1) in zip(found, ringed, corners):
        wide, high = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
        left, right, top, bottom = max(x0, 0), min(x1 + 1, size[1]), max(y0, 0), min(y1 + 1, size[0])
        if left < right and top < bottom:
            big = F.interpolate(cell[None, None], size=(high, wide), mode="bilinear", align_corners=False)[0, 0]
            image[top:bottom, left:right] = big[top - y0 : bottom - y0, left - x0 : right - x0]
    return found


def painted(found: Instances, size: tuple[int, int]) -> Tensor:
    """Label map ``(H,W)`` int64: instances with a score of at least 1/2, the best on top; the rest is class 0."""
    labels = torch.zeros(size, dtype=torch.int64)
    for n in (found.scores >= SURE).nonzero().flatten().flip(0).tolist():
        labels[found.masks[n]] = found.labels[n]
    return labels
