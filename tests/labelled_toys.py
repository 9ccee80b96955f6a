"""A classifier with a closed form and labelled images, small enough to attack in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustseg.models import wrap
from robustseg.models.base import Adapter
from robustseg.types import Sample

CLASSES = ("ant", "bee", "cow")


class Linear(nn.Module):
    """``z = W x`` over all values of the image; the sums are written out, so that their bits are stable."""

    def __init__(self, values: int, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        w = torch.randn(classes, values, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("w", w)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x.flatten(1) - 0.5) @ self.w.T


def linear(size: tuple[int, int] = (4, 5), classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Adapter:
    """The linear classifier of images of one size."""
    return wrap(
        Linear(3 * size[0] * size[1], len(classes), seed), task="classification", classes=classes, name="linear"
    )


@dataclass(frozen=True)
class Labelled:
    """Grey images with a push towards their class, in memory; every fourth carries a wrong label."""

    number: int = 8
    size: tuple[int, int] = (4, 5)
    ref: str = "toys:val"
    task: str = "classification"
    tasks: tuple[str, ...] = ("classification",)
    classes: tuple[str, ...] = CLASSES
    ignore: int = 255

    @property
    def ids(self) -> list[str]:
        return [f"toy{i}" for i in range(self.number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, i: int) -> Sample:
        w = linear(self.size).module.get_buffer("w")
        noise = torch.rand(w.shape[1], generator=torch.Generator().manual_seed(i))
        image = (0.5 + (0.02 + 0.01 * (i % 8)) * w[i % 3] + 0.02 * (noise - 0.5)).clamp(0, 1).view(3, *self.size)
        label = (i % 3 + 1) % 3 if i % 4 == 3 else i % 3
        return Sample(f"toy{i}", image, torch.tensor([[label]]))

    def digest(self) -> str:
        return f"labelled-{self.number}-{self.size}"
