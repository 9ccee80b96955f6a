"""Where the attacker's variable may live: a norm ball, the [0,1] box, the pixels he may write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustseg.ops import norms, seeds

__all__ = ["Ball", "Bound"]


@dataclass(frozen=True)
class Bound:
    """A ball bound to a batch of images: every operation on the perturbation ``delta (B,3,H,W)``, per image."""

    kind: str
    eps: float
    low: Tensor
    high: Tensor
    writable: Tensor | None

    def project(self, delta: Tensor) -> Tensor:
        """Into ball, box and writable region. l2: into the ball, then the box; clipping to the box shortens only."""
        if self.kind == "l2":
            delta = norms.project_l2(delta, self.eps)
        return torch.minimum(torch.maximum(delta, self.low), self.high)

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest unit step; the region acts before the norm, so that no length is spent on forbidden pixels."""
        return norms.steepest(gradient if self.writable is None else gradient * self.writable, self.kind)

    def start(self, generators: Sequence[torch.Generator], *, outermost: bool = False) -> Tensor:
        """A random start, image ``i`` from ``generators[i]``, the same draws at any batch size.

        ``outermost``: an l2 start has the full length, as noise that shall be compared with attacks must.
        """
        if self.kind == "linf":
            return self.project(norms.ball_start(seeds.uniform(self.low, generators), "linf", self.eps))
        draws = seeds.normal(self.low, generators)
        radius = None if outermost else torch.stack([torch.rand((), generator=g) for g in generators])
        draws = draws if self.writable is None else draws * self.writable
        return self.project(norms.ball_start(draws, "l2", self.eps, radius))

    def select(self, keep: Tensor) -> Bound:
        """The bound of the images at the indices ``keep``."""
        return replace(
            self,
            low=self.low[keep],
            high=self.high[keep],
            writable=None if self.writable is None else self.writable[keep],
        )


@dataclass(frozen=True)
class Ball:
    """Perturbations of norm at most ``eps`` (same unit as the pixels), images inside [0,1].

    Without ``box`` the perturbation is everything there is, as a tile that is put on many images.
    """

    kind: str
    eps: float
    box: bool = True

    def bind(self, images: Tensor, writable: Tensor | None = None) -> Bound:
        """The ball around ``images (B,3,H,W)``; outside ``writable (B,H,W)`` bool the perturbation is exactly 0."""
        low, high = (-images, 1 - images) if self.box else (-torch.ones_like(images), torch.ones_like(images))
        if self.kind == "linf":
            low, high = low.clamp_min(-self.eps), high.clamp_max(self.eps)
        mask = None
        if writable is not None:
            mask = writable.unsqueeze(1).to(images)
            low, high = low * mask, high * mask
        return Bound(self.kind, self.eps, low, high, mask)

    def scaled(self, factor: float) -> Ball:
        """The same ball, ``factor`` times as large (radius schedules)."""
        return replace(self, eps=self.eps * factor)
