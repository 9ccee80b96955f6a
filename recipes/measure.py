"""Clean scores over a whole data set: intersection and union summed over images, then averaged over classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.networks import logits
from recipes.recipes import Recipe


def predict(network: nn.Module, recipe: Recipe, images: Tensor) -> Tensor:
    """Labels `(B,H,W)` of uint8 images; padded below and right with the mean colour to the network's multiple."""
    H, W = images.shape[-2:]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    pixels = F.pad((images.float() / 255 - mean) / std, (0, -W % recipe.multiple, 0, -H % recipe.multiple))
    scores = logits(network, pixels).float()
    scores = F.interpolate(scores, pixels.shape[-2:], mode="bilinear", align_corners=False)
    return scores[..., :H, :W].argmax(1)


@torch.inference_mode()
def measure(
    network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor, *, bfloat16: bool = False, batch: int = 4
) -> dict:
    """aAcc, mIoU over the classes present in truth or prediction, and IoU per class (None where absent)."""
    network.eval()
    C = len(recipe.classes)
    confusion = torch.zeros(C, C, dtype=torch.int64)
    for i in range(0, len(images), batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            prediction = predict(network, recipe, images[i : i + batch])
        truth = labels[i : i + batch].long()
        known = truth != recipe.ignore
        confusion += torch.bincount(truth[known] * C + prediction[known], minlength=C * C).view(C, C)
    hit, union = confusion.diag(), confusion.sum(0) + confusion.sum(1) - confusion.diag()
    iou = {n: (h / u).item() if u else None for n, h, u in zip(recipe.classes, hit, union, strict=True)}
    values = [v for v in iou.values() if v is not None]
    return {"aAcc": (hit.sum() / confusion.sum()).item(), "mIoU": sum(values) / len(values), "IoU": iou}
