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

SCORE, NMS, MOST = 0.05, 0.5, 100
SMALLEST = 1e-2  # px, side of a box
SURE = 0.5  # score from which an instance is painted


def instances(
    output: RegionOutput,
    *,
    score: float | None = None,
    nms: float | None = None,
    most: int | None = None,
    mask: float = 0.5,
    size: tuple[int, int] | None = None,
) -> list[Instances]:
    """The detections of every image, best first, at ``size`` (the image's by default); class 0 is background.

    ``score``, ``nms``, ``most``: by default ``extras["rules"]`` where the model brings its own, else 0.05, 0.5, 100.
    Masks are read over the detected boxes with ``extras["masks"]`` where the model can (as torchvision does), else
    they are those of ``mask_logits`` over the proposals.
    """
    rules: tuple[float, float, int] = output.extras.get("rules", (SCORE, NMS, MOST))
    least = rules[0] if score is None else score
    overlap = rules[1] if nms is None else nms
    number = rules[2] if most is None else most
    size = size or output.size
    scale = output.boxes.new_tensor([size[1] / output.size[1], size[0] / output.size[0]] * 2)
    chosen = [_chosen(output, i, least, overlap, number) for i in range(len(output.boxes))]
    over = [boxes for _, _, _, boxes in chosen]
    if "masks" not in output.extras:
        over = [output.proposals[i][region] for i, (region, *_) in enumerate(chosen)]
        logits = [output.mask_logits[i][region, label] for i, (region, label, _, _) in enumerate(chosen)]
    elif any(map(len, over)):
        label = torch.cat([label for _, label, _, _ in chosen])
        cells = output.extras["masks"](over)[torch.arange(len(label), device=label.device), label]
        logits = list(cells.split([len(boxes) for boxes in over]))
    else:
        logits = [boxes.new_zeros(0, 1, 1) for boxes in over]
    found = []
    for (_, label, scores, boxes), own, cells in zip(chosen, over, logits):
        masks = pasted(cells.sigmoid(), own * scale, size) > mask
        found.append(Instances(masks.cpu(), scores.cpu(), label.cpu(), (boxes * scale).cpu()))
    return found


def _chosen(output: RegionOutput, i: int, score: float, nms: float, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Proposal, class, score and box of the detections of image i."""
    from torchvision.ops import batched_nms

    height, width = output.size
    probability = output.class_logits[i].softmax(-1)
    boxes = output.boxes[i].clamp_min(0).minimum(output.boxes.new_tensor([width, height] * 2))
    good = (probability > score) & (boxes[..., 2:] - boxes[..., :2] >= SMALLEST).all(-1) & output.present[i][:, None]
    good[:, 0] = False
    region, label = good.nonzero(as_tuple=True)
    best = batched_nms(boxes[region, label], probability[region, label], label, nms)[:most]
    region, label = region[best], label[best]
    return region, label, probability[region, label], boxes[region, label]


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
