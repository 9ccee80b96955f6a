"""How a step sees its iterate: once and plainly, or several times, each time through something else.

A look turns the images and the attacker's variable into what the model is shown. Looks that are *followed* give the
gradient, looks that *judge* give the score, and the plain one does both. Steps are taken look by look, so that one look
is in memory at a time, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustseg.types import SemanticTarget, State

__all__ = ["Apply", "Draws", "Look", "Looks", "Mean", "Seen", "added", "plainly"]

Draws = Callable[..., Sequence[torch.Generator]]  # restart[, step, sample] -> one generator an image
Apply = Callable[[Tensor, Tensor, SemanticTarget, State], tuple[Tensor, SemanticTarget, State]]


@dataclass(frozen=True)
class Look:
    """``apply(images, theta, target, state)`` gives the pixels shown, and target and state as they lie in them.

    ``draws``: generators of the images that are shown, where these are not the images of the problem.
    """

    apply: Apply
    follow: bool
    judge: bool
    draws: Draws | None = None


Looks = Callable[[Draws, int, int, bool], Iterable[Look]]  # draws, restart, step, "no gradient is wanted any more"


def added(images: Tensor, theta: Tensor, target: SemanticTarget, state: State) -> tuple[Tensor, SemanticTarget, State]:
    """The plain way to apply a perturbation."""
    return images + theta, target, state


def plainly(draws: Draws, restart: int, step: int, last: bool) -> Iterable[Look]:
    """One look, as it is: followed, unless it is the last, and judging."""
    return (Look(added, not last, True),)


@dataclass
class Mean:
    """A mean in the making. A mean of one is that one, to the last bit; of k ones it is exactly 1."""

    sum: Tensor | None = None
    number: int = 0

    def add(self, value: Tensor) -> None:
        """One more."""
        self.sum = value if self.sum is None else self.sum + value
        self.number += 1

    def mean(self) -> Tensor:
        """Of all that were added, at least one."""
        assert self.sum is not None
        return self.sum if self.number == 1 else self.sum / self.number


@dataclass
class Seen:
    """What the looks of a step have shown: means, and the objective's state after the last that was followed."""

    points: Mean = field(default_factory=Mean)
    gradient: Mean = field(default_factory=Mean)
    total: Mean = field(default_factory=Mean)
    tracked: Mean = field(default_factory=Mean)
    state: State = field(default_factory=dict)
    forwards: int = 0
