"""Balls: nearest point, steepest direction, random start. All per image, ``(B,...)`` tensors, no host sync."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NORMS", "ball_start", "norm", "project_l2", "steepest"]

NORMS = ("linf", "l2")
TINY = 1e-30


def norm(delta: Tensor, kind: str) -> Tensor:
    """Norm of every image's perturbation, ``(B,...) -> (B,)``.

    >>> norm(torch.tensor([[3.0, -4.0]]), "l2"), norm(torch.tensor([[3.0, -4.0]]), "linf")
    (tensor([5.]), tensor([4.]))
    """
    flat = delta.flatten(1)
    if kind == "linf":
        return flat.abs().amax(1)
    if kind == "l2":
        return flat.norm(dim=1)
    return (flat != 0).sum(1).to(delta)


def _per_image(value: Tensor, like: Tensor) -> Tensor:
    return value.view(-1, *([1] * (like.dim() - 1)))


def project_l2(delta: Tensor, eps: float) -> Tensor:
    """Nearest point of the L2 ball of radius ``eps``, per image; points inside are returned unchanged.

    >>> project_l2(torch.tensor([[3.0, 4.0]]), 1.0)
    tensor([[0.6000, 0.8000]])
    """
    length = norm(delta, "l2")
    scale = torch.where(length > eps, eps / length.clamp_min(TINY), torch.ones_like(length))
    return delta * _per_image(scale, delta)


def steepest(gradient: Tensor, kind: str) -> Tensor:
    """The unit step that raises a linear function most: the sign for linf, ``g/|g|`` for l2; zero where g is zero."""
    if kind == "linf":
        return gradient.sign()
    # scale by the largest entry first: the squares of a vanishing gradient underflow, its direction does not
    scaled = gradient / _per_image(norm(gradient, "linf").clamp_min(TINY), gradient)
    return scaled / _per_image(norm(scaled, "l2").clamp_min(1e-12), gradient)


def ball_start(draws: Tensor, kind: str, eps: float, radius: Tensor | None = None) -> Tensor:
    """A random start in the ball from uniform or normal ``draws (B,...)``.

    linf: ``draws`` uniform in [-1,1], scaled. l2: ``draws`` normal; the direction is uniform on the sphere and the
    length is ``eps * radius`` with ``radius (B,)`` in [0,1]; ``u^(1/d)`` is all but 1 in image dimensions, so a
    radius uniform in [0,1] is used (a start on the sphere every time would never see small perturbations).
    """
    if kind == "linf":
        return draws * eps
    length = torch.full((len(draws),), eps, device=draws.device) if radius is None else radius.to(draws) * eps
    return steepest(draws, "l2") * _per_image(length, draws)
