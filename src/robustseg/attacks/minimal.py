"""The loop of minimal-norm attacks: the smallest perturbation that fools enough of an image. There is no ball.

A descent minimises ``cost(δ) - c · objective`` by Adam, inside a box made by tanh, for one setting of every image;
what is tried next (another c, a tighter bound, fewer pixels) is a combinator's business, in ``settings``.
Source: Carlini, Wagner, S&P 2017, arXiv 1608.04644; what changes for many pixels is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustseg.attacks.loop import UNTRIED, Objective, Problem, joined_faults, sound
from robustseg.ops.norms import norm
from robustseg.types import SemanticTarget, State, View

__all__ = ["BOUND", "HINGE", "SQUARE", "Cost", "Inner", "Landing", "Score", "descend", "in_box", "out_of_box"]

INSIDE = 0.999999  # of the way from the middle of the box to its edge: beyond, atanh is infinite
FREE = 0.95  # the same in a box as small as τ: a perturbation on its edge, as most are, must be able to turn back
CHECKS = 10  # looks per descent at who may leave
PATIENCE = 50  # steps between looks below which a loss that does not fall says nothing: Adam starts anew, and astray
FELL = 0.9999  # so the loss must not be negative: an objective that has nothing more to gain is 0

Score = Callable[[View, SemanticTarget, State], Tensor]


def in_box(w: Tensor) -> Tensor:
    """``½ (tanh(w) + 1)``: any real number becomes a pixel in [0,1].

    >>> in_box(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (w.tanh() + 1) / 2


def out_of_box(x: Tensor, inside: float = INSIDE) -> Tensor:
    """The inverse of ``in_box``; black and white, which lie at infinity, are moved by 5e-7 first.

    ``inside``: the share of the way to black or white that the others keep.

    >>> bool((in_box(out_of_box(torch.tensor([0.0, 0.25, 1.0]))) - torch.tensor([0.0, 0.25, 1.0])).abs().max() < 1e-6)
    True
    """
    return ((2 * x - 1) * inside).atanh()


@dataclass(frozen=True)
class Cost:
    """What a perturbation costs: ``value (B,)`` and ``slope`` (its gradient) of ``delta`` in a setting; ``size (B,)``,
    the norm that makes one success better than another; of a size, ``(B,)`` bool: ``helps``, it is smaller than what is
    known; ``done``, it is all that the setting asks for. ``box(images, setting)``: lowest and highest values of pixels,
    ``inside`` as in ``out_of_box``."""

    value: Callable[[Tensor, State], Tensor]
    slope: Callable[[Tensor, State], Tensor]
    size: Callable[[Tensor], Tensor]
    helps: Callable[[Tensor, State], Tensor]
    done: Callable[[Tensor, State], Tensor]
    box: Callable[[Tensor, State], tuple[Tensor, Tensor]]
    inside: float = INSIDE


def _all_pixels(images: Tensor, setting: State) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(images), torch.ones_like(images)


def _within(images: Tensor, setting: State) -> tuple[Tensor, Tensor]:
    tau = setting["tau"].view(-1, 1, 1, 1)
    return (images - tau).clamp_min(0), (images + tau).clamp_max(1)


def _over(delta: Tensor, setting: State) -> Tensor:
    return (delta.abs() - setting["tau"].view(-1, 1, 1, 1)).clamp_min(0)


SQUARE = Cost(  # ‖δ‖², of L2 and, on fewer and fewer pixels, of L0
    value=lambda delta, setting: delta.square().flatten(1).sum(1),
    slope=lambda delta, setting: 2 * delta,
    size=lambda delta: norm(delta, "l2"),
    helps=lambda size, setting: size < torch.inf,
    done=lambda size, setting: size < torch.inf,
    box=_all_pixels,
)
HINGE = Cost(  # Σ max(0, |δ| - τ), of L∞: nothing below τ costs anything; ``reached``: the smallest success so far
    value=lambda delta, setting: _over(delta, setting).flatten(1).sum(1),
    slope=lambda delta, setting: delta.sign() * (_over(delta, setting) > 0),
    size=lambda delta: norm(delta, "linf"),
    helps=lambda size, setting: size < setting["reached"],
    done=lambda size, setting: size <= setting["tau"],
    box=_all_pixels,
)
BOUND = replace(  # no cost but never more than τ, of L∞: the box of the pixels is drawn around the image
    HINGE,
    value=lambda delta, setting: torch.zeros_like(setting["tau"]),
    slope=lambda delta, setting: torch.zeros_like(delta),
    done=lambda size, setting: size < torch.inf,
    box=_within,
    inside=FREE,
)


@dataclass(frozen=True)
class Landing:
    """Where one descent led. ``theta (B,3,H,W)``: the smallest perturbation that fools enough, else the one that fools
    most; ``solved (B,)`` bool, it fools enough and helps; ``size (B,)`` its norm, infinite where not solved; ``pull``:
    gradient of the whole loss there, in the unbounded variable; ``last``: the last iterate; the rest as in ``Found``.
    """

    theta: Tensor
    solved: Tensor
    score: Tensor
    size: Tensor
    pull: Tensor
    last: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: Tensor
    fault: Tensor


Inner = Callable[[Problem, State, Tensor], Landing]  # problem, setting of every image, start


@dataclass(frozen=True)
class _Active:
    """The images still in the batch; ``at``: their positions."""

    at: Tensor
    problem: Problem
    setting: State
    w: Tensor
    m: Tensor
    v: Tensor
    low: Tensor
    high: Tensor
    loss: Tensor  # at the last look

    def select(self, keep: Tensor) -> _Active:
        return _Active(
            self.at[keep], self.problem.select(keep), {name: leaf[keep] for name, leaf in self.setting.items()},
            self.w[keep], self.m[keep], self.v[keep], self.low[keep], self.high[keep], self.loss[keep],
        )  # fmt: skip


def descend(
    objective: Objective,
    score: Score,
    cost: Cost,
    steps: int,
    rate: float,
    *,
    enough: float,
    settle: float = 1.0,
    at_first: bool = False,
    beta1: float = 0.9,
    beta2: float = 0.999,
) -> Inner:
    """``steps`` Adam steps of length ``rate`` in the unbounded variable: ``steps`` backwards, ``steps + 1`` forwards.

    ``setting``: ``c (B,)`` weighs the objective, ``free (B,1,H,W)`` is 1 where a pixel may change, ``tau (B,)`` is the
    bound of ``HINGE`` and ``BOUND``. A success is an iterate with ``score >= enough`` that helps. With early stopping
    an image leaves where its loss no longer falls by 1e-4 of itself in a tenth of the steps, or, ``at_first``, soon
    after its first success that is done; each image by itself. ``settle``: the share of the rate that is left at the
    end, reached geometrically.
    """

    def inner(problem: Problem, setting: State, start: Tensor) -> Landing:
        low, high = cost.box(problem.images, setting)
        first = torch.minimum(torch.maximum(problem.images + start, low), high)
        w = out_of_box((first - low) / (high - low), cost.inside)
        unknown, still = w.new_full((len(w),), torch.inf), torch.zeros_like(w)
        best, trace = _nothing(start), []
        a = _Active(torch.arange(len(w), device=w.device), problem, setting, w, still, still, low, high, unknown)
        pace = max(1, min(steps // CHECKS, 10) if at_first else steps // CHECKS)
        looks = problem.early_stop and (at_first or pace >= PATIENCE)
        for k in range(steps + 1):
            last = k == steps
            theta, points, gain, gradient = _look(a, objective, score, k / max(steps, 1), not last)
            with torch.no_grad():
                gradient, fault = sound(gradient, gain)
                pull = _pull(cost, theta, gradient, a)
                _take(best, a, cost, theta, points, pull, enough)
                trace.append(best["top"].clone())
                if last:
                    break
                best["fault"][a.at] = joined_faults(best["fault"][a.at], fault)
                best["backwards"][a.at] += 1
                m = beta1 * a.m + (1 - beta1) * pull
                v = beta2 * a.v + (1 - beta2) * pull.square()
                move = m / (1 - beta1 ** (k + 1)) / ((v / (1 - beta2 ** (k + 1))).sqrt() + 1e-8)
                a = replace(a, w=a.w - rate * settle ** (k / steps) * move, m=m, v=v)
                if looks and (k + 1) % pace == 0:
                    loss = cost.value(theta, a.setting) - a.setting["c"] * gain
                    stay = ~cost.done(best["size"][a.at], a.setting) if at_first else loss <= FELL * a.loss
                    a = replace(a, loss=loss)
                    keep = stay.nonzero().flatten()  # the one wait for the device
                    if not len(keep):
                        break
                    a = a if len(keep) == len(stay) else a.select(keep)
        del best["top"]
        return Landing(**best, trace=torch.stack(trace + [trace[-1]] * (steps + 1 - len(trace)), 1))

    return inner


def _look(
    a: _Active, objective: Objective, score: Score, progress: float, differentiate: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The iterate δ, its score, its objective and the gradient of that. The model sees what would be returned, bit for
    bit: rounding keeps ``x + (box - x)`` in [0,1]."""
    p = a.problem
    x = torch.minimum(a.low + (a.high - a.low) * in_box(a.w), a.high)  # rounding may lie above
    theta = ((x - p.images) * a.setting["free"]).requires_grad_(differentiate)
    with torch.set_grad_enabled(differentiate):
        view = View(p.images, x := p.images + theta, theta, p.forward(x, p.target, p.state))
        terms, _ = objective.value(view, p.target, p.state, progress)
        gain = torch.stack(list(terms.values())).sum(0)
    gradient = torch.autograd.grad(gain.sum(), theta)[0] if differentiate else torch.zeros_like(theta)
    with torch.no_grad():
        return theta.detach(), score(view, p.target, p.state), gain.detach(), gradient


def _nothing(start: Tensor) -> dict[str, Tensor]:
    """What is known before the first look: the fields of a ``Landing`` but the trace, and the ``top`` score so far."""
    far = start.new_full((len(start),), torch.inf)
    none = torch.zeros_like(far, dtype=torch.int64)
    return {
        "theta": start.clone(), "solved": torch.zeros_like(far, dtype=torch.bool), "score": -far, "size": far,
        "pull": torch.zeros_like(start), "last": start.clone(), "forwards": none, "backwards": none.clone(),
        "fault": torch.full_like(none, UNTRIED, dtype=torch.uint8), "top": -far,
    }  # fmt: skip


def _pull(cost: Cost, delta: Tensor, gradient: Tensor, a: _Active) -> Tensor:
    """Gradient of the whole loss, ``cost - c · objective``, in the unbounded variable."""
    whole = cost.slope(delta, a.setting) - a.setting["c"].view(-1, 1, 1, 1) * gradient
    return whole * a.setting["free"] * (1 - a.w.tanh().square()) * (a.high - a.low) / 2


def _take(
    best: dict[str, Tensor], a: _Active, cost: Cost, delta: Tensor, points: Tensor, pull: Tensor, enough: float
) -> None:
    """Keep the iterate where it is a smaller success, or nothing succeeded yet and it fools more."""
    size, at = cost.size(delta), a.at
    solved = (points >= enough) & cost.helps(size, a.setting)
    better = torch.where(solved, size < best["size"][at], ~best["solved"][at] & (points >= best["score"][at]))
    wide = better.view(-1, 1, 1, 1)
    best["theta"][at] = torch.where(wide, delta, best["theta"][at])
    best["pull"][at] = torch.where(wide, pull, best["pull"][at])
    best["score"][at] = torch.where(better, points, best["score"][at])
    best["size"][at] = torch.where(solved & better, size, best["size"][at])
    best["solved"][at] |= solved
    best["last"][at] = delta
    best["top"][at] = torch.fmax(best["top"][at], points)
    best["forwards"][at] += 1
