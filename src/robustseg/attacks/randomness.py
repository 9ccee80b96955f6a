"""A model that draws at random before it answers: its draws, as looks that any search can take.

The numbers that a model wants are a leaf of the objective's state, so that they go where the images go. Gradients are
means over ``samples`` fresh draws a step, scores over others that are the same at every step: the attacker knows how
the model draws and never what it will draw.
Source: Athalye, Carlini & Wagner, ICML 2018, arXiv 1802.00420, section 4.2: the expectation over the defence's own
randomness. The draws that judge are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from robustseg.attacks.expectation import FIXED
from robustseg.attacks.looks import Apply, Draws, Look, Looks, plainly
from robustseg.ops import seeds
from robustseg.types import SemanticTarget, State

__all__ = ["DRAWS", "over_draws"]

DRAWS = "model-draws"  # the leaf (B,n) of the state
OWN = 10**6  # samples from here on are the model's, so that they never are those of an expectation


def over_draws(number: int, samples: int, looks: Looks = plainly) -> Looks:
    """The same looks, each with ``number`` uniform draws an image for the model; 0 leaves the looks as they are.

    ``samples``: draws that a look takes the mean over. With 0 every look has one draw, the same at every step, as an
    attacker has who takes the model for a fixed one.
    """
    if not number:
        return looks

    def seen(draws: Draws, restart: int, step: int, last: bool) -> Iterable[Look]:
        followed = judged = OWN
        for look in looks(draws, restart, step, last):
            mine = look.draws or draws
            if not samples:
                yield Look(_with(look.apply, number, mine(0, FIXED, OWN)), look.follow, look.judge, look.draws)
                continue
            for _ in range(samples if look.follow else 0):
                yield Look(_with(look.apply, number, mine(restart, step, followed)), True, False, mine)
                followed += 1
            for _ in range(samples if look.judge else 0):
                yield Look(_with(look.apply, number, mine(0, FIXED, judged)), False, True, mine)
                judged += 1

    return seen


def _with(apply: Apply, number: int, generators: Sequence[torch.Generator]) -> Apply:
    def drawn(
        images: Tensor, theta: Tensor, target: SemanticTarget, state: State
    ) -> tuple[Tensor, SemanticTarget, State]:
        x, target, state = apply(images, theta, target, state)
        return x, target, {**state, DRAWS: seeds.fractions(number, generators).to(x)}

    return drawn
