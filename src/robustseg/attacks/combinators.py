"""Searches made of searches: parts of a batch, restarts, radius schedules. Each takes and gives the same signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem, Search, joined_faults

__all__ = ["join_traces", "only", "radius_schedule", "restarts", "shuffled"]


def only(search: Search, keep: Tensor) -> Search:
    """Search on the images at the indices ``keep``; the others come back untouched, with score NaN, at no cost."""

    def part(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        n, images = len(problem.images), problem.images
        found = search(problem.select(keep), ball, None if start is None else start[keep], restart)
        nothing = torch.zeros(n, dtype=torch.int64, device=images.device)
        unknown = images.new_full((n, found.trace.shape[1]), torch.nan)
        return Found(
            torch.zeros_like(images).index_copy(0, keep, found.theta),
            unknown[:, 0].index_copy(0, keep, found.score),
            nothing.index_copy(0, keep, found.forwards),
            nothing.index_copy(0, keep, found.backwards),
            unknown.index_copy(0, keep, found.trace),
            torch.full_like(nothing, UNTRIED, dtype=torch.uint8).index_copy(0, keep, found.fault),
        )

    return part


def join_traces(first: Tensor, second: Tensor) -> Tensor:
    """Best score after k gradients of two searches one after the other; NaN is "nothing known yet".

    >>> join_traces(torch.tensor([[0.0, 0.5]]), torch.tensor([[0.2, 0.4, 0.9]]))
    tensor([[0.0000, 0.5000, 0.5000, 0.9000]])
    """
    meeting = torch.fmax(first[:, -1:], second[:, :1])  # the second start costs no gradient
    later = torch.fmax(meeting, second[:, 1:])
    return torch.cat([first[:, :-1], meeting, later], 1)


def better_of(first: Found, second: Found) -> Found:
    """Per image the perturbation with the higher score; costs add; one sound search of the two is enough."""
    wins = second.score > first.score
    return Found(
        torch.where(wins.view(-1, 1, 1, 1), second.theta, first.theta),
        torch.fmax(first.score, second.score),
        first.forwards + second.forwards,
        first.backwards + second.backwards,
        join_traces(first.trace, second.trace),
        torch.minimum(first.fault, second.fault),
    )


def restarts(search: Search, count: int) -> Search:
    """``count`` independent starts; image by image the best is kept. One restart is the search itself.

    Convention: restart ``r`` draws from its own generator, so a run with more restarts contains the one with fewer.
    With early stopping, later restarts skip an image that is solved.
    """
    if count == 1:
        return search

    def repeated(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        found = search(problem, ball, start, restart)
        for r in range(restart + 1, restart + count):
            left = (found.score < 1).nonzero().flatten() if problem.early_stop else None
            if left is None or len(left) == len(found.score):
                found = better_of(found, search(problem, ball, start, r))
            elif len(left):
                found = better_of(found, only(search, left)(problem, ball, start, r))
        return found

    return repeated


def radius_schedule(stage: Callable[[int], Search], steps: int, plan: Sequence[tuple[float, float]]) -> Search:
    """Search in shrinking balls: ``plan`` holds (radius factor, share of steps); the carried iterate is projected.

    The last stage runs at the ball itself, takes the steps that rounding left, and alone decides what is returned;
    in an earlier, larger ball a solved image proves nothing, but its iterate is carried on.
    Source: SEA, ECCV 2024: factors 2, 1.5, 1 with 30, 30, 40 % of the iterations.
    """
    lengths = [int(share * steps + 1e-9) for _, share in plan[:-1]]
    lengths.append(steps - sum(lengths))
    searches = [stage(n) for n in lengths]

    def scheduled(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        forwards = backwards = torch.zeros(len(problem.images), dtype=torch.int64, device=problem.images.device)
        fault = torch.full_like(forwards, UNTRIED, dtype=torch.uint8)
        for (factor, _), search in zip(plan, searches):
            found = search(problem, ball.scaled(factor), start, restart)
            forwards, backwards = forwards + found.forwards, backwards + found.backwards
            fault = joined_faults(fault, found.fault)
            start = found.theta
        # scores of the larger balls are no achievement at eps: the trace of those stages is unknown
        each = max((found.trace.shape[1] - 1) // max(lengths[-1], 1), 1)  # gradients a step
        unknown = found.trace.new_full((len(found.score), int(steps - lengths[-1]) * each), float("nan"))
        trace = torch.cat([unknown, found.trace], 1)
        return Found(found.theta, found.score, forwards, backwards, trace, fault)

    return scheduled


def shuffled(search: Search, look: Search) -> Search:
    """What ``search`` finds with its pixels in random places: a control, which should fool nobody.

    The same values, of the same norms before the box cuts them, without their structure; within what may be written.
    ``look`` scores a start and takes no step. Score and the end of the trace are those of the shuffled perturbation,
    costs are those of the search and of that look; image ``i`` is shuffled by a generator of its own.
    Source: Xie et al., ICCV 2017, arXiv 1703.08603, table 1 (permuted perturbations).
    """

    def control(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        found = search(problem, ball, start, restart)
        moved = found.theta.clone()
        for i, generator in enumerate(problem.generators(restart, 0, 0)):
            flat = moved[i].flatten(1)
            there = torch.ones_like(flat[0], dtype=torch.bool)
            if problem.writable is not None:
                there = problem.writable[i].flatten()
            at = there.nonzero().flatten()
            flat[:, at] = flat[:, at[torch.randperm(len(at), generator=generator).to(at.device)]]
        seen = look(problem, ball, moved, restart)
        trace = torch.full_like(found.trace, torch.nan)
        trace[:, -1] = seen.score
        return Found(
            seen.theta, seen.score, found.forwards + seen.forwards, found.backwards, trace, found.fault
        )  # fmt: skip

    return control
