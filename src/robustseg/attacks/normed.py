"""A gradient rule that makes terms comparable: every gradient has length 1 before it is weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from robustseg.attacks.rules import Rule
from robustseg.types import SemanticTarget, View

__all__ = ["Weights", "unit", "unit_terms"]

Weights = Callable[[View, SemanticTarget], Mapping[str, "Tensor | float"]]  # term -> weight, a number or (B,)


def unit(gradient: Tensor) -> Tensor:
    """``g / |g|_2`` per image; a gradient of length 0 stays 0.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    length = gradient.flatten(1).norm(dim=1)
    return gradient / torch.where(length > 0, length, 1).view(-1, *([1] * (gradient.dim() - 1)))


def unit_terms(weights: Weights, beside: Mapping[str, float] | None = None) -> Rule:
    """``n( Σ_k w_k n(∇L_k) ) + Σ_s v_s n(∇L_s)`` with ``n(v) = v/|v|_2``.

    ``weights`` gives the w of the adversarial terms, ``beside`` the v of the others (smoothness, printability). A term
    whose weight is the number 0 is not differentiated; each of the others costs a backward.

    Source: Nesti et al., WACV 2022, arXiv 2108.06179, and its code (equation 7 of the survey, normalised
    once more).
    """
    others = dict(beside or {})

    def rule(terms: Mapping[str, Tensor], view: View, target: SemanticTarget, theta: Tensor) -> Tensor:
        with torch.no_grad():
            mix = weights(view, target)
        wanted = [n for n in terms if not _zero(others[n] if n in others else mix.get(n, 1.0))]
        main, total = torch.zeros_like(theta), torch.zeros_like(theta)
        for name in wanted:
            (g,) = torch.autograd.grad(terms[name].sum(), theta, retain_graph=name != wanted[-1])
            if name in others:
                total = total + others[name] * unit(g)
            else:
                main = main + _column(mix.get(name, 1.0), theta) * unit(g)
        return unit(main) + total

    return rule


def _zero(weight: Tensor | float) -> bool:
    return not isinstance(weight, Tensor) and weight == 0


def _column(weight: Tensor | float, like: Tensor) -> Tensor | float:
    return weight.view(-1, *([1] * (like.dim() - 1))) if isinstance(weight, Tensor) else weight
