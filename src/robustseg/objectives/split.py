"""The cross-entropy of pixels that are still right and of those that are wrong already, as two terms."""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.objectives.base import Objective
from robustseg.ops import pixels as px
from robustseg.types import SemanticTarget, State, View

__all__ = ["share_right", "split"]


def split() -> Objective:
    """``right = Σ_{i in U} CE_i``, ``wrong = Σ_{i not in U} CE_i`` with U the counted pixels that are still right.

    Sums, as published; the two belong to a gradient rule that makes each one's gradient a unit vector and mixes them
    with γ and 1-γ. Source: Nesti et al., WACV 2022, arXiv 2108.06179; equation 7 of the survey.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        loss = -px.log_probability(view.output, target)  # type: ignore[arg-type]
        right = px.correct(view.output, target)  # type: ignore[arg-type]
        parts = {"right": torch.where(right, loss, 0), "wrong": torch.where(right, 0, loss)}
        return {name: part.flatten(1).sum(1) for name, part in parts.items()}, state

    return Objective("split", value)


def share_right(view: View, target: SemanticTarget) -> Tensor:
    """The dynamic γ: ``|U| / |N|`` ``(B,)``, 1 where every counted pixel is still right."""
    return px.share(px.correct(view.output, target), target)  # type: ignore[arg-type]
