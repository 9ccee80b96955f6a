"""An attack on several models, seen by one of them: made once, scored on every member."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from robustseg.catalog import ensemble
from robustseg.catalog.attack import Attack
from robustseg.types import AttackResult, Model, SemanticTarget

__all__ = ["Together", "together"]


@dataclass(frozen=True)
class Together:
    """The attack on all of ``models``, whatever model it is given; ``at``: whose class indices come and go.

    ``last``: what was made last, shared by the members, so that it is made once for all of them.
    """

    attack: Attack
    models: tuple[Model, ...]
    at: int
    last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def code(self) -> str:
        """Hash of all the members in their order, and of a custom objective: part of the run key."""
        return "+".join(m.spec.digest for m in self.models) + self.attack.code

    @property
    def budget(self) -> tuple[int, int]:
        """Planned forwards and backwards an image, of all members."""
        forwards, backwards = self.attack.budget
        return forwards * len(self.models), backwards * len(self.models)

    @property
    def seconds(self) -> float | None:
        """What the last attack took, whoever of the members had it made."""
        return self.last.get("seconds")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.attack, name)

    def __call__(
        self,
        model: Model,
        images: Tensor,
        targets: SemanticTarget,
        *,
        ids: Sequence[str],
        seed: int = 0,
        region: Tensor | None = None,
        early_stop: bool = True,
    ) -> AttackResult:
        """Attack all members; the goal is that of member ``at``. ``model``, one of them, is not looked at."""
        request = (self.attack.spec, tuple(ids), seed, early_stop)
        if self.last.get("request") != request:
            self.last.clear()
            start = time.perf_counter()
            mine: Any = ensemble.targets(self.models, targets, self.at)
            result = self.attack(self.models, images, mine, ids=ids, seed=seed, region=region, early_stop=early_stop)
            self.last.update(request=request, result=result, seconds=time.perf_counter() - start)
        result = self.last["result"]
        return replace(result, goal=result.goals[self.at]) if result.goals else result


def together(attack: Attack, models: Sequence[Model], at: int, last: dict[str, Any]) -> Together:
    """The attack on ``models`` as member ``at`` sees it. Raises UserError where they cannot be attacked together."""
    ensemble.check(attack, models)
    return Together(attack, tuple(models), at, last)
