"""Proximity operators: the best compromise between staying where one is and having a small norm."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["prox_linf"]

HALVINGS = 20  # of the radius, which is 1 at most: 1e-6, a four-thousandth of a grey level


def prox_linf(point: Tensor, metric: Tensor, weight: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``argmin_p weight·‖p‖∞ + ½ Σ metric·(p - point)²`` over ``low ≤ p ≤ high``, image by image.

    Shapes: ``point, metric, low, high (B,...)``, metric positive, ``low ≤ 0 ≤ high``; ``weight (B,)``. The answer is
    ``point``, cut to the box and to some radius; the radius is where the slope of the minimum over it crosses 0, found
    by halving. Rony et al., CVPR 2023, arXiv 2206.07179, section 3.3, search by thirds; this needs fewer passes.

    >>> one = torch.ones(1, 2)
    >>> prox_linf(torch.tensor([[0.5, 0.1]]), one, torch.tensor([0.2]), -one, one)  # ½-0.2: what the norm is worth
    tensor([[0.3000, 0.1000]])
    """
    v, h = point.flatten(1), metric.flatten(1)
    inside = torch.minimum(torch.maximum(v, low.flatten(1)), high.flatten(1))
    far, reach = v.abs(), inside.abs()
    left, right = torch.zeros_like(weight), reach.amax(1)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        # what is cut at the radius pulls it up, the norm pulls it down
        pull = torch.where(reach > middle[:, None], (far - middle[:, None]) * h, 0).sum(1)
        grow = pull > weight
        left, right = torch.where(grow, middle, left), torch.where(grow, right, middle)
    radius = right[:, None]
    return torch.minimum(torch.maximum(inside, -radius), radius).view_as(point)
