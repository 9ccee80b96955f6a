"""What a training minimises: one value an image, so that any split of a batch has the same gradient.

The mean over the images of a batch is taken by the loop; so halves, parts and processes of equal size add up to it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.queries.training import match, set_loss
from robustseg.objectives.queries.truth import field_of
from robustseg.tasks.semantic import dense
from robustseg.types import Output, QueryOutput, SegmentTarget, SemanticTarget

__all__ = ["cross_entropy", "divergence", "log_probabilities", "mean_of_pixels", "soft_cross_entropy", "supervised"]

Loss = Callable[[Output, SemanticTarget], Tensor]
TINY = 1e-12


def log_probabilities(output: Output, size: tuple[int, int], temperature: float = 1.0) -> Tensor:
    """``log softmax(z / T)`` ``(B,C,H,W)`` at label size; scores that are no logits are divided by their sum first."""
    found = dense(output, size)
    scores = found.scores.float()
    if found.kind == "scores":
        scores = (scores.clamp_min(TINY) / scores.sum(1, keepdim=True).clamp_min(TINY)).log()
    return (scores / temperature).log_softmax(1)


def mean_of_pixels(values: Tensor, target: SemanticTarget, weights: Tensor | None = None) -> Tensor:
    """The mean of ``(B,H,W)`` over the pixels that count, ``(B,)``; ``weights (C,)`` by true class. None counts: 0.

    >>> y = SemanticTarget(torch.tensor([[[0, 1, 255]]]))
    >>> mean_of_pixels(torch.tensor([[[1.0, 4.0, 99.0]]]), y, torch.tensor([1.0, 2.0]))
    tensor([3.])
    """
    w = target.valid.to(values.dtype)
    if weights is not None:
        w = w * weights.to(values)[target.index]
    return (w * values).flatten(1).sum(1) / w.flatten(1).sum(1).clamp_min(TINY)


def cross_entropy(
    output: Output, target: SemanticTarget, weights: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Pixel cross-entropy ``(B,)`` of the softmax at a temperature."""
    log_p = log_probabilities(output, (target.labels.shape[-2], target.labels.shape[-1]), temperature)
    return mean_of_pixels(F.nll_loss(log_p, target.index, reduction="none"), target, weights)


def soft_cross_entropy(
    output: Output, teacher: Output, target: SemanticTarget, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """``-Σ_c s_c log F_T(x)_c`` of every pixel that counts, ``s = softmax(teacher / T)``; ``(B,)``.

    Source: Papernot et al., IEEE S&P 2016, arXiv 1511.04508, section 4; on every pixel: reconstructed.
    """
    size = target.labels.shape[-2], target.labels.shape[-1]
    s = log_probabilities(teacher, size, temperature).exp()
    return mean_of_pixels(-(s * log_probabilities(output, size, temperature)).sum(1), target, weights)


def divergence(attacked: Output, clean_log_p: Tensor, target: SemanticTarget, weights: Tensor | None = None) -> Tensor:
    """``KL(p(x) || p(x'))`` of the pixels that count, ``(B,)``; ``clean_log_p (B,C,H,W)``.

    Source: TRADES, Zhang et al., ICML 2019, arXiv 1901.08573, eq. (5); on every pixel: reconstructed.
    """
    log_q = log_probabilities(attacked, (clean_log_p.shape[-2], clean_log_p.shape[-1]))
    return mean_of_pixels((clean_log_p.exp() * (clean_log_p - log_q)).sum(1), target, weights)


def supervised(output: Output, target: SemanticTarget, weights: Tensor | None = None) -> Tensor:
    """The loss of an output's own kind, ``(B,)``: pixel cross-entropy, or of queries that of mask classification."""
    if not isinstance(output, QueryOutput):
        return cross_entropy(output, target, weights)
    assert isinstance(target, SegmentTarget)
    layers = [*output.extras.get("layers", ()), output]
    total = torch.zeros(len(target), device=output.class_logits.device)
    for layer in layers:
        truth = field_of(target, layer.mask_logits, layer.class_logits.shape[-1] - 1)
        total = total + set_loss(layer, truth, truth.counted, match(layer, truth, truth.counted))
    return total
