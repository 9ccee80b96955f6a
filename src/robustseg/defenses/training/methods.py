"""Adversarial training, TRADES and distillation: from a batch to the values that are minimised.

The attack inside is the catalog's, through the library's one loop: the network answers it in eval mode (running
statistics of batch normalisation, no dropout) and answers the training in train mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustseg.catalog import Attack
from robustseg.catalog import attack as named
from robustseg.defenses.training.losses import (
    cross_entropy,
    divergence,
    log_probabilities,
    soft_cross_entropy,
    supervised,
)
from robustseg.defenses.training.recipe import CLEAN, DEFAULT, Recipe
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.ops.state import frozen
from robustseg.types import Model, Output, SemanticTarget

__all__ = ["CLEAN", "Method", "attacked_places", "attacks_of", "drawn"]


def attacks_of(recipe: Recipe) -> tuple[Attack | None, ...]:
    """The attacks of a recipe; None for ``clean``. Raises UserError for those that cannot run inside a training."""
    specs = recipe.attacks or ((CLEAN,) if recipe.distill else (DEFAULT,))
    made = tuple(None if spec == CLEAN else named(spec) for spec in specs)
    for one in made:
        if one is None:
            continue
        if one.entry.members:
            members = ", ".join(m.spec for m in one.members)
            raise UserError(f"{one.name} is a worst case of several attacks; list them as a mixture: {members}")
        if one.needs_fit:
            raise UserError(f"{one.name} must be fitted on other images first; a training needs an attack that is not")
        if recipe.trades and (one.targeted or "dense" not in one.entry.output):
            raise UserError(f"trades attacks the prediction of every pixel; {one.name} cannot, take pgd")
    return made


def drawn(attacks: Sequence[Attack | None], seed: int, step: int) -> Attack | None:
    """The attack of a step, all alike."""
    place = torch.randint(len(attacks), (), generator=seeds.generator(seed, "attack", step=step))
    return attacks[int(place)]


def attacked_places(share: float, places: Sequence[int]) -> list[bool]:
    """Which places of a batch are attacked: a share of them, evenly spread.

    >>> attacked_places(0.5, range(4))
    [False, True, False, True]
    """
    return [int((k + 1) * share + 1e-9) > int(k * share + 1e-9) for k in places]


@dataclass(frozen=True)
class Method:
    """``values(model, attackable, images, target, ids, attack, some) -> (B,)``, to be minimised.

    ``weights (C,)`` of the true classes; ``teacher`` of a distillation.
    """

    recipe: Recipe
    weights: Tensor | None = None
    teacher: Callable[[Tensor], Output] | None = None

    def values(
        self,
        model: Callable[[Tensor], Output],
        attackable: Model,
        images: Tensor,
        target: SemanticTarget,
        ids: Sequence[str],
        attack: Attack | None,
        some: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The loss of every image ``(B,)``, and the share of its pixels that the attack turned (0 where it was left).

        ``model`` is trained, ``attackable`` the same network as an attack wants it; ``some (B,)`` bool: which images
        are attacked.
        """
        clean_log_p = None
        if self.recipe.trades and attack is not None:
            clean_log_p = _clean(attackable, images, target)
            attack = replace(attack, function=lambda output, truth: divergence(output, clean_log_p, truth))
        x, wrong = _adversary(attack, attackable, images, target, ids, some)
        if self.recipe.trades:
            return self._trades(model, images, x, target), wrong
        if self.recipe.distill:
            return self._distilled(model, images, x, target), wrong
        return supervised(model(x), target, self.weights), wrong

    def _trades(self, model: Callable[[Tensor], Output], images: Tensor, x: Tensor, target: SemanticTarget) -> Tensor:
        assert self.recipe.trades is not None
        clean = model(images)
        log_p = log_probabilities(clean, (target.labels.shape[-2], target.labels.shape[-1]))
        apart = divergence(model(x), log_p, target, self.weights)
        return supervised(clean, target, self.weights) + self.recipe.trades.beta * apart

    def _distilled(
        self, model: Callable[[Tensor], Output], images: Tensor, x: Tensor, target: SemanticTarget
    ) -> Tensor:
        assert self.recipe.distill is not None
        T = self.recipe.distill.temperature
        if self.teacher is None:  # the teacher's own training
            return cross_entropy(model(x), target, self.weights, T)
        with torch.no_grad():
            said = self.teacher(images)
        return soft_cross_entropy(model(x), said, target, T, self.weights)


def _clean(model: Model, images: Tensor, target: SemanticTarget) -> Tensor:
    """What the network says of the clean images, as the attack sees it."""
    with torch.no_grad(), frozen(model.module):
        return log_probabilities(model(images), (target.labels.shape[-2], target.labels.shape[-1]))


def _adversary(
    attack: Attack | None, model: Model, images: Tensor, target: SemanticTarget, ids: Sequence[str], some: Tensor
) -> tuple[Tensor, Tensor]:
    """Attacked images where ``some``, and the share of pixels that are wrong after it."""
    wrong = images.new_zeros(len(images))
    if attack is None or not some.any():
        return images, wrong
    at = some.nonzero().flatten()
    truth = target if len(at) == len(images) else target.select(at)
    found = attack(
        model, images[at], truth, ids=[name for name, here in zip(ids, some.tolist()) if here], early_stop=False
    )
    x = images.clone()
    x[at] = found.images.clamp(0, 1)
    wrong[at] = found.score.nan_to_num(0.0)
    return x, wrong
