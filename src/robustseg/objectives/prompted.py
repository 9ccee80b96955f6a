"""What going wrong means for prompted masks (SAM): one mask a box, each attacked by itself; and their score.

Shapes: ``mask_logits (B,S,h,w)`` are brought to label size first; prompts that do not count weigh exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Objective
from robustseg.ops.size import at_label_size
from robustseg.types import QueryOutput, SegmentTarget, SemanticTarget, State, UserError, View

__all__ = ["OBJECTIVES", "harm", "mask_removal", "masked_prompt"]

REMOVED = -10.0  # logit below which Attack-SAM calls a pixel of the mask removed


def mask_removal(threshold: float = REMOVED) -> Objective:
    """Attack-SAM: every mask logit is driven to at most ``threshold``: ``-MSE(z, min(z, threshold))``.

    Source: Zhang et al., arXiv 2305.00866, as in the public code of UAD (Lu et al., CVPR 2024): over all pixels of the
    low-resolution masks; mean over the prompts.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        z, counted = _logits(view, None), _segments(target).counted
        return {"mask-removal": -_mean((z - z.clamp_max(threshold)).square().flatten(2).mean(2), counted)}, state

    return Objective("mask-removal", value)


def masked_prompt() -> Objective:
    """Cross-entropy of the pixels that are still right, per prompt; a pixel that is wrong rests at log 2.

    Mask and outside weigh the same in every prompt, so that a small object is not lost among background. The masking is
    SEA's (Croce, Singh, Hein, ECCV 2024); per prompt: our own.
    """

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        truth = _segments(target)
        z, inside = _logits(view, truth), truth.masks
        ce = F.softplus(torch.where(inside, -z, z)).clamp_max(math.log(2))
        valid = truth.valid.unsqueeze(1)
        parts = [_share(ce, inside & valid), _share(ce, ~inside & valid)]
        return {"masked-prompt": _mean((parts[0] + parts[1]) / 2, truth.counted)}, state

    return Objective("masked-prompt", value)


@torch.no_grad()
def harm(view: View, target: SemanticTarget, state: State) -> Tensor:
    """``1 - mean IoU`` of the answers with the true masks over the prompts that count, ``(B,)``; 0 without any.

    >>> from robustseg.types import QueryOutput
    >>> z = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]]]])          # the answer: two pixels, one of them right
    >>> mask = torch.tensor([[[[True, False, False, False]]]])
    >>> t = SegmentTarget(torch.zeros(1, 1, 4).long(), 255, mask, torch.ones(1, 1).long(), torch.zeros(1, 1).bool())
    >>> harm(View(z[0], z[0], z[0], QueryOutput(torch.zeros(1, 1, 2), z)), t, {})
    tensor([0.5000])
    """
    truth = _segments(target)
    valid = truth.valid.unsqueeze(1)
    answer, inside = (_logits(view, truth) > 0) & valid, truth.masks & valid
    inter, union = (answer & inside).flatten(2).sum(2), (answer | inside).flatten(2).sum(2)
    counted = truth.counted
    lost = _mean(1 - inter / union.clamp_min(1), counted)
    return torch.where(counted.any(1), lost, 0)


def _logits(view: View, truth: SegmentTarget | None) -> Tensor:
    if not isinstance(view.output, QueryOutput):
        raise UserError(f"an attack on prompted masks was given {type(view.output).__name__}; it needs SAM")
    z = view.output.mask_logits
    return z if truth is None else at_label_size(z, (int(truth.labels.shape[-2]), int(truth.labels.shape[-1])))


def _segments(target: SemanticTarget) -> SegmentTarget:
    if not isinstance(target, SegmentTarget):
        raise UserError("an attack on prompted masks needs a SegmentTarget; see robustseg.tasks.truth.target")
    return target


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """``(B,S) -> (B,)`` over the prompts that count."""
    return torch.where(counted, values, 0).sum(1) / counted.sum(1).clamp_min(1)


def _share(values: Tensor, chosen: Tensor) -> Tensor:
    """``(B,S,H,W) -> (B,S)`` mean where chosen."""
    return torch.where(chosen, values, 0).flatten(2).sum(2) / chosen.flatten(2).sum(2).clamp_min(1)


OBJECTIVES: dict[str, Callable[[Mapping[str, str]], Objective]] = {
    "mask-removal": lambda p: mask_removal(),
    "masked-prompt": lambda p: masked_prompt(),
}
