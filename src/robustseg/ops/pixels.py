"""Per-pixel quantities that every dense loss is made of, computed once for an output and remembered with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.types import DenseOutput, SemanticTarget

__all__ = ["correct", "log_probability", "logits", "mean", "norm_of_probabilities", "share", "true_score"]

FLOOR = 1e-9  # of non-negative scores, before the logarithm


def _once(output: DenseOutput, key: str, make: Callable[[], Tensor]) -> Tensor:
    """``make()`` the first time, then what it made: ``extras`` lives just as long as the output."""
    memo = output.extras
    if key not in memo:
        memo[key] = make()  # type: ignore[index]
    return memo[key]


def logits(output: DenseOutput) -> Tensor:
    """``(B,C,H,W)`` whose softmax is the class distribution; scores that are no logits enter by their logarithm."""
    if output.kind == "logits":
        return output.scores
    return _once(output, "pixels.logits", lambda: (output.scores + FLOOR).log())


def _safe(target: SemanticTarget) -> Tensor:
    return torch.where(target.valid, target.labels, 0)


def log_probability(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``log p_y`` ``(B,H,W)`` of the target class, exactly 0 on ignored pixels; its negative is the cross-entropy."""

    def make() -> Tensor:
        return -F.cross_entropy(logits(output), target.labels, ignore_index=target.ignore, reduction="none")

    return _once(output, f"pixels.log_probability.{id(target)}", make)


def true_score(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """Score of the target class ``(B,H,W)``; of class 0 on ignored pixels."""
    return output.scores.gather(1, _safe(target).unsqueeze(1)).squeeze(1)


def correct(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``(B,H,W)`` bool: the target class has the highest score; False on ignored pixels. No gradient.

    A tie for the highest counts as correct here; the referee decides by argmax.
    """

    def make() -> Tensor:
        scores = output.scores.detach()
        top = scores.amax(1)
        return (scores.gather(1, _safe(target).unsqueeze(1)).squeeze(1) >= top) & target.valid

    return _once(output, f"pixels.correct.{id(target)}", make)


def norm_of_probabilities(output: DenseOutput) -> Tensor:
    """``|softmax(z)|_2`` per pixel ``(B,H,W)``, without gradient."""
    return _once(output, "pixels.norm", lambda: logits(output).detach().softmax(1).square().sum(1).sqrt())


def count(target: SemanticTarget) -> Tensor:
    """Valid pixels per image ``(B,)`` float, at least 1."""
    return target.valid.flatten(1).sum(1).clamp_min(1).float()


def mean(values: Tensor, target: SemanticTarget) -> Tensor:
    """Mean of ``values (B,H,W)`` over the valid pixels of each image, ``(B,)``; ignored pixels weigh exactly 0."""
    return torch.where(target.valid, values, 0).flatten(1).sum(1) / count(target)


def share(flags: Tensor, target: SemanticTarget) -> Tensor:
    """Share of the valid pixels of each image where ``flags (B,H,W)`` is True, ``(B,)``."""
    return (flags & target.valid).flatten(1).sum(1) / count(target)
