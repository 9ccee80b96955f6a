"""Attacks made on one model and scored on another: what an attacker can do who does not have the victim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.catalog.attack import Attack
from robustseg.errors import UserError
from robustseg.types import AttackResult, DataSet, Model

__all__ = ["Transferred", "transferred"]


@dataclass(frozen=True)
class Transferred:
    """An attack that looks at ``source`` whatever model it is given; the gradients counted are those of the source."""

    attack: Attack
    source: Model

    @property
    def spec(self) -> str:
        """The spec of the attack, and where it was made."""
        return f"{self.attack.spec},source={self.source.spec.ref}"

    @property
    def code(self) -> str:
        """Hash of the source, and of a custom objective: part of the run key."""
        return f"{self.source.spec.digest}{self.attack.code}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.attack, name)

    def fit(self, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
        """Fitted on the source: the attacker knows no other model."""
        return self.attack.fit(self.source, dataset, seed)

    @property
    def fit_name(self) -> str:
        """Artefacts of different sources are different."""
        return f"{self.attack.fit_name}-of-{self.source.spec.digest}"

    def with_artefact(self, artefact: Artefact) -> Transferred:
        """The same, knowing ``artefact``."""
        return replace(self, attack=self.attack.with_artefact(artefact))

    def __call__(self, model: Model, images: Tensor, *args: Any, **options: Any) -> AttackResult:
        """Attack the source; ``model``, the victim, is not looked at."""
        return self.attack(self.source, images, *args, **options)


def transferred(attack: Attack, source: Model, victim: Model) -> Transferred:
    """The attack, made on ``source``. Raises UserError where the two models do not have the same classes in order.

    Targets are in the victim's class indices, so that both must agree on them.
    """
    if source.spec.classes != victim.spec.classes:
        raise UserError(
            f"--source {source.spec.ref} has other classes than {victim.spec.ref}, or another order of them; an attack "
            "is carried over between models of the same classes"
        )
    return Transferred(attack, source)
