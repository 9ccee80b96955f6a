"""A patch that hangs in a picture as chance will have it: a little elsewhere, lit and printed a little otherwise.

What is drawn belongs to the picture: seeded by run, picture, restart, step and sample. The order is that of the world:
the print (contrast, brightness, noise), where it hangs (scale, turn, shift, perspective), the lens (blur).
Sources: Athalye et al., ICML 2018, arXiv 1707.07397 (EOT); of patches: Nesti et al., WACV 2022, arXiv 2108.06179, with
uniform draws of brightness and contrast where its code has normal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.ops.blur import gaussian
from robustseg.ops.place import Place
from robustseg.physical.cast import Cast, cast, over, seen
from robustseg.physical.placement import flat, moved, within

__all__ = ["STILL", "Hung", "Print", "Variation", "hang", "printed", "stretch"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Variation:
    """How a patch may vary. Ranges are uniform, ends included; 0 and (1, 1) are nothing.

    ``perspective``: corners move by up to this share of the patch's width and height; ``rotate``: degrees either way;
    ``shift``: share of the patch's size either way; ``scale``: factor; ``brightness``: added, either way;
    ``contrast``: factor ``1 ± c`` about the middle grey; ``noise``: standard deviation; ``blur``: sigma in pixels.
    """

    perspective: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    scale: Range = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    noise: Range = (0.0, 0.0)
    blur: Range = (0.0, 0.0)

    @property
    def moves(self) -> bool:
        """The patch may lie elsewhere than at its stated place."""
        return bool(self.perspective or self.rotate or self.shift) or self.scale != (1.0, 1.0)


STILL = Variation()


@dataclass(frozen=True)
class Print:
    """How one print of a patch comes out; ``noise`` is like the patch, ``(1,C,h,w)``."""

    contrast: float
    brightness: float
    noise: Tensor | None

    def of(self, patch: Tensor) -> Tensor:
        """The printed patch, inside [0,1]; differentiable. A perfect print is the patch itself."""
        made = patch
        if self.contrast != 1 or self.brightness:
            made = (patch - 0.5) * self.contrast + 0.5 + self.brightness
        if self.noise is not None:
            made = made + self.noise
        return made if made is patch else made.clamp(0, 1)


@dataclass(frozen=True)
class Hung:
    """One draw: how the patch is printed, where it falls, and how sharp the picture is there."""

    at: Cast
    print: Print
    sigma: float

    def show(self, picture: Tensor, patch: Tensor) -> Tensor:
        """The picture ``(1,C,H,W)`` with the patch ``(1,C,h,w)`` in it, inside [0,1]; differentiable in the patch."""
        colours = seen(self.print.of(patch), self.at)
        if self.sigma and not self.at.empty:
            sigma, cover = colours.new_tensor([self.sigma]), self.at.cover[None, None].to(colours)
            # weighted by coverage, so that what is not patch does not bleed into its edge
            colours = gaussian(colours * cover, sigma, self.sigma) / gaussian(cover, sigma, self.sigma).clamp_min(1e-6)
        return over(picture, colours, self.at)


def _around(g: torch.Generator, most: float, *size: int) -> Tensor:
    return most * (2 * torch.rand(size, generator=g) - 1)


def _between(g: torch.Generator, ends: Range) -> float:
    return float(ends[0] + (ends[1] - ends[0]) * torch.rand((), generator=g))


def printed(variation: Variation, g: torch.Generator, like: Tensor) -> Print:
    """One draw of a print; ``like``: the patch, ``(1,C,h,w)``."""
    contrast, brightness = 1 + float(_around(g, variation.contrast)), float(_around(g, variation.brightness))
    noise = None
    if variation.noise != (0.0, 0.0):
        noise = (_between(g, variation.noise) * torch.randn(like.shape, generator=g)).to(like.device)
    return Print(contrast, brightness, noise)


def hang(place: Place, picture: tuple[int, int], variation: Variation, g: torch.Generator, like: Tensor) -> Hung:
    """One draw for a picture of ``(H,W)`` from its generator; ``like``: the patch, ``(1,C,h,w)``.

    A patch that does not move lies on whole pixels, and is copied to the last bit.
    """
    H = flat(place.size, place.corner(picture), _drawn(place.size, variation, g))
    at = cast(H, place.size, picture, taps=None if variation.moves else 1, device=like.device)
    return Hung(at, printed(variation, g, like), _between(g, variation.blur))


def stretch(H: Tensor, picture: tuple[int, int], variation: Variation, g: torch.Generator, like: Tensor) -> Hung:
    """One draw where the homography ``H`` of the patch says (`placement`), moved about there; as `hang` otherwise."""
    size = (int(like.shape[-2]), int(like.shape[-1]))
    move = _drawn(size, variation, g)
    at = cast(H if move is None else H @ within(size, move), size, picture, device=like.device)
    return Hung(at, printed(variation, g, like), _between(g, variation.blur))


def _drawn(size: tuple[int, int], variation: Variation, g: torch.Generator) -> Tensor | None:
    """One draw of how a patch of ``size = (h,w)`` moves about its middle; None where it does not."""
    if not variation.moves:
        return None
    return moved(
        size, _around(g, variation.perspective, 4, 2), _around(g, variation.rotate),
        torch.tensor(_between(g, variation.scale)), _around(g, variation.shift, 2),
    )  # fmt: skip
