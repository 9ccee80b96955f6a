"""The training loss: class-balanced cross-entropy plus soft Dice over the classes present in the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(labels: Tensor, classes: int, power: float, heaviest: float) -> Tensor:
    """`(median frequency / frequency) ** power`, at most `heaviest`; classes that never occur weigh 0."""
    counts = torch.bincount(labels.flatten().int(), minlength=256)[:classes].double()
    present = counts > 0
    weights = (counts[present].median() / counts.clamp(min=1)) ** power
    return torch.where(present, weights.clamp(max=heaviest), torch.zeros_like(weights)).float()


def soft_dice(scores: Tensor, target: Tensor, ignore: int) -> Tensor:
    """One minus the mean Dice of softmax probabilities over classes present; ignored pixels have no part in it."""
    known = target != ignore
    truth = F.one_hot(target.where(known, 0), scores.shape[1]).movedim(-1, 1) * known[:, None]
    probability = scores.softmax(1) * known[:, None]
    overlap = (probability * truth).sum((0, 2, 3))
    size = truth.sum((0, 2, 3))
    dice = 2 * overlap / (probability.sum((0, 2, 3)) + size).clamp(min=1e-6)
    return 1 - dice[size > 0].mean() if (size > 0).any() else scores.sum() * 0


def loss(logits: Tensor, target: Tensor, weights: Tensor, dice: float, ignore: int) -> Tensor:
    """Scalar loss; logits `(B,C,h,w)` are resized to the label first (bilinear, align_corners=False)."""
    logits = logits.float()
    if logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    ce = F.cross_entropy(logits, target, weights, ignore_index=ignore)
    return ce + dice * soft_dice(logits, target, ignore) if dice else ce
