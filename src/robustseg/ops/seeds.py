"""Randomness belongs to the image: draws depend on the run, the image, the restart and the step, on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["content_ids", "fractions", "generator", "normal", "uniform"]


def generator(seed: int, image_id: str, restart: int = 0, step: int = 0, sample: int | None = None) -> torch.Generator:
    """A CPU generator for one image: the same draws at any batch size, order, shard, device, and for every attack.

    ``sample``: of an expectation; each has draws of its own.

    >>> a, b = (torch.rand(1, generator=generator(0, "street/7")) for _ in range(2))
    >>> bool(a == b)
    True
    """
    text = f"{seed}/{image_id}/{restart}/{step}{'' if sample is None else f'/{sample}'}".encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "big"))


def uniform(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform draws in [-1, 1], shaped ``like (B,...)``, image ``i`` from ``generators[i]``, drawn on the CPU."""
    draws = [torch.empty(like.shape[1:]).uniform_(-1, 1, generator=g) for g in generators]
    return torch.stack(draws).to(like)


def normal(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal draws, shaped ``like (B,...)``, image ``i`` from ``generators[i]``, drawn on the CPU."""
    return torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]).to(like)


def fractions(number: int, generators: Sequence[torch.Generator]) -> Tensor:
    """``(B, number)`` uniform draws in [0, 1), image ``i`` from ``generators[i]``, on the CPU."""
    return torch.stack([torch.rand(number, generator=g) for g in generators])


def content_ids(images: Tensor) -> list[str]:
    """Ids for images that came without: a hash of the pixels, ``(B,...) -> B`` strings of 16 hex digits."""
    return [hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16] for x in images]
