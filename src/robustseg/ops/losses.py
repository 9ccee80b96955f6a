"""Per-pixel losses and weights as functions of ``log p_y``; every one ``(B,H,W) -> (B,H,W)``.

All published dense losses but the cosine ones depend on the logits through ``log p_y`` alone, so the expensive part,
one log-softmax over the classes, is shared and the rest costs 1/C of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["cross_entropy", "jensen_shannon", "segpgd_weight", "tsallis"]


def cross_entropy(log_p: Tensor) -> Tensor:
    """``-log p_y``."""
    return -log_p


def jensen_shannon(log_p: Tensor) -> Tensor:
    """JS divergence between the prediction and the one-hot truth; in [0, log 2].

    With m = (p + e_y)/2, ½[KL(p|m) + KL(e_y|m)] collapses to a function of p_y alone:
    ``½ [ 2 log 2 + p log p - (1 + p) log(1 + p) ]``. Source: Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941 (loss);
    the closed form is ours.

    >>> jensen_shannon(torch.tensor([0.0, -1e4])) / math.log(2)
    tensor([0., 1.])
    """
    p = log_p.exp()
    return 0.5 * (2 * math.log(2.0) + p * log_p.clamp_min(-80.0) - (1 + p) * torch.log1p(p))


def tsallis(log_p: Tensor, q: float) -> Tensor:
    """``(1 - p_y^(1-q)) / (1-q)``, the cross-entropy at q = 1. Source: TsallisPGD, IJCNN 2026, arXiv 2605.03405.

    >>> tsallis(torch.tensor(0.5).log(), 0.0)
    tensor(0.5000)
    """
    if abs(1 - q) < 1e-6:
        return -log_p
    return -torch.expm1((1 - q) * log_p) / (1 - q)


def segpgd_weight(correct: Tensor, progress: float) -> Tensor:
    """``1 - λ`` on correct pixels, ``λ`` on wrong ones, ``λ = progress/2``. Source: Gu et al., ECCV 2022, eq. (5)-(6).

    >>> segpgd_weight(torch.tensor([True, False]), 0.5)
    tensor([0.7500, 0.2500])
    """
    half = progress / 2
    return torch.where(correct, 1 - half, half)
