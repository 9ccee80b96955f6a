"""The objective of Carlini & Wagner on many pixels: margins, cut where a pixel is fooled with confidence.

Source: S&P 2017, arXiv 1608.04644, f_6 on logits; the sum over pixels is ours: with one pixel it is theirs, and it
grows with the picture as the squared norm does, so that one c means the same trade at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from robustseg.objectives.base import Objective
from robustseg.objectives.semantic import lag
from robustseg.ops import pixels as px
from robustseg.types import DenseOutput, SemanticTarget, State, View

__all__ = ["carlini", "confident"]


def _lead(output: DenseOutput, target: SemanticTarget, targeted: bool) -> Tensor:
    """By how much a pixel is fooled, ``(B,H,W)``: the best other logit less the true one, or the goal's less the best
    other. The minus of DL_i, DL_i < 0 being a fooled pixel."""
    lead = lag(output, target)
    return -lead if targeted else lead


def carlini(confidence: float, slack: float, *, targeted: bool = False) -> Objective:
    """``-Σ_i max(0, DL_i + κ)`` over the valid pixels, to be maximised; ``slack`` is added to κ; at most 0.

    A pixel fooled by κ rests, so that what is left goes into the others. The slack asks for a little more than success
    does: with thousands of pixels that rest exactly at their border, a share of them lies on its wrong side.

    >>> import torch; from robustseg.types import DenseOutput, SemanticTarget, View
    >>> z = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1); label = SemanticTarget(torch.zeros(1, 1, 1, dtype=torch.int64))
    >>> carlini(0.0, 0.0).value(View(z, z, z, DenseOutput(z)), label, {}, 0.0)[0]
    {'margins': tensor([-2.])}
    """
    return Objective("carlini", partial(_margins, confidence + slack, targeted))


def _margins(
    cut: float, targeted: bool, view: View, target: SemanticTarget, state: State, progress: float
) -> tuple[dict[str, Tensor], State]:
    short = (_lead(view.output, target, targeted) - cut).clamp_max(0)  # type: ignore[arg-type]
    return {"margins": torch.where(target.valid, short, 0).flatten(1).sum(1)}, state


def confident(confidence: float, *, targeted: bool = False) -> Callable[[View, SemanticTarget, State], Tensor]:
    """A score: the share ``(B,)`` of the valid pixels that are fooled by more than ``confidence`` (APSR at κ = 0)."""

    def score(view: View, target: SemanticTarget, state: State) -> Tensor:
        return px.share(_lead(view.output, target, targeted) > confidence, target)  # type: ignore[arg-type]

    return score
