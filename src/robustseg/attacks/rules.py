"""How the terms of an objective become one gradient: ``(terms, view, target, theta) -> gradient like theta``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robustseg.types import SemanticTarget, View

__all__ = ["Maps", "Rule", "blended", "summed"]

Rule = Callable[[Mapping[str, Tensor], View, SemanticTarget, Tensor], Tensor]
Maps = Callable[[View, SemanticTarget], Sequence[Tensor | None]]  # φ (B,1,H,W) of every term, None for 1

TINY = 1e-30


def summed(terms: Mapping[str, Tensor], view: View, target: SemanticTarget, theta: Tensor) -> Tensor:
    """The gradient of the sum of the terms; an image's terms ``(B,)`` depend on that image alone."""
    (gradient,) = torch.autograd.grad(sum(t.sum() for t in terms.values()), theta)  # type: ignore[arg-type]
    return gradient


def blended(weights: Sequence[float] | None, maps: Maps) -> Rule:
    """SAGA: ``Σ_m α_m · φ_m ⊙ ∂L_m/∂x``, one term a member, in their order.

    ``weights``: the α as they are; None balances them anew at every step and image, ``α_m = 1/|φ_m ⊙ ∂L_m/∂x|_1``, so
    that every member has the same say (a member without a gradient has none). ``maps`` gives the φ of the current
    images, no gradient. The members' graphs must be disjoint: each is freed as soon as its gradient is there.

    Source: Mahmood, Mahmood, van Dijk, ICCV 2021, arXiv 2104.02610, section 5, as its code computes it (φ multiplies
    the gradient, not the image); the balance by norms: reconstructed.
    """

    def rule(terms: Mapping[str, Tensor], view: View, target: SemanticTarget, theta: Tensor) -> Tensor:
        total = torch.zeros_like(theta)
        found = maps(view, target)
        for m, (term, phi) in enumerate(zip(terms.values(), found, strict=True)):
            if weights is not None and weights[m] == 0:
                continue
            (g,) = torch.autograd.grad(term.sum(), theta)
            g = g if phi is None else g * phi
            if weights is None:
                # a member that is not finite must stay so: the loop writes it down
                total = total + g / g.flatten(1).abs().sum(1).clamp_min(TINY).view(-1, *([1] * (g.dim() - 1)))
            else:
                total = total + weights[m] * g
        return total

    return rule
