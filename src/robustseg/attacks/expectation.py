"""Expectation over transformations: what an adversarial image must survive, as looks that any search can take.

Gradients are means over ``samples`` fresh draws a step; the iterate that is returned is chosen on draws that are the
same at every step and restart. Draws belong to the image: seeded by run, image, restart, step and sample.
Source: Athalye et al., ICML 2018, arXiv 1707.07397: the mean of ``∇ g(t_j(x'))``. What moves pixels moves labels too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustseg.attacks.looks import Apply, Draws, Look, Looks, plainly
from robustseg.ops import warp as wp
from robustseg.ops.blur import gaussian
from robustseg.ops.jpeg import jpeg
from robustseg.types import SegmentTarget, SemanticTarget, State, UserError

__all__ = ["Draw", "Expectation", "through"]

FIXED = -1  # the step whose draws judge
BOXES = "proposals"  # the one leaf of a state that holds boxes, in pixels

Range = tuple[float, float]
ZERO, ONE = (0.0, 0.0), (1.0, 1.0)


@dataclass(frozen=True)
class Draw:
    """One transformation for each image of a batch: ``warp (B,3,3)``, ``gain (B,3)``, ``offset (B)``, ``sigma (B)``,
    ``noise (B,3,H,W)``, ``quality (B)``; None is left out. In that order, as scene, lens, sensor and file come."""

    warp: Tensor | None = None
    gain: Tensor | None = None
    offset: Tensor | None = None
    sigma: Tensor | None = None
    noise: Tensor | None = None
    quality: Tensor | None = None
    widest: float = 0.0

    def pixels(self, x: Tensor) -> Tensor:
        """What becomes of images ``(B,3,H,W)``; inside [0,1] again. Nothing drawn is nothing done, to the last bit."""
        if self.warp is not None:
            x = wp.pixels(x, self.warp)
        if self.gain is not None:
            x = x * self.gain.view(len(x), -1, 1, 1)
        if self.offset is not None:
            x = x + self.offset.view(-1, 1, 1, 1)
        if self.sigma is not None:
            x = gaussian(x, self.sigma, self.widest)
        if self.noise is not None:
            x = x + self.noise
        if not (self.gain is None and self.offset is None and self.noise is None):
            x = x.clamp(0, 1)
        return x if self.quality is None else jpeg(x, self.quality)

    def target(self, target: SemanticTarget) -> SemanticTarget:
        """Labels, masks and prompts where their pixels have gone; what comes from outside is ignored."""
        if self.warp is None:
            return target
        labels = wp.labels(target.labels, self.warp, target.ignore)
        if not isinstance(target, SegmentTarget):
            return SemanticTarget(labels, target.ignore)
        masks = wp.labels(target.masks, self.warp, False)
        size = (int(labels.shape[-2]), int(labels.shape[-1]))
        prompts = None if target.prompts is None else wp.prompts(target.prompts, self.warp, size)
        gone = ~masks.flatten(2).any(2)
        categories = target.categories.masked_fill(gone, -1)
        return replace(target, labels=labels, masks=masks, categories=categories, prompts=prompts)

    def state(self, state: State, size: tuple[int, int]) -> State:
        """An objective's maps, ``(B,H,W)`` or ``(B,…,h,w)``, and its boxes, moved; everything else as it is."""
        if self.warp is None:
            return state
        moved = dict(state)
        for name, leaf in state.items():
            if name == BOXES:
                moved[name] = wp.boxes(leaf, self.warp, size)
            elif leaf.dim() > 3 or (leaf.dim() == 3 and tuple(leaf.shape[-2:]) == size):
                moved[name] = wp.labels(leaf, self.warp, 0)
        return moved


@dataclass(frozen=True)
class Expectation:
    """What is drawn. Ranges are uniform, ends included; None is left out.

    ``perspective``: corners move by up to this share of width and height; ``rotate``: degrees either way; ``shift``:
    share of the size either way; ``scale``: factor, above 1 is nearer; ``gain``: factor of each colour channel;
    ``brightness``: added, either way; ``blur``: sigma in pixels; ``noise``: standard deviation; ``jpeg``: quality.
    """

    perspective: float | None = None
    rotate: float | None = None
    shift: float | None = None
    scale: Range | None = None
    gain: Range | None = None
    brightness: float | None = None
    blur: Range | None = None
    noise: Range | None = None
    jpeg: Range | None = None
    samples: int = 1

    def draw(self, generators: Sequence[torch.Generator], images: Tensor) -> Draw:
        """One draw an image, image ``i`` from ``generators[i]``; made on the CPU, the same at any batch size.

        Raises UserError for images that are not RGB and shall become JPEG files.
        """
        if self.jpeg and images.shape[1] != 3:
            raise UserError(f"eot: jpeg is for RGB images; these have {images.shape[1]} channels, so leave jpeg out")
        single = [self._one(g, tuple(images.shape[1:])) for g in generators]

        def joined(name: str) -> Tensor | None:
            parts = [getattr(one, name) for one in single]
            return None if parts[0] is None else torch.stack(parts).to(images.device)

        names = ("warp", "gain", "offset", "sigma", "noise", "quality")
        return Draw(**{n: joined(n) for n in names}, widest=self.blur[1] if self.blur else 0.0)  # type: ignore[arg-type]

    def _one(self, g: torch.Generator, shape: tuple[int, ...]) -> Draw:
        return Draw(
            warp=self._warp(g, shape),
            gain=_number(g, self.gain, shape[0]) if self.gain and self.gain != ONE else None,
            offset=_around(g, self.brightness) if self.brightness else None,
            sigma=_number(g, self.blur) if self.blur and self.blur != ZERO else None,
            noise=_noise(g, self.noise, shape) if self.noise and self.noise != ZERO else None,
            quality=_number(g, self.jpeg) if self.jpeg else None,
        )

    def _warp(self, g: torch.Generator, shape: tuple[int, ...]) -> Tensor | None:
        scale = self.scale or ONE
        if not (self.perspective or self.rotate or self.shift) and scale == ONE:
            return None
        bent = wp.from_corners(_around(g, self.perspective, 1, 4, 2))
        similar = wp.similarity(
            (shape[1], shape[2]),
            degrees=_around(g, self.rotate, 1).double(),
            factor=_number(g, scale, 1).double(),
            shift=_around(g, self.shift, 1, 2).double(),
        )
        return (bent @ similar)[0]


def _number(g: torch.Generator, ends: Range, *size: int) -> Tensor:
    low, high = ends
    return low + (high - low) * torch.rand(size, generator=g)


def _noise(g: torch.Generator, ends: Range, shape: tuple[int, ...]) -> Tensor:
    return _number(g, ends) * torch.randn(shape, generator=g)


def _around(g: torch.Generator, most: float | None, *size: int) -> Tensor:
    return _number(g, (-(most or 0.0), most or 0.0), *size)


def through(expectation: Expectation, looks: Looks = plainly) -> Looks:
    """The same looks through transformations: fresh draws for gradients, always the same ones for scores."""

    def seen(draws: Draws, restart: int, step: int, last: bool) -> Iterable[Look]:
        for look in looks(draws, restart, step, last):
            mine = look.draws or draws
            for sample in range(expectation.samples if look.follow else 0):
                yield Look(_after(look.apply, expectation, mine(restart, step, sample)), True, False, mine)
            for sample in range(expectation.samples if look.judge else 0):
                yield Look(_after(look.apply, expectation, mine(0, FIXED, sample)), False, True, mine)

    return seen


def _after(apply: Apply, expectation: Expectation, generators: Sequence[torch.Generator]) -> Apply:
    def moved(
        images: Tensor, theta: Tensor, target: SemanticTarget, state: State
    ) -> tuple[Tensor, SemanticTarget, State]:
        x, target, state = apply(images, theta, target, state)
        draw = expectation.draw(generators, x)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        return draw.pixels(x), draw.target(target), draw.state(state, size)

    return moved
