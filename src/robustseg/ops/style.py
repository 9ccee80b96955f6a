"""What makes a texture: second moments of feature maps across layers, and how rough a picture is. Pure functions.

Gram matrices: Gatys, Ecker, Bethge, CVPR 2016; across layers: Yeh, Tang, arXiv 1801.01933.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from robustseg.ops.size import at_label_size

__all__ = ["Features", "cross_gram", "distance", "total_variation", "weighted_mean"]

TINY = 1e-12


@dataclass(frozen=True)
class Features:
    """What an encoder made of images: ``maps (B,C,h,w)`` from fine to coarse, for style; one of them for content."""

    maps: tuple[Tensor, ...]
    content: Tensor


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean ``(B,)`` over the pixels of ``values (B,C,h,w)`` by ``weight (B,H,W)``, brought to their size by area."""
    here = _at(weight, values)
    return (values.mean(1) * here).flatten(1).sum(1) / here.flatten(1).sum(1).clamp_min(TINY)


def cross_gram(fine: Tensor, coarse: Tensor, weight: Tensor) -> Tensor:
    """``G = Σ_p w_p a(p) b(p)ᵀ / Σ_p w_p``: maps ``(B,M,h,w)`` and ``(B,N,h',w')``, pixels ``(B,H,W)`` -> ``(B,M,N)``.

    Convention: the coarser map is brought to the size of the finer (bilinear), the weights to it by area.

    >>> import torch; a = torch.tensor([[[[1.0, 3.0]]]]); b = torch.tensor([[[[2.0, 5.0]]]])
    >>> cross_gram(a, b, torch.tensor([[[1.0, 1.0]]])).item(), cross_gram(a, b, torch.tensor([[[1.0, 0.0]]])).item()
    (8.5, 2.0)
    """
    coarse = at_label_size(coarse, (int(fine.shape[-2]), int(fine.shape[-1])))
    here = _at(weight, fine).flatten(1)
    here = here / here.sum(1, keepdim=True).clamp_min(TINY)
    return (fine.flatten(2) * here.unsqueeze(1)) @ coarse.flatten(2).transpose(1, 2)


def distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean square difference of matrices ``(B,…)`` over the spread (standard deviation) of the first, ``(B,)``.

    The spread is a scale and carries no gradient.

    >>> import torch; distance(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 5.0]])).item()
    2.0
    """
    error = ((found - wanted) ** 2).flatten(1).mean(1)
    return error / found.detach().flatten(1).std(1, correction=0).clamp_min(TINY)


def total_variation(images: Tensor, mask: Tensor) -> Tensor:
    """Sum ``(B,)`` of absolute differences of neighbours, over channels and pairs that touch ``mask (B,H,W)``.

    >>> import torch; x = torch.tensor([[[[0.0, 1.0, 1.5]]]])
    >>> total_variation(x, torch.tensor([[[0, 0, 1]]])).item(), total_variation(x, torch.tensor([[[1, 0, 1]]])).item()
    (0.5, 1.5)
    """
    there = mask.bool().unsqueeze(1)
    across = (images[..., 1:] - images[..., :-1]).abs() * (there[..., 1:] | there[..., :-1])
    down = (images[..., 1:, :] - images[..., :-1, :]).abs() * (there[..., 1:, :] | there[..., :-1, :])
    return across.flatten(1).sum(1) + down.flatten(1).sum(1)


def _at(weight: Tensor, values: Tensor) -> Tensor:
    size = (int(values.shape[-2]), int(values.shape[-1]))
    return F.adaptive_avg_pool2d(weight.to(values).unsqueeze(1), size)[:, 0]
