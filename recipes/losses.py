"""The training loss: class-balanced cross-entropy plus soft Dice over the classes present in the batch.

Its gradient is written out: autograd keeps six tensors of the size of the logits for it, which cost a quarter of a
training step on a CPU; in closed form it is one softmax and a few products.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class BalancedDice(torch.autograd.Function):
    """Loss of `(n,C)` logits and `(n,)` labels, and its gradient.

    With p = softmax(z), k = 1 where the label y counts, w the class weights, W = Σ w_y k, and per class
    R = Σ p_y k [y=c], S = Σ k [y=c], D = Σ p k + S:

        L = -Σ w_y k log p_y / W + dice · (1 - mean over c with S > 0 of 2 R / D)

    dL/dp of the Dice term is dice/m · (2 R/D² k - 2/D [y=c] k), and dz = p · (g - Σ p g) as for every softmax.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, labels: Tensor, weights: Tensor, dice: float, ignore: int) -> Tensor:
        """The loss; the gradient is made here as well, where softmax and sums are at hand."""
        counted = labels != ignore
        k, y = counted.to(rows.dtype), labels.where(counted, 0)
        p = rows.softmax(1)
        p_y = p.gather(1, y[:, None])[:, 0]
        w = weights.to(rows.dtype)[y] * k
        W = w.sum().clamp(min=1e-12)
        value = -(w * p_y.clamp(min=1e-30).log()).sum() / W

        S = torch.bincount(y, k, rows.shape[1]).to(rows.dtype)
        R = torch.bincount(y, p_y * k, rows.shape[1]).to(rows.dtype)
        D = (k @ p + S).clamp(min=1e-6)
        present = S > 0
        m = present.sum().clamp(min=1)
        value = value + dice * torch.where(present, 1 - 2 * R / D, 0.0).sum() / m

        everywhere = torch.where(present, 2 * dice / m * R / D**2, 0.0)  # [c], times k
        at_label = torch.where(present, 2 * dice / m / D, 0.0)[y] * k
        inner = k * (p @ everywhere) - p_y * at_label  # Σ p g
        gradient = everywhere[None] * k[:, None]
        gradient += (w / W - inner)[:, None]
        gradient *= p
        gradient.scatter_add_(1, y[:, None], (-p_y * at_label - w / W)[:, None])
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        """The stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None, None


def loss(logits: Tensor, target: Tensor, weights: Tensor, dice: float, ignore: int) -> Tensor:
    """Scalar loss; logits `(B,C,h,w)` are resized to the label `(B,H,W)` first (bilinear, align_corners=False)."""
    logits = logits.contiguous(memory_format=torch.channels_last)
    if logits.dtype != torch.float64:
        logits = logits.float()
    if logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
    return BalancedDice.apply(rows, target.flatten(), weights, dice, ignore)
