"""How often and where classes occur in label maps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["class_weights", "counts", "occurrence"]


def counts(labels: Iterable[Tensor], classes: int) -> Tensor:
    """Pixels of every class, `(C,)` float64; other values (what is ignored) count for nothing."""
    total = torch.zeros(classes, dtype=torch.float64)
    for label in labels:
        total += torch.bincount(label.flatten().int(), minlength=classes)[:classes]
    return total


def class_weights(pixels: Tensor, power: float, heaviest: float) -> Tensor:
    """``(median frequency / frequency) ** power`` of `(C,)` counts, at most ``heaviest``; absent classes weigh 0.

    >>> class_weights(torch.tensor([4.0, 1.0, 16.0, 0.0]), 0.5, 4.0)
    tensor([1.0000, 2.0000, 0.5000, 0.0000])
    """
    present = pixels > 0
    weights = (pixels[present].median() / pixels.clamp(min=1)) ** power
    return torch.where(present, weights.clamp(max=heaviest), torch.zeros_like(weights)).float()


def occurrence(labels: Iterable[Tensor], classes: int) -> list[Tensor]:
    """For every class that occurs, as `(class, image indices)` rows: where it can be found."""
    seen = torch.stack([torch.bincount((label & 255).flatten().int(), minlength=256)[:classes] > 0 for label in labels])
    return [torch.cat([torch.tensor([c]), seen[:, c].nonzero()[:, 0]]) for c in range(classes) if seen[:, c].any()]
