"""Per-pixel quantities that every dense loss is made of, computed once for an output and remembered with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from robustseg.ops.classes import ClassPass, class_pass
from robustseg.types import DenseOutput, SemanticTarget

__all__ = ["correct", "cosine", "log_probability", "logits", "mean", "share", "true_score", "wrong"]

T = TypeVar("T")

FLOOR = 1e-9  # of non-negative scores, before the logarithm


def _once(output: DenseOutput, key: str, make: Callable[[], T], target: SemanticTarget | None = None) -> T:
    """``make()`` the first time, then what it made: ``extras`` lives just as long as the output.

    The target is kept beside its value, because the id of an object that is gone may be given to another one.
    """
    memo, at = output.extras, f"{key}.{id(target)}"
    if at not in memo:
        with torch.set_grad_enabled(output.scores.requires_grad):  # whoever comes first must not decide for the others
            memo[at] = (make(), target)  # type: ignore[index]
    return memo[at][0]


def logits(output: DenseOutput) -> Tensor:
    """``(B,C,H,W)`` whose softmax is the class distribution; scores that are no logits enter by their logarithm."""
    if output.kind == "logits":
        return output.scores
    return _once(output, "pixels.logits", lambda: (output.scores + FLOOR).log())


def _pass(output: DenseOutput, target: SemanticTarget) -> ClassPass:
    return _once(output, "pixels.pass", lambda: class_pass(logits(output), target.index), target)


def log_probability(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``log p_y`` ``(B,H,W)`` of the target class, exactly 0 on ignored pixels; its negative is the cross-entropy."""

    def make() -> Tensor:
        return torch.where(target.valid, _pass(output, target).log_p, 0)

    return _once(output, "pixels.log_probability", make, target)


def true_score(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """Score of the target class ``(B,H,W)``; of class 0 on ignored pixels."""
    return output.scores.gather(1, target.index.unsqueeze(1)).squeeze(1)


def correct(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``(B,H,W)`` bool: the target class has the highest score; False on ignored pixels. No gradient.

    A tie for the highest counts as correct here; the referee decides by argmax, which costs ten times as much.
    """
    return (_lead(output, target) >= 0) & target.valid


def wrong(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``(B,H,W)`` bool: another class has a higher score. Scores that are not numbers are neither correct nor wrong."""
    return (_lead(output, target) < 0) & target.valid


def _lead(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """Score of the target class minus the highest score: 0 or negative. No gradient."""

    def make() -> Tensor:
        known = output.extras.get(f"pixels.pass.{id(target)}") if output.kind == "logits" else None
        if known is not None:  # the loss has been here
            return known[0].lead
        scores = output.scores.detach()
        return scores.gather(1, target.index.unsqueeze(1)).squeeze(1) - scores.amax(1)

    return _once(output, "pixels.lead", make, target)


def cosine(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """``cos(softmax(z), onehot(y)) = p_y / |p|_2`` per pixel ``(B,H,W)``, without gradient."""
    made = _pass(output, target)
    return made.log_p.detach().exp() / made.norm


def mean(values: Tensor, target: SemanticTarget) -> Tensor:
    """Mean of ``values (B,H,W)`` over the valid pixels of each image, ``(B,)``; ignored pixels weigh exactly 0."""
    return torch.where(target.valid, values, 0).flatten(1).sum(1) / target.count


def share(flags: Tensor, target: SemanticTarget) -> Tensor:
    """Share of the valid pixels of each image where ``flags (B,H,W)`` is True, ``(B,)``."""
    return (flags & target.valid).flatten(1).sum(1) / target.count
