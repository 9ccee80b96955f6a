"""Adversarial images made once and scored on several models that go through the same batches side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from robustseg.evaluation.job import Job, Planned
from robustseg.types import AttackResult, SemanticTarget

__all__ = ["Crafted", "shared"]


@dataclass(frozen=True)
class Crafted:
    """An attack on the same model whoever is scored; ``last``: what it made last, shared between the victims.

    ``name`` is what the victims' specs have in common; everything else is that of the attack itself.
    """

    attack: Any
    name: str
    last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def seconds(self) -> float | None:
        """What the last attack took, for whichever victim it was made."""
        return self.last.get("seconds")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.attack, name)

    def __call__(
        self, model: Any, images: Tensor, targets: SemanticTarget, *, ids: Sequence[str], **options: Any
    ) -> AttackResult:
        """What was made for the last victim, if that was the same request; made anew otherwise."""
        plain = {k: v for k, v in options.items() if k != "region"}  # the region follows from attack and images
        request = (self.name, tuple(ids), tuple(sorted(plain.items())))
        if self.last.get("request") != request:
            self.last.clear()
            start = time.perf_counter()
            result = self.attack(model, images, targets, ids=ids, **options)
            self.last.update(request=request, result=result, seconds=time.perf_counter() - start)
        return self.last["result"]


def shared(jobs: Sequence[Job], source: str) -> list[Job]:
    """The jobs of several victims whose attacks are all made on ``source``, so that each is made once a batch.

    Keys, specs and rows are those of the jobs alone; noise, which looks at no model, is drawn for each of them.
    """
    last: dict[str, Any] = {}

    def once(planned: Planned) -> Planned:
        if getattr(planned.attack, "name", None) == "noise":
            return planned
        return replace(planned, attack=Crafted(planned.attack, planned.spec.removesuffix(f",source={source}"), last))

    return [replace(job, attacks=[once(p) for p in job.attacks]) for job in jobs]
