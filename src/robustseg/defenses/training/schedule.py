"""What a step of a training is, as functions of its number: order of the images, learning rate, running average."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["average", "learning_rate", "parameter_groups", "shuffled", "step_seed"]


def step_seed(seed: int, step: int) -> int:
    """The seed of a step: its draws depend on nothing that happened before it."""
    return seed * 1_000_003 + step


def learning_rate(step: int, steps: int, *, lr: float, warmup: int, poly: float) -> float:
    """Linear warm-up, then polynomial decay to 0 at the last step.

    >>> [learning_rate(k, 6, lr=1.0, warmup=2, poly=1.0) for k in (0, 1, 2, 4, 6)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * (1 - (step - warmup) / (steps - warmup)) ** poly


def shuffled(seed: int, first: int, number: int, count: int) -> list[int]:
    """Which of ``count`` images lie at positions ``first …`` of an endless row of shuffled epochs.

    >>> sorted(shuffled(0, 4, 4, 4))
    [0, 1, 2, 3]
    """
    indices = []
    for position in range(first, first + number):
        epoch, place = divmod(position, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(step_seed(seed, epoch)))
        indices.append(int(order[place]))
    return indices


def parameter_groups(network: nn.Module, decay: float) -> list[dict]:
    """No weight decay on biases and on the scales of normalisation layers (every one-dimensional parameter)."""
    flat = [p for p in network.parameters() if p.ndim <= 1]
    deep = [p for p in network.parameters() if p.ndim > 1]
    return [{"params": deep, "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}]


def average(ema: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and normalisation statistics, with a shorter memory at the start."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(ema.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, rate)
            else:
                mean.copy_(value)
