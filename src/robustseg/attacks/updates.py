"""How the attacker's variable moves: pairs ``(init, step)`` of functions with an explicit state.

``init(theta, bound) -> state`` and ``step(k, steps, theta, gradient, tracked, state, bound) -> (theta, state)`` with
``k = 0 … steps-1``; ``tracked (B,)`` is the value APGD watches; every leaf of the state has leading dimension B, so
that solved images can leave the batch. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.constraints import Bound
from robustseg.ops.norms import norm
from robustseg.types import State

__all__ = ["Update", "adam", "apgd", "apgd_checkpoints", "momentum", "normalised", "sign"]


Step = Callable[[int, int, Tensor, Tensor, Tensor, State, Bound], tuple[Tensor, State]]


@dataclass(frozen=True)
class Update:
    """A named step rule; ``tracks``: it looks at what it is told of its progress."""

    name: str
    init: Callable[[Tensor, Bound], State]
    step: Step
    tracks: bool = False


def _column(value: Tensor, like: Tensor) -> Tensor:
    return value.view(-1, *([1] * (like.dim() - 1)))


def sign(step_size: float) -> Update:
    """``θ <- Π(θ + α·direction(g))``: FGSM, BIM, PGD, SegPGD, CosPGD; the direction is the sign for linf."""

    def step(
        k: int, steps: int, theta: Tensor, g: Tensor, tracked: Tensor, state: State, bound: Bound
    ) -> tuple[Tensor, State]:
        return bound.project(theta.add(bound.direction(g), alpha=step_size)), state

    return Update("sign", lambda theta, bound: {}, step)


def momentum(step_size: float, decay: float = 1.0) -> Update:
    """MI-FGSM: ``m <- μ m + g/|g|_1``, step along ``direction(m)``. Dong et al., CVPR 2018, arXiv 1710.06081."""

    def step(
        k: int, steps: int, theta: Tensor, g: Tensor, tracked: Tensor, state: State, bound: Bound
    ) -> tuple[Tensor, State]:
        m = decay * state["m"] + g / _column(g.flatten(1).abs().mean(1).clamp_min(1e-30), g)
        return bound.project(theta.add(bound.direction(m), alpha=step_size)), {"m": m}

    return Update("momentum", lambda theta, bound: {"m": torch.zeros_like(theta)}, step)


def normalised(step_size: float) -> Update:
    """``θ <- Π(θ + γ·g/|g|_∞)``: the largest entry of a step is γ, whatever the ball. DAG: Xie et al., ICCV 2017."""

    def step(
        k: int, steps: int, theta: Tensor, g: Tensor, tracked: Tensor, state: State, bound: Bound
    ) -> tuple[Tensor, State]:
        return bound.project(theta.add(g / _column(norm(g, "linf").clamp_min(1e-30), g), alpha=step_size)), state

    return Update("normalised", lambda theta, bound: {}, step)


def adam(rate: float, beta1: float = 0.9, beta2: float = 0.999) -> Update:
    """Adam with AMSGrad on the perturbation, projected after every step (PAdam). Halmosi et al., ECCV 2024."""

    def init(theta: Tensor, bound: Bound) -> State:
        return {name: torch.zeros_like(theta) for name in ("m", "v", "top")}

    def step(
        k: int, steps: int, theta: Tensor, g: Tensor, tracked: Tensor, state: State, bound: Bound
    ) -> tuple[Tensor, State]:
        # per-image scale: Adam's 1e-8 must not swamp the gradient of a mean over many pixels
        g = g / _column(norm(g, "linf").clamp_min(1e-30), g)
        m = beta1 * state["m"] + (1 - beta1) * g
        v = beta2 * state["v"] + (1 - beta2) * g * g
        top = torch.maximum(state["top"], v)
        root = (top / (1 - beta2 ** (k + 1))).sqrt().add(1e-8)
        # an Adam step has length `rate` in every pixel; in an l2 ball the whole step shall have it
        length = rate if bound.kind == "linf" else rate / theta[0].numel() ** 0.5
        return bound.project(theta + length * (m / (1 - beta1 ** (k + 1))) / root), {"m": m, "v": v, "top": top}

    return Update("adam", init, step)


def apgd_checkpoints(steps: int) -> tuple[int, ...]:
    """Iterations at which APGD looks back: 0.22 n, then windows 0.03 n shorter each time, not below 0.06 n.

    >>> apgd_checkpoints(100)
    (22, 41, 57, 70, 80, 87, 93, 99)
    """
    window, shrink, least = max(int(0.22 * steps), 1), max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    points, at = [], window
    while at <= steps:
        points.append(at)
        window = max(window - shrink, least)
        at += window
    return tuple(points)


def apgd(first_step: float = 2.0, inertia: float = 0.75, threshold: float = 0.75) -> Update:
    """Auto-PGD: step ``first_step·eps``, halved where progress stalls, with a jump back to the best point.

    ``u = Π(x + η·dir(g))``, ``x' = Π(x + a(u-x) + (1-a)(x-x_prev))``, a = 0.75 (1 at the first iteration). At a check
    η is halved and the best point (with its gradient) restored where (i) ``tracked`` rose in at most 75 % of the
    window's steps, or (ii) η was kept at the last check and the best value has not improved since.
    Source: Croce & Hein, ICML 2020, arXiv 2003.01690; as used by SEA (2ε first step).
    """

    def init(theta: Tensor, bound: Bound) -> State:
        per_image = theta.new_zeros(len(theta))
        low = torch.full_like(per_image, -torch.inf)
        return {
            "eta": torch.full_like(per_image, first_step * bound.eps),
            "previous": theta.clone(),
            "best": theta.clone(),
            "best_gradient": torch.zeros_like(theta),
            "best_value": low.clone(),
            "last_value": low.clone(),
            "rises": per_image.clone(),
            "kept": torch.zeros_like(per_image, dtype=torch.bool),
            "best_at_check": low.clone(),
        }

    def step(
        k: int, steps: int, theta: Tensor, g: Tensor, tracked: Tensor, state: State, bound: Bound
    ) -> tuple[Tensor, State]:
        s = dict(state)
        better = tracked > s["best_value"]
        s["best"] = torch.where(_column(better, theta), theta, s["best"])
        s["best_gradient"] = torch.where(_column(better, theta), g, s["best_gradient"])
        s["best_value"] = torch.where(better, tracked, s["best_value"])
        s["rises"] = s["rises"] + (tracked > s["last_value"]) * float(k > 0)
        s["last_value"] = tracked
        points = apgd_checkpoints(steps)
        if k in points:
            window = k - max([p for p in points if p < k], default=0)
            stalled = (s["rises"] <= threshold * window) | (s["kept"] & (s["best_at_check"] >= s["best_value"]))
            s["eta"] = torch.where(stalled, s["eta"] / 2, s["eta"])
            theta = torch.where(_column(stalled, theta), s["best"], theta)
            g = torch.where(_column(stalled, theta), s["best_gradient"], g)
            s["kept"], s["best_at_check"] = ~stalled, s["best_value"]
            s["rises"] = torch.zeros_like(s["rises"])
        a = inertia if k > 0 else 1.0
        u = bound.project(theta + _column(s["eta"], theta) * bound.direction(g))
        new = bound.project(theta + a * (u - theta) + (1 - a) * (theta - s["previous"]))
        s["previous"] = theta
        return new, s

    return Update("apgd", init, step, tracks=True)
