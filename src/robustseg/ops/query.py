"""Mask classification: from queries to per-pixel class scores."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["semantic_scores"]


def semantic_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """Per-pixel class scores ``(B,K,h,w)`` of ``class_logits (B,Q,K+1)`` and ``mask_logits (B,Q,h,w)``.

    ``sum over q of softmax(class)[q,k] * sigmoid(mask)[q]``, the last class being "no object". Non-negative scores,
    not logits: a pixel's scores need not add up to one (MaskFormer, Cheng et al. 2021, section 3.4).

    >>> c = torch.tensor([[[0.0, 0.0]]])                  # one query, one class + "no object": one half each
    >>> semantic_scores(c, torch.zeros(1, 1, 1, 1)).item()  # 1/2 * sigmoid(0)
    0.25
    """
    weights = class_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqk,bqhw->bkhw", weights, mask_logits.sigmoid())
