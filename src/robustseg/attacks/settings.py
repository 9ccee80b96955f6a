"""Searches made of descents: what a minimal-norm attack tries next, image by image.

A *setting* is a state, every leaf ``(B,...)``. ``Plan.first`` makes the first one; ``Plan.then`` makes the next from
what the descent found and says who goes on. Source of all three plans: Carlini, Wagner, S&P 2017, arXiv 1608.04644,
and the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustseg.attacks.combinators import join_traces
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem, Search, joined_faults
from robustseg.attacks.minimal import Inner, Landing
from robustseg.types import State

__all__ = [
    "Plan",
    "bisection",
    "closing_bound",
    "descents",
    "fewer_as_coded",
    "fewer_pixels",
    "tighter_bound",
]

Warm = Literal["never", "solved", "always"]
NEVER = 1e10  # the authors' upper end of c before a success is known


@dataclass(frozen=True)
class Plan:
    """``first(setting) -> setting`` adds what the plan remembers; ``then(setting, landing, number) -> (setting, on)``
    with ``on (B,)`` bool, False where nothing is left to try."""

    first: Callable[[State], State]
    then: Callable[[State, Landing, int], tuple[State, Tensor]]
    fewest: bool = False  # the latest success is the best: each has fewer pixels than the one before


def descents(inner: Inner, plan: Plan, count: int, steps: int, c: float, warm: Warm) -> Search:
    """At most ``count`` descents of ``steps`` steps an image, each in the setting that the ones before call for.

    The smallest success of all is returned, else what fooled most. ``warm``: where a descent starts, at the image
    (``never``), at the last success (``solved``), or where the last one ended (``always``, a success before all).
    """

    def search(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        images, device = problem.images, problem.images.device
        n = len(images)
        free = torch.ones_like(images[:, :1]) if problem.writable is None else problem.writable.unsqueeze(1).to(images)
        setting = plan.first({"c": images.new_full((n,), c), "tau": images.new_ones(n), "free": free})
        theta = torch.zeros_like(images) if start is None else start
        score, size = images.new_full((n,), -torch.inf), images.new_full((n,), torch.inf)
        forwards = backwards = torch.zeros(n, dtype=torch.int64, device=device)
        fault = torch.full_like(forwards, UNTRIED, dtype=torch.uint8)
        at, begin, trace = torch.arange(n, device=device), theta, images.new_full((n, 1), torch.nan)
        for number in range(count):
            land = inner(problem.select(at), setting, begin)
            better = torch.where(
                land.solved, (land.size < size[at]) | plan.fewest, size[at].isinf() & (land.score > score[at])
            )
            theta = theta.index_copy(0, at, torch.where(better.view(-1, 1, 1, 1), land.theta, theta[at]))
            score = score.index_copy(0, at, torch.where(better, land.score, score[at]))
            size = size.index_copy(0, at, torch.where(better & land.solved, land.size, size[at]))
            forwards = forwards.index_add(0, at, land.forwards)
            backwards = backwards.index_add(0, at, land.backwards)
            fault = fault.index_copy(0, at, joined_faults(fault[at], land.fault))
            known = images.new_full((n, land.trace.shape[1]), torch.nan).index_copy(0, at, land.trace)
            trace = join_traces(trace, known)
            if number == count - 1:
                break
            if warm == "never":
                begin = torch.zeros_like(begin)
            else:
                begin = torch.where(land.solved.view(-1, 1, 1, 1), land.theta, land.last if warm == "always" else begin)
            setting, on = plan.then(setting, land, number)
            keep = on.nonzero().flatten()
            if not len(keep):
                break
            at, begin, setting = at[keep], begin[keep], {name: leaf[keep] for name, leaf in setting.items()}
        missing = count * steps + 1 - trace.shape[1]
        trace = torch.cat([trace, trace[:, -1:].expand(-1, missing)], 1)
        return Found(theta, score, forwards, backwards, trace, fault)

    return search


def bisection(count: int) -> Plan:
    """L2: c times ten until a success, then half way between the largest failure and the smallest success.

    From ten descents on, the last one repeats the smallest c that succeeded, as the authors' code does.
    """

    def first(setting: State) -> State:
        c = setting["c"]
        return {**setting, "low": torch.zeros_like(c), "high": torch.full_like(c, NEVER)}

    def then(setting: State, land: Landing, number: int) -> tuple[State, Tensor]:
        c, low, high = setting["c"], setting["low"], setting["high"]
        high = torch.where(land.solved, torch.minimum(high, c), high)
        low = torch.where(land.solved, low, torch.maximum(low, c))
        c = torch.where(high < NEVER, (low + high) / 2, 10 * c)
        if count >= 10 and number == count - 2:
            c = torch.where(high < NEVER, high, c)
        return {**setting, "c": c, "low": low, "high": high}, torch.ones_like(land.solved)

    return Plan(first, then)


def _doubled(setting: State, land: Landing, limit: float) -> tuple[Tensor, Tensor]:
    """After a failure twice the c, up to a limit; and who is within it."""
    c = torch.where(land.solved, setting["c"], 2 * setting["c"])
    return c, land.solved | (c <= limit)


def tighter_bound(shrink: float, first_bound: float, least: float, limit: float) -> Plan:
    """L∞: after a success the bound τ becomes ``shrink`` times what was needed, until ``least``; after a failure c
    doubles, until ``limit``. A success is any perturbation smaller than the last, even where it does not reach τ."""

    def first(setting: State) -> State:
        tau = torch.full_like(setting["tau"], first_bound)
        return {**setting, "tau": tau, "reached": torch.full_like(tau, torch.inf)}

    def then(setting: State, land: Landing, number: int) -> tuple[State, Tensor]:
        tau = torch.where(land.solved, shrink * torch.minimum(setting["tau"], land.size), setting["tau"])
        reached = torch.where(land.solved, land.size, setting["reached"])
        c, on = _doubled(setting, land, limit)
        return {**setting, "c": c, "tau": tau, "reached": reached}, on & (tau > least)

    return Plan(first, then)


def closing_bound(shrink: float, first_bound: float, least: float) -> Plan:
    """L∞, τ being kept exactly: it doubles until a success; then it lies half way between the largest failure and the
    smallest success, but not below ``shrink`` times the latter; until ``least``. Ours."""

    def first(setting: State) -> State:
        tau = torch.full_like(setting["tau"], first_bound)
        return {**setting, "tau": tau, "failed": torch.zeros_like(tau), "reached": torch.full_like(tau, torch.inf)}

    def then(setting: State, land: Landing, number: int) -> tuple[State, Tensor]:
        tau, reached = setting["tau"], torch.minimum(setting["reached"], land.size)  # infinite where not solved
        failed = torch.where(land.solved, setting["failed"], torch.maximum(setting["failed"], tau))
        middle = torch.maximum(shrink * reached, (failed + reached) / 2)
        on = torch.where(reached.isinf(), tau < 1, middle > least)  # 1: from black to white, there is no more
        tau = torch.where(reached.isinf(), (2 * tau).clamp_max(1), middle)
        return {**setting, "tau": tau, "failed": failed, "reached": reached}, on

    return Plan(first, then)


def fewer_pixels(share: float, limit: float) -> Plan:
    """L0: after a success ``share`` of the free pixels, those that matter least, are frozen at their clean value.

    After a failure half as many are frozen of those that were free at the last success (before any, nothing can be),
    and c doubles. What matters: ``|Σ_ch δ| · Σ_ch |g|``, g the gradient of the whole loss in the unbounded variable.
    The share and its halving are ours; see ``fewer_as_coded``.
    """

    def first(setting: State) -> State:
        c, free = setting["c"], setting["free"]
        return {**setting, "kept": free, "matter": free * 0, "share": torch.full_like(c, share), "any": c > torch.inf}

    def then(setting: State, land: Landing, number: int) -> tuple[State, Tensor]:
        won = land.solved.view(-1, 1, 1, 1)
        kept = torch.where(won, setting["free"], setting["kept"])
        matter = torch.where(won, _matter(land), setting["matter"])
        part = torch.where(land.solved, setting["share"], setting["share"] / 2)
        some = land.solved | setting["any"]
        number_ = torch.where(some, (part * kept.flatten(1).sum(1)).ceil(), 0)
        free = kept * ~_least(matter, kept, number_)
        c, on = _doubled(setting, land, limit)
        now = {**setting, "c": c, "free": free, "kept": kept, "matter": matter, "share": part, "any": some}
        return now, on & free.flatten(1).any(1)

    return Plan(first, then, fewest=True)


def fewer_as_coded(limit: float) -> Plan:
    """L0 as in the authors' code: after a success the pixels that matter least are frozen, at most 0.3 times the root
    of the number of unchanged pixels and one more, none beyond the first with a score above 0.01; after a failure c
    doubles.
    """

    def then(setting: State, land: Landing, number: int) -> tuple[State, Tensor]:
        free, matter = setting["free"], _matter(land)
        unchanged = (land.theta.abs().amax(1) <= 1e-4).flatten(1).sum(1)
        small = ((matter <= 0.01) & (free > 0)).flatten(1).sum(1) + 1  # the first above the threshold is the last to go
        drop = _least(matter, free, torch.minimum(small, (0.3 * unchanged.sqrt()).floor() + 1))
        thinner = torch.where(land.solved.view(-1, 1, 1, 1), free * ~drop, free)
        c, on = _doubled(setting, land, limit)
        return {**setting, "c": c, "free": thinner}, on & thinner.flatten(1).any(1)

    return Plan(lambda setting: setting, then, fewest=True)


def _matter(land: Landing) -> Tensor:
    return (land.theta.sum(1).abs() * land.pull.abs().sum(1)).unsqueeze(1)


def _least(matter: Tensor, free: Tensor, number: Tensor) -> Tensor:
    """Bool ``(B,1,H,W)``: the ``number (B,)`` free pixels of the smallest score, in reading order where equal."""
    order = torch.where(free > 0, matter, torch.inf).flatten(1).argsort(dim=1, stable=True)
    rank = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, order, rank < number.view(-1, 1)).view_as(free)
