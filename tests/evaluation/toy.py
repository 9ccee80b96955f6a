"""A data set and networks small enough to attack in milliseconds; importable in a child process too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from robustseg.models import wrap
from robustseg.ops.seeds import generator, uniform
from robustseg.types import AttackResult, Sample

CLASSES = ("road", "sky", "person")


@dataclass(frozen=True)
class Toy:
    """Images in memory: three grey levels with noise; labels follow the level; one object an image."""

    number: int = 6
    ref: str = "toy:val"
    task: str = "semantic"
    classes: tuple[str, ...] = CLASSES
    ignore: int = 255
    seed: int = 0
    sizes: tuple[tuple[int, int], ...] = ((12, 16),)

    @property
    def ids(self) -> list[str]:
        return [f"im{i:02d}" for i in range(self.number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, i: int) -> Sample:
        rng = np.random.default_rng([self.seed, i])
        h, w = self.sizes[i % len(self.sizes)]
        labels = np.kron(rng.integers(0, 3, (h // 4, w // 4)), np.ones((4, 4), dtype=np.int64))
        levels = np.array([51, 128, 204])[labels]
        image = np.clip(levels + rng.integers(-20, 21, (3, h, w)), 0, 255).astype(np.float32) / 255
        labels = labels.copy()
        labels[0, 0] = 255
        instances = (labels == 2).astype(np.int32)
        left = torch.zeros(h, w, dtype=torch.bool)
        left[:, : w // 2] = True
        regions = {"clothing": left if i % 2 else torch.zeros_like(left), "skin": left}
        return Sample(
            f"im{i:02d}", torch.from_numpy(image), torch.from_numpy(labels), torch.from_numpy(instances), regions
        )

    def digest(self) -> str:
        return f"toy-{self.seed}-{self.sizes}"

    def grown(self, number: int) -> Toy:
        return replace(self, number=number)


class Level(nn.Module):
    """Scores by distance to each class's grey level, blurred over 3×3: attackable, right on most clean pixels."""

    def __init__(self, sharp: float = 40.0):
        super().__init__()
        self.sharp = nn.Parameter(torch.tensor(sharp))
        self.register_buffer("levels", torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1))

    def forward(self, x):
        grey = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 3, 1, 1, count_include_pad=False)
        return -self.sharp * (grey - self.levels) ** 2


class Bad(Level):
    """Goes wrong as ``how`` says: when it sees a gradient request, or from the first."""

    def __init__(self, how: str, largest: int = 0):
        super().__init__()
        self.how, self.largest, self.calls = how, largest, 0

    def forward(self, x):
        self.calls += 1
        if self.how == "raise" and x.requires_grad:
            raise ValueError("no gradients\nhere")
        if self.how == "memory" and len(x) > self.largest:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        scores = super().forward(x)
        return scores * float("nan") if self.how == "nan" else scores


@dataclass(frozen=True)
class Push:
    """A user's own attack object: one signed step from a random start; ``cheat`` breaks a rule on purpose."""

    eps: str = "8/255"
    norm: str = "linf"
    reference: str = "gt"
    cheat: str | None = None
    version: int = 1
    needs_fit: bool = False
    name: str = "push"
    budget: tuple[int, int] = (2, 1)

    @property
    def spec(self) -> str:
        return f"{self.name}:eps={self.eps}" + (f",cheat={self.cheat}" if self.cheat else "")

    def __call__(self, model, images, target, *, ids=None, seed=0, region=None, early_stop=True):
        radius = float(Fraction(self.eps))
        start = uniform(images, [generator(seed, i) for i in ids]) * radius / 2
        x = (images + start).requires_grad_()
        scores = model(x).scores
        loss = torch.nn.functional.cross_entropy(scores, target.labels, ignore_index=target.ignore, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        delta = (start + radius * gradient.sign()).clamp(-radius, radius)
        if region is not None and self.cheat != "region":
            delta = delta * region.unsqueeze(1)
        found = (images + delta).clamp(0, 1)
        if self.cheat == "ball":
            found[0] = (images[0] + 2 * delta[0]).clamp(0, 1)
        if self.cheat == "box":
            found[0, 0, 0, 0] = 1.01
        if self.cheat == "nan":
            found[0, 0, 0, 0] = float("nan")
        if self.cheat == "shape":
            found = found[:, :, 1:]
        cost = torch.ones(len(images), dtype=torch.int64)
        return AttackResult(found, torch.zeros(len(images)), 2 * cost, cost, torch.full((len(images), 2), 0.5))


def model(module: nn.Module | None = None, classes=CLASSES):
    return wrap(module or Level(), classes=classes, name="toy")


def rows_without_time(folder: str | Path) -> dict:
    """Everything of every row that must not depend on when and where it was made."""
    from robustseg.evaluation.store import read

    skip = ("seconds", "batch", "device")
    return {
        (key, image): {n: getattr(row, n) for n in row.__dataclass_fields__ if n not in skip}
        for key, rows in read(folder).rows.items()
        for image, row in rows.items()
    }
