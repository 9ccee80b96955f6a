"""The one loop: init, step, finish. It knows no objective, no model and no data set.

A step looks at its iterate once, with one forward and one backward, or, under an expectation, several times, one look
after the other (``attacks.looks``); it never waits for the device. The best iterate by ``score`` is kept per image,
among equals the latest, which is the furthest along; images whose score reaches 1 leave the batch, which is compacted
at most every ten steps (the one wait). A gradient that is not finite moves nothing and is written down, as is one that
is zero at every step: such a search has not attacked, whatever it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from robustseg.attacks.constraints import Ball, Bound
from robustseg.attacks.looks import Draws, Look, Looks, Seen, plainly
from robustseg.attacks.rules import Rule, summed
from robustseg.attacks.updates import Update
from robustseg.ops.norms import norm
from robustseg.types import EnsembleOutput, Output, SemanticTarget, State, View

__all__ = ["Found", "Objective", "Problem", "Search", "gradient_search", "joined_faults", "sound"]

COMPACT_EVERY = 10

# what became of the gradients of an image, (B,) uint8; the smaller the better, but for BROKEN, which stays
MOVED, BROKEN, ZERO, UNTRIED = 0, 1, 2, 3


class Objective(Protocol):
    """What ``gradient_search`` needs of an objective; see ``objectives.base``."""

    @property
    def value(self) -> Callable[[View, SemanticTarget, State, float], tuple[dict[str, Tensor], State]]: ...


@dataclass(frozen=True)
class Problem:
    """One batch to attack. ``forward`` maps images, their target and the objective's state to an output."""

    forward: Callable[[Tensor, SemanticTarget, State], Output | EnsembleOutput]
    images: Tensor
    target: SemanticTarget
    state: State
    generators: Draws
    writable: Tensor | None = None
    early_stop: bool = True

    def select(self, keep: Tensor) -> Problem:
        """The problem of the images at the indices ``keep``."""
        return replace(
            self,
            images=self.images[keep],
            target=self.target.select(keep),
            state={name: leaf[keep] for name, leaf in self.state.items()},
            generators=_of(self.generators, keep.tolist()),
            writable=None if self.writable is None else self.writable[keep],
        )


def _of(generators: Draws, mine: Sequence[int]) -> Draws:
    """The generators of some of the images."""

    def some(*draw: int) -> Sequence[torch.Generator]:
        every = generators(*draw)
        return [every[i] for i in mine]

    return some


@dataclass(frozen=True)
class Found:
    """The best perturbation ``theta (B,3,H,W)`` by ``score (B,)``, its cost and the best score after each step.

    ``fault (B,)`` uint8: 0 a gradient led somewhere, 1 a gradient or objective was not finite, 2 all gradients were
    exactly zero, 3 none was taken. Whether that matters is for the score to say: a solved image needs no gradient.
    """

    theta: Tensor
    score: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: Tensor
    fault: Tensor


Search = Callable[[Problem, Ball, Tensor | None, int], Found]  # problem, ball, start or None, restart number


@dataclass(frozen=True)
class _Active:
    """The images still in the batch; ``at`` are their positions, None while all are in."""

    at: Tensor | None
    images: Tensor
    target: SemanticTarget
    bound: Bound
    theta: Tensor
    objective: State
    update: State
    generators: Draws

    def select(self, keep: Tensor) -> _Active:
        def pick(state: State) -> State:
            return {name: leaf[keep] for name, leaf in state.items()}

        return replace(
            self,
            at=keep if self.at is None else self.at[keep],
            generators=_of(self.generators, keep.tolist()),
            images=self.images[keep],
            target=self.target.select(keep),
            bound=self.bound.select(keep),
            theta=self.theta[keep],
            objective=pick(self.objective),
            update=pick(self.update),
        )


@dataclass
class _Best:
    """What is known of the whole batch, solved images included; written in place."""

    theta: Tensor
    score: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: list[Tensor]
    fault: Tensor

    @staticmethod
    def of(theta: Tensor) -> _Best:
        nothing = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)
        untried = torch.full_like(nothing, UNTRIED, dtype=torch.uint8)
        return _Best(theta, theta.new_full((len(theta),), -torch.inf), nothing, nothing.clone(), [], untried)

    def take(self, a: _Active, score: Tensor, forwards: int, backwards: int) -> None:
        theta = a.theta.detach()
        if a.at is None:
            better = score >= self.score
            self.theta = torch.where(better.view(-1, 1, 1, 1), theta, self.theta)
            self.score = torch.where(better, score, self.score)
            self.forwards += forwards
            self.backwards += backwards
        else:
            old = self.score[a.at]
            better = score >= old
            self.theta[a.at] = torch.where(better.view(-1, 1, 1, 1), theta, self.theta[a.at])
            self.score[a.at] = torch.where(better, score, old)
            self.forwards[a.at] += forwards
            self.backwards[a.at] += backwards
        self.trace.append(self.score.clone())

    def note(self, a: _Active, fault: Tensor) -> None:
        if a.at is None:
            self.fault = joined_faults(self.fault, fault)
        else:
            self.fault[a.at] = joined_faults(self.fault[a.at], fault)


def _kept(old: State, shown: State, new: State) -> State:
    """The objective's state after a look: what it left alone is the image's own, not what the look made of it."""
    return {name: old[name] if name in old and leaf is shown[name] else leaf for name, leaf in new.items()}


def joined_faults(first: Tensor, second: Tensor) -> Tensor:
    """Of two searches, or steps, one after the other: broken once is broken, moved once is moved.

    >>> joined_faults(torch.tensor([0, 0, 2, 3]), torch.tensor([1, 2, 2, 2]))
    tensor([1, 0, 2, 2])
    """
    return torch.minimum(first, second).masked_fill((first == BROKEN) | (second == BROKEN), BROKEN)


def sound(gradient: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient, 0 for images where it or the objective is not finite, and what became of it ``(B,)``."""
    size = norm(gradient, "linf")
    finite = size.isfinite() & total.isfinite()
    fault = ((size == 0).to(torch.uint8) * ZERO).masked_fill(~finite, BROKEN)
    return torch.where(finite.view(-1, 1, 1, 1), gradient, 0), fault


def gradient_search(
    objective: Objective,
    update: Update,
    steps: int,
    score: Callable[[View, SemanticTarget, State], Tensor],
    *,
    random_start: bool = True,
    track: Callable[[View, SemanticTarget], Tensor] | None = None,
    rule: Rule = summed,
    looks: Looks = plainly,
) -> Search:
    """A search of ``steps`` gradient steps: with plain looks ``steps`` backwards and ``steps + 1`` forwards an image.

    ``objective`` is differentiated; ``track`` is what APGD watches (default: the objective); ``score (B,)`` decides
    which iterate is returned and may reach 1 only when the image is fully solved. ``steps=0`` scores the start alone.
    ``rule`` makes one gradient of the objective's terms (default: that of their sum).
    Without ``random_start`` only the first start is the image itself; restarts would all be the same.
    ``looks``: how a step sees its iterate. The gradient is the mean over the looks that are followed; score and track
    are means over those that judge.
    """
    tracks = track is not None or update.tracks

    def see(problem: Problem, a: _Active, theta: Tensor, look: Look, k: int, seen: Seen) -> None:
        """One look; nothing of it stays in memory but its sums."""
        seen.forwards += 1
        theta = theta if look.follow else theta.detach()
        watched = look.judge and tracks and k < steps
        with torch.set_grad_enabled(look.follow):
            x, target, before = look.apply(a.images, theta, a.target, a.objective)
            view = View(a.images, x, theta, problem.forward(x, target, before))
            total = None
            if look.follow or (watched and track is None):
                terms, after = objective.value(view, target, before, k / max(steps, 1))
                total = sum(terms.values())
                assert isinstance(total, Tensor)
        if look.judge:
            with torch.no_grad():
                seen.points.add(score(view, target, before))
        if look.follow:
            assert total is not None
            seen.gradient.add(rule(terms, view, target, theta))
            seen.total.add(total.detach())
            seen.state = _kept(a.objective, before, after)
        if watched:
            with torch.no_grad():
                watching = total if track is None else track(view, target)
                assert watching is not None
                seen.tracked.add(watching.detach())

    def search(problem: Problem, ball: Ball, start: Tensor | None, restart: int) -> Found:
        bound = ball.bind(problem.images, problem.writable)
        if start is not None:
            theta = bound.project(start)
        elif random_start or restart > 0:
            theta = bound.start(problem.generators(restart), outermost=steps == 0)
        else:
            theta = torch.zeros_like(problem.images)
        active = _Active(
            None, problem.images, problem.target, bound, theta, problem.state, update.init(theta, bound),
            problem.generators,
        )  # fmt: skip
        best, each = _Best.of(theta), 1
        for k in range(steps + 1):
            last = k == steps
            theta, seen = active.theta.requires_grad_(not last), Seen()
            for look in looks(active.generators, restart, k, last):
                see(problem, active, theta, look, k, seen)
            with torch.no_grad():
                best.take(active, seen.points.mean(), seen.forwards, seen.gradient.number)
                if last:
                    break
                each, total = seen.gradient.number, seen.total.mean()
                gradient, fault = sound(seen.gradient.mean(), total)
                best.note(active, fault)
                tracked = seen.tracked.mean() if tracks else total
                moved, memory = update.step(k, steps, theta.detach(), gradient, tracked, active.update, active.bound)
                active = replace(active, theta=moved, objective=seen.state, update=memory)
                if problem.early_stop and (k + 1) % COMPACT_EVERY == 0:
                    remaining = _compact(active, best.score)
                    if remaining is None:
                        break
                    active = remaining
        return _finish(best, steps, each)

    return search


def _compact(active: _Active, score: Tensor) -> _Active | None:
    mine = score if active.at is None else score[active.at]
    open_ = (mine < 1).nonzero().flatten()
    if len(open_) == len(mine):
        return active
    return active.select(open_) if len(open_) else None


def _finish(best: _Best, steps: int, each: int) -> Found:
    """``each``: gradients a step, which between two points of the trace knew nothing new."""
    trace = best.trace + [best.trace[-1]] * (steps + 1 - len(best.trace))
    known = torch.stack(trace, 1)
    if each > 1:
        known = torch.cat([known[:, :-1].repeat_interleave(each, 1), known[:, -1:]], 1)
    return Found(best.theta, best.score, best.forwards, best.backwards, known, best.fault)
