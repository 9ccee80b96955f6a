"""The augmented Lagrangian of ALMAprox: one constraint a pixel, each with a multiplier and a stiffness of its own.

Source: Rony, Pesquet, Ben Ayed, CVPR 2023, arXiv 2206.07179, algorithm 1, and the authors' code, whose constants these
are. Their code's slope of the penalty is not the derivative of the penalty: at small violations it is nearly 0. Both
are here.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.objectives.semantic import lag
from robustseg.ops import pixels as px
from robustseg.types import DenseOutput, SemanticTarget, State, View

__all__ = ["almaprox", "hardest", "slope", "violation"]

MARGIN = 1e-4  # logits by which a pixel must be wrong
STIFF, STIFFER, EVERY, BETTER = 0.01, 2.0, 10, 0.95  # first ρ; its growth, looked at so often, unless d fell so far
KEEP, LEAST = 0.8, 1e-12  # of the multiplier, a step; its smallest value
SCALE, NARROWEST = 0.02, 0.1  # by how much w moves a step; its smallest value


def violation(output: DenseOutput, target: SemanticTarget, *, targeted: bool = False) -> Tensor:
    """How far a pixel is from being fooled ``(B,H,W)``: at most 0 where it is; the difference of logits ratio.

    ``(z_y - max_{c≠y} z_c + 1e-4) / (z_(1) - z_(3))``, towards a goal ``(max_{c≠t} z_c - z_t + 1e-4) / (z_(1) -
    ½ (z_(3) + z_(4)))``, logits z sorted. Of two classes, whose ratio would be ±1 everywhere, the difference itself.

    >>> z = torch.tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    >>> round(violation(DenseOutput(z), SemanticTarget(torch.zeros(1, 1, 1, dtype=torch.int64))).item(), 4)
    0.5001
    """
    z = px.logits(output)
    behind = lag(output, target) if targeted else -lag(output, target)
    if z.shape[1] < 3:
        return behind + MARGIN
    top = z.topk(min(4 if targeted else 3, z.shape[1]), 1).values
    spread = top[:, 0] - (top[:, 2:].mean(1) if targeted else top[:, 2])
    return (behind + MARGIN) / (spread + 1e-8)


def slope(d: Tensor, stiffness: Tensor, multiplier: Tensor, *, published: bool = False) -> Tensor:
    """Derivative of the penalty ``P(d)``: ``μd + μρd² + ρ²d³/6`` from 0 on, ``μd / (1 - max(ρ,1)·d)`` below.

    ``published``: as the authors' code has it, ``μd`` standing for the first term's ``μ``.

    >>> d, rho, mu = torch.tensor([0.001]), torch.tensor([0.01]), torch.tensor([1.0])
    >>> round(slope(d, rho, mu).item(), 4), round(slope(d, rho, mu, published=True).item(), 4)
    (1.0, 0.001)
    """
    first = multiplier * d if published else multiplier
    above = first + 2 * multiplier * stiffness * d + (stiffness * d).square() / 2
    below = multiplier / (1 - stiffness.clamp_min(1) * d.clamp_max(0)).square()
    return torch.where(d >= 0, above, below)


def hardest(d: Tensor, valid: Tensor, share: float) -> Tensor:
    """Bool ``(B,N)``: the ``floor(share · valid pixels)`` largest of the valid ``d (B,N)``; ``share`` below 1.

    >>> hardest(torch.tensor([[3.0, 9.0, 1.0, 2.0]]), torch.tensor([[True, False, True, True]]), 0.34)
    tensor([[ True, False, False, False]])
    """
    number = (share * valid.sum(1) + 1e-9).floor()
    most = min(int(share * d.shape[1] + 1e-9), d.shape[1])
    at = torch.where(valid, d, -torch.inf).topk(most, 1).indices
    rank = torch.arange(most, device=d.device)
    return torch.zeros_like(valid).scatter(1, at, rank < number[:, None]) & valid


def almaprox(enough: float, *, targeted: bool = False, published: bool = False) -> Objective:
    """``-Σ_i P(w·d_i; ρ_i, μ_i)`` up to a constant, to be maximised: the constraints ``d_i ≤ 0`` of an image's pixels.

    ``enough``: the share of them that must hold; the others, the hardest ones, are let go little by little. A
    multiplier follows the slope of its constraint, a stiffness doubles where nothing got better, the scale w falls
    while the image is fooled and rises while it is not. All of that is state, of every image by itself.
    """
    return Objective("almaprox", partial(_value, enough, targeted, published), _first)


def _first(view: View, target: SemanticTarget, constants: Constants) -> State:
    none = torch.zeros(target.valid.flatten(1).shape, dtype=torch.float64, device=view.x.device)
    return {
        "multiplier": none + 1, "stiffness": none + STIFF, "former": none, "met": none > 0,
        "scale": view.x.new_ones(len(none)), "step": torch.zeros(len(none), dtype=torch.int64, device=view.x.device),
    }  # fmt: skip


def _value(
    enough: float, targeted: bool, published: bool, view: View, target: SemanticTarget, state: State, progress: float
) -> tuple[dict[str, Tensor], State]:
    output, valid = view.output, target.valid.flatten(1)
    assert isinstance(output, DenseOutput)
    behind = violation(output, target, targeted=targeted).flatten(1)
    with torch.no_grad():
        fooled = (behind < 0) & valid
        solved = fooled.sum(1) >= enough * valid.sum(1)
        scale = (state["scale"] / torch.where(solved, 1 + SCALE, 1 - SCALE)).clamp(NARROWEST, 1)
    d = scale[:, None] * torch.where(valid, behind, 0)
    with torch.no_grad():
        now, step = d.double(), state["step"]
        kept = valid & ~hardest(now, valid, (1 - enough) * progress)
        met = state["met"] | fooled
        look = ((step + 1) % EVERY == 0)[:, None]
        stuck = look & ~met & (torch.where(kept, now, 0) > BETTER * state["former"])
        stiffness = torch.where(stuck, STIFFER * state["stiffness"], state["stiffness"])
        former = torch.where(look | (step == 0)[:, None], now, state["former"])
        follow = slope(now, stiffness, state["multiplier"], published=published) * kept
        moved = torch.lerp(follow, state["multiplier"], KEEP).clamp(LEAST, 1)
        multiplier = torch.where((step == 0)[:, None], state["multiplier"], moved)
        weight = slope(now, stiffness, multiplier, published=published) * kept
    new = {"multiplier": multiplier, "stiffness": stiffness, "former": former, "met": met & ~look,
           "scale": scale, "step": step + 1}  # fmt: skip
    return {"constraints": -(weight.to(d) * d).sum(1)}, new
