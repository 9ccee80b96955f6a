"""What a step of a training is: crops, an attack on them, and the values to be minimised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.catalog import Attack
from robustseg.defenses.training.data import Pool, crops, target_of
from robustseg.defenses.training.methods import Method, attacked_places, drawn
from robustseg.defenses.training.processes import Alone, Several
from robustseg.defenses.training.recipe import Recipe
from robustseg.defenses.training.schedule import step_seed
from robustseg.defenses.training.start import deep
from robustseg.models.base import Adapter

__all__ = ["Steps"]

ELSEWHERE = 7919  # another process draws its dropout from other seeds


@dataclass
class Steps:
    """The parts of every step. ``rows``: where classes are found, for crops that are laid around one."""

    recipe: Recipe
    model: Adapter
    method: Method
    attacks: Sequence[Attack | None]
    pool: Pool
    rows: Sequence[Tensor] = ()
    processes: Alone | Several = field(default_factory=Alone)
    _wrong: Tensor | None = None

    def losses(self, network: nn.Module, step: int) -> Iterator[Tensor]:
        """The parts of a step's loss; their sum is the mean over the images of this process."""
        r, device = self.recipe, self.model.device
        mine = r.batch // self.processes.count
        part, first = mine // r.accumulate, self.processes.rank * mine
        attack, shares = drawn(self.attacks, r.seed, step), attacked_places(r.share, range(r.batch))
        trained = deep(self.model, network)
        if self.processes.rank:
            torch.manual_seed(step_seed(r.seed, step) + ELSEWHERE * self.processes.rank)
        for start in range(first, first + mine, part):
            places = range(start, start + part)
            pixels, labels = crops(self.pool, r, step, places, self.rows)
            pixels = pixels.to(device)
            target = target_of(pixels, labels.to(device), self.pool.things)
            some = torch.tensor([shares[p] for p in places], device=device)
            ids = [f"{r.seed}/{step}/{p}" for p in places]
            with torch.autocast(device.type, torch.bfloat16, enabled=r.precision == "bfloat16"):
                values, wrong = self.method.values(trained, self.model, pixels, target, ids, attack, some)
            if attack is not None and bool(some.any()):
                self._wrong = wrong[some]
            yield values.sum() / mine

    def told(self) -> dict[str, Any]:
        """For the curve: the share of pixels that are wrong on the crops attacked last."""
        return {} if self._wrong is None else {"wrong": round(float(self._wrong.mean()), 4)}
