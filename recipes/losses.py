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


def soft_dice(log_probability: Tensor, target: Tensor, ignore: int) -> Tensor:
    """One minus the mean Dice over the classes present; `(B,C,h,w)` log-probabilities, ignored pixels left out."""
    C = log_probability.shape[1]
    known = target != ignore
    truth = target.where(known, 0)
    probability = log_probability.exp() * known[:, None]
    size = torch.bincount(target[known].flatten(), minlength=C).to(probability)
    right = probability.gather(1, truth[:, None]).flatten()
    overlap = probability.new_zeros(C).index_add(0, truth.flatten(), right)
    dice = 2 * overlap / (probability.sum((0, 2, 3)) + size).clamp(min=1e-6)
    return 1 - dice[size > 0].mean() if (size > 0).any() else probability.sum() * 0


def loss(logits: Tensor, target: Tensor, weights: Tensor, dice: float, ignore: int) -> Tensor:
    """Scalar loss; logits `(B,C,h,w)` are resized to the label first (bilinear, align_corners=False)."""
    logits = logits.float()
    if logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    log_probability = logits.log_softmax(1)
    ce = F.nll_loss(log_probability, target, weights, ignore_index=ignore)
    return ce + dice * soft_dice(log_probability, target, ignore) if dice else ce
