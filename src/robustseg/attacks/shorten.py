"""What is done around a search for the smallest norm: nothing where nothing is needed, and a shorter way at the end."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustseg.attacks.combinators import only
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem, Search
from robustseg.attacks.minimal import Score
from robustseg.types import View

__all__ = ["shortened", "unless_fooled"]


def _scored(problem: Problem, theta: Tensor, score: Score) -> Tensor:
    with torch.no_grad():
        x = problem.images + theta
        view = View(problem.images, x, theta, problem.forward(x, problem.target, problem.state))
        return score(view, problem.target, problem.state)


def unless_fooled(search: Search, score: Score, enough: float) -> Search:
    """One forward first: what is fooled enough as it is comes back untouched, the smallest perturbation there is."""

    def checked(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        zero = torch.zeros_like(problem.images)
        points = _scored(problem, zero, score)
        fooled = points >= enough
        left = (~fooled).nonzero().flatten()
        if not len(left):
            none = torch.zeros(len(zero), dtype=torch.int64, device=zero.device)
            return Found(
                zero, points, none + 1, none, points[:, None], torch.full_like(none, UNTRIED, dtype=torch.uint8)
            )
        found = only(search, left)(problem, ball, start, restart)
        trace = torch.where(fooled[:, None], points[:, None], found.trace)
        score_ = torch.where(fooled, points, found.score)
        return Found(found.theta, score_, found.forwards + 1, found.backwards, trace, found.fault)

    return checked


def shortened(search: Search, score: Score, enough: float, looks: int) -> Search:
    """``looks`` forwards more: half-way points between nothing and what was found, on the line to the image.

    The shortest factor that still fools enough is kept; after each look the bracket halves. A descent ends a little
    beyond the border, by its last step and its slack, and with more pixels fooled than were asked for. Ours.
    """
    if looks == 0:
        return search

    def shorter(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        found = search(problem, ball, start, restart)
        solved = found.score >= enough
        low, high, best = torch.zeros_like(found.score), torch.ones_like(found.score), found.score
        for _ in range(looks):
            middle = (low + high) / 2
            points = _scored(problem, found.theta * middle.view(-1, 1, 1, 1), score)
            inside = solved & (points >= enough)
            best = torch.where(inside, points, best)
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        factor = torch.where(solved, high, 1)
        return replace(found, theta=found.theta * factor.view(-1, 1, 1, 1), score=best, forwards=found.forwards + looks)

    return shorter
