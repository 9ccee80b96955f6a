"""A search for the smallest L∞ norm by proximal splitting: a gradient step on the objective, then the norm's own step.

Source: Rony, Pesquet, Ben Ayed, CVPR 2023, arXiv 2206.07179, algorithm 1, and the authors' code, whose constants these
are; the last iterate is looked at too. There is no ball.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Objective, Problem, Search, joined_faults, sound
from robustseg.attacks.minimal import Score
from robustseg.ops.norms import norm
from robustseg.ops.prox import prox_linf
from robustseg.types import View

__all__ = ["proximal"]

REMEMBER, TINY = 0.8, 1e-8  # of the squared gradient, a step; the least of its root
LEFT = 0.1  # of the step length, at the end


def proximal(objective: Objective, score: Score, steps: int, rate: float, *, enough: float) -> Search:
    """``steps`` backwards and ``steps + 1`` forwards an image; of the iterates with ``score >= enough`` the smallest is
    returned, of others the one that fools most.

    ``δ ← prox(δ - λ g/H)`` in the metric H, the root of a running mean of g²: ``prox_linf`` with weight λ. The step
    length λ is ``rate`` until an image is fooled (or half the steps are done), then falls to a tenth, hyperbolically.
    """

    def search(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        images, state = problem.images, problem.state
        free = torch.ones_like(images[:, :1]) if problem.writable is None else problem.writable.unsqueeze(1).to(images)
        low, high = -images * free, (1 - images) * free
        theta = torch.zeros_like(images) if start is None else start
        best, square = theta, torch.zeros_like(images)
        top, size = images.new_full((len(images),), -torch.inf), images.new_full((len(images),), torch.inf)
        since = torch.full_like(top, steps // 2)
        known = torch.zeros_like(top, dtype=torch.bool)
        fault = torch.full_like(top, UNTRIED, dtype=torch.uint8)
        trace = []
        for k in range(steps + 1):
            last = k == steps
            theta = theta.requires_grad_(not last)
            with torch.set_grad_enabled(not last):
                view = View(images, x := images + theta, theta, problem.forward(x, problem.target, state))
                terms, state = objective.value(view, problem.target, state, k / max(steps - 1, 1))
                gain = torch.stack(list(terms.values())).sum(0)
            gradient = torch.zeros_like(images) if last else torch.autograd.grad(gain.sum(), theta)[0]
            with torch.no_grad():
                theta = theta.detach()
                points, length = score(view, problem.target, state), norm(theta, "linf")
                solved = points >= enough
                better = torch.where(solved, length < size, ~known & (points >= top))
                best = torch.where(better.view(-1, 1, 1, 1), theta, best)
                top, size = torch.where(better, points, top), torch.where(better & solved, length, size)
                since = torch.where(solved & ~known, since.clamp_max(k), since)
                known = known | solved
                trace.append(top)
                if last:
                    break
                gradient, broken = sound(gradient, gain.detach())
                fault = joined_faults(fault, broken)
                square = REMEMBER * square + (1 - REMEMBER) * gradient.square()
                metric = (square / (1 - REMEMBER ** (k + 1))).sqrt().clamp_min(TINY)
                half = LEFT / (1 - LEFT) * (steps - since).clamp_min(1)
                pace = rate * half / ((k - since).clamp_min(0) + half)
                theta = prox_linf(theta + pace.view(-1, 1, 1, 1) * gradient / metric * free, metric, pace, low, high)
        spent = torch.full((len(images),), steps, dtype=torch.int64, device=images.device)
        return Found(best, top, spent + 1, spent, torch.stack(trace, 1), fault)

    return search
