"""One pass over the classes: everything that dense losses need of ``(B,C,H,W)`` logits, for one exponential.

A log-softmax, a softmax, a maximum and their backwards read and write the largest tensor of an attack step several
times over. Here it is written once forwards (the exponentials) and once backwards (the gradient).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["ClassPass", "class_pass"]


class ClassPass(NamedTuple):
    """``log_p (B,H,W)`` of the label, with gradient. Without: ``lead (B,H,W)``, its logit minus the highest, at most
    0; ``powers (B,C,H,W)``, e to the power of every logit minus the highest, and their ``total (B,1,H,W)``.
    """

    log_p: Tensor
    lead: Tensor
    powers: Tensor
    total: Tensor

    @property
    def norm(self) -> Tensor:
        """``|softmax(z)|_2`` per pixel, ``(B,H,W)``, without gradient."""
        return self.powers.square().sum(1).sqrt() / self.total.squeeze(1)


def class_pass(z: Tensor, labels: Tensor) -> ClassPass:
    """``log softmax(z)_y`` of logits ``z (B,C,H,W)`` at ``labels (B,H,W)`` int64 in [0,C), and its by-products.

    Stable for any finite logits (the highest is subtracted first); differentiable once.

    >>> class_pass(torch.tensor([[[[0.0]], [[0.0]]]]), torch.zeros(1, 1, 1, dtype=torch.int64)).log_p.exp().item()
    0.5
    """
    return ClassPass(*_ClassPass.apply(z, labels))  # type: ignore[misc]


class _ClassPass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index = labels.unsqueeze(1)
        top = z.amax(1, keepdim=True)
        powers = torch.sub(z, top).exp_()
        total = powers.sum(1, keepdim=True)
        lead = (z.gather(1, index) - top).squeeze(1)
        log_p = lead - total.log().squeeze(1)
        ctx.save_for_backward(powers, total, index)
        ctx.mark_non_differentiable(lead, powers, total)
        ctx.set_materialize_grads(False)  # or three tensors of zeros would be made for the by-products
        return log_p, lead, powers, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, *by_products: Any) -> tuple[Tensor | None, None]:
        if g is None:
            return None, None
        powers, total, index = ctx.saved_tensors
        g = g.unsqueeze(1)
        return (powers * (-g / total)).scatter_add_(1, index, g), None  # g · (onehot - softmax)
