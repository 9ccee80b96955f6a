"""Demasked smoothing: what a model says of masked, filled-in versions of an image, and what of it no patch can change.

Recovery: the class with most votes. A patch changes at most T of the K votes of a pixel, so that a lead of more than
2T votes stays a lead. Detection: the prediction is the model's own; a pixel where a version disagrees with it raises
the alarm. Where all agree on the clean image, a patch changes the pixel only with an alarm there, for one version does
not show the patch and still votes as before. Source: Yatsura et al., ICLR 2023, arXiv 2209.05980, theorems 1 and 2; the
paper fills in with a network (ZITS), this library with the harmonic function (`ops.infill`), which needs no weights and
knows less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.defenses.inputs import replaced
from robustseg.defenses.masking import Layout
from robustseg.errors import UserError
from robustseg.ops.infill import harmonic
from robustseg.tasks.semantic import dense
from robustseg.types import DenseOutput, Model

__all__ = ["Certified", "certified", "fits", "labels_of", "versions", "voted"]

SPREAD = 0.1  # votes that every class has beforehand, so that the logarithm of a share is finite


@dataclass(frozen=True)
class Certified:
    """Of a batch: ``labels (B,H,W)`` int64 that are predicted and ``sure (B,H,W)`` bool, which of them are certified.

    ``passes``: forwards of the network an image.
    """

    labels: Tensor
    sure: Tensor
    passes: int


def fits(model: Model) -> None:
    """Raises UserError for a model without a class for every pixel."""
    if model.spec.task not in ("semantic", "universal"):
        raise UserError(
            f"demasked smoothing votes on the class of every pixel, and {model.spec.ref} is for {model.spec.task}; "
            "use a semantic or universal model"
        )


def versions(images: Tensor, layout: Layout) -> list[Tensor]:
    """What each version shows of ``images (B,C,H,W)``: its visible pixels, the rest filled in from them."""
    return [harmonic(images, v) for v in layout.visible.to(images.device)]


def certified(model: Model, images: Tensor, layout: Layout, mode: str) -> Certified:
    """What is predicted of ``images (B,C,H,W)`` and which pixels are certified; without gradient.

    Raises UserError where the scores of the model are not finite: they would be votes for no class.
    """
    fits(model)
    with torch.no_grad():
        labels = torch.stack([labels_of(model, x) for x in versions(images, layout)])
        K, T = len(labels), layout.most
        if mode == "detection":
            own = labels_of(model, images)
            return Certified(own, (labels == own).all(0), K + 1)
        votes = _votes(labels, len(model.spec.classes))
        top = votes.topk(min(2, votes.shape[1]), 1).values
        lead = top[:, 0] - (top[:, 1] if votes.shape[1] > 1 else 0)
        return Certified(votes.max(1).indices, lead > 2 * T, K)


def voted(model: Model, images: Tensor, layout: Layout, soft: bool) -> DenseOutput:
    """Shares of the votes ``(B,C,H,W)``, kind ``scores``; ties go to the lower class.

    ``soft``: the gradient is that of the mean probability, of which the vote is the hard form (straight-through).
    """
    size = (int(images.shape[-2]), int(images.shape[-1]))
    follow = soft and torch.is_grad_enabled() and images.requires_grad
    labels, mean = [], images.new_zeros(())
    with torch.set_grad_enabled(follow):
        for x in versions(images, layout):
            output = dense(model(x), size)
            labels.append(output.scores.detach().max(1).indices)
            if follow:
                mean = mean + _probability(output) / len(layout.visible)
    with torch.no_grad():
        C = output.scores.shape[1]
        votes = _votes(torch.stack(labels), C)
        shares = (votes + SPREAD) / (len(labels) + SPREAD * C)
    return DenseOutput(replaced(shares, mean) if follow else shares, "scores")


def labels_of(model: Model, images: Tensor) -> Tensor:
    """``(B,H,W)`` int64, what the model predicts. Raises UserError for scores that are not finite."""
    scores = dense(model(images), (int(images.shape[-2]), int(images.shape[-1]))).scores
    if not bool(scores.isfinite().all()):
        raise UserError(
            f"{model.spec.ref}: scores are not finite, nothing can be certified; look with: robustseg doctor"
        )
    return scores.max(1).indices


def _votes(labels: Tensor, classes: int) -> Tensor:
    """``(B,C,H,W)`` float: how many of ``labels (K,B,H,W)`` say each class."""
    one_hot = (F.one_hot(cast(Tensor, one), classes) for one in labels)
    return torch.stack(list(one_hot)).sum(0).permute(0, 3, 1, 2).float()


def _probability(output: DenseOutput) -> Tensor:
    if output.kind == "logits":
        return output.scores.softmax(1)
    return output.scores / output.scores.sum(1, keepdim=True).clamp_min(1e-9)
