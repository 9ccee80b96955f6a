"""Is a defence only hiding its gradients? What cross-entropy sees of a model, and what margins of logits see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robustseg.ops.state import frozen
from robustseg.tasks.semantic import dense
from robustseg.types import Model, SemanticTarget

__all__ = ["cautions", "masking_report"]


def masking_report(model: Model, images: Tensor, target: SemanticTarget) -> dict[str, float]:
    """Gradients of the pixels ``(B,3,H,W)`` under cross-entropy at temperature 1 and under the logit margin.

    ``zero_ce, zero_margin``: share of pixels whose gradient is exactly 0 in float32; ``norm_ce, norm_margin``: mean L2
    norm of an image's gradient (of the mean loss over its pixels); ``wrong``: share of pixels classified wrongly;
    ``sure``: mean probability of the predicted class. Defensive distillation (Papernot et al. 2016) has zero_ce near 1
    and zero_margin near 0: its softmax is saturated, its decision is as near as ever.
    """
    size = target.labels.shape[-2], target.labels.shape[-1]

    def gradient(loss: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        x = images.detach().clone().requires_grad_()
        values = loss(dense(model(x), size).scores.float()) * target.valid
        (g,) = torch.autograd.grad((values.flatten(1).sum(1) / target.count).sum(), x)
        return float((g == 0).all(1).float().mean()), float(g.flatten(1).norm(dim=1).mean())

    def ce(z: Tensor) -> Tensor:
        return -z.log_softmax(1).gather(1, target.index.unsqueeze(1)).squeeze(1)

    def margin(z: Tensor) -> Tensor:
        true = z.gather(1, target.index.unsqueeze(1))
        return (z.scatter(1, target.index.unsqueeze(1), -torch.inf).amax(1, keepdim=True) - true).squeeze(1)

    with torch.inference_mode(False), torch.enable_grad(), frozen(model.module):
        zero_ce, norm_ce = gradient(ce)
        zero_margin, norm_margin = gradient(margin)
        with torch.no_grad():
            p, found = dense(model(images), size).scores.float().softmax(1).max(1)
            wrong = ((found != target.labels) & target.valid).sum() / target.valid.sum().clamp_min(1)
    return {
        "zero_ce": round(zero_ce, 4), "zero_margin": round(zero_margin, 4), "norm_ce": norm_ce,
        "norm_margin": norm_margin, "wrong": round(float(wrong), 4), "sure": round(float(p.mean()), 4),
    }  # fmt: skip


def cautions(report: dict[str, Any]) -> list[str]:
    """What a report should make its reader doubt; empty where gradients are what they seem.

    >>> cautions({"zero_ce": 0.0, "zero_margin": 0.0, "norm_ce": 1.0, "norm_margin": 2.0})
    []
    """
    if report["zero_ce"] > report["zero_margin"] + 0.05:
        ce, margin = report["zero_ce"], report["zero_margin"]
        return [
            f"{ce:.0%} of the pixels have a cross-entropy gradient of exactly zero ({margin:.0%} under the margin): "
            "attacks by cross-entropy cannot start there, and their failure is no robustness; measure with the attack "
            "margin and with transferred images (--source)"
        ]
    if report["norm_ce"] < 1e-6 * report["norm_margin"]:
        return [
            "cross-entropy gradients are a millionth of the margin's: the softmax is saturated, and lower precision "
            "would make them zero; measure with the attack margin too"
        ]
    return []
