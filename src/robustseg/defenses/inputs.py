"""What an input defence does to pixels, and what its gradient is taken of where its own says nothing.

Images ``(B,C,H,W)`` in [0,1]; ``value (B,)`` is the number of the defence, one an image. Rounding is flat almost
everywhere: its gradient is exactly zero, which protects nobody and misleads whoever measures. There an attack runs
through the exact transformation and back through ``smooth`` (backward pass differentiable approximation, BPDA).
Source: Athalye, Carlini & Wagner, ICML 2018, arXiv 1802.00420, section 4.1. Bit depth and median: Xu, Evans & Qi, NDSS
2018, arXiv 1704.01155; JPEG: Dziugaite et al. 2016, arXiv 1608.00853, Guo et al., ICLR 2018, arXiv 1711.00117.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.errors import UserError
from robustseg.ops.jpeg import cubic, jpeg

__all__ = ["FILTERS", "Filter", "applied", "bits", "median", "replaced"]

Transform = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Filter:
    """What leaves every pixel where it is. ``smooth`` is None where ``exact`` has a useful gradient itself."""

    exact: Transform
    smooth: Transform | None


def bits(images: Tensor, depth: Tensor) -> Tensor:
    """The nearest of ``2^depth`` levels: ``round(x (2^d - 1)) / (2^d - 1)``.

    >>> bits(torch.tensor([0.1, 0.4, 0.6]).view(1, 1, 1, 3), torch.tensor([1.0])).flatten().tolist()
    [0.0, 0.0, 1.0]
    """
    levels = (2**depth - 1).to(images).view(-1, 1, 1, 1)
    return (images * levels).round() / levels


def median(images: Tensor, side: Tensor) -> Tensor:
    """The median of the ``side × side`` pixels around each, channel by channel, borders repeated; ``side`` is odd.

    Its gradient goes to the pixel that is the median: sparse, and right.

    >>> spot = torch.zeros(1, 1, 3, 3); spot[..., 1, 1] = 1
    >>> float(median(spot, torch.tensor([3.0])).max())
    0.0
    """
    k = int(side[0])
    if k == 1:
        return images
    around = F.pad(images, (k // 2,) * 4, mode="replicate").unfold(2, k, 1).unfold(3, k, 1)
    return around.flatten(4).sort(-1).values[..., k * k // 2]


def _file(images: Tensor, quality: Tensor) -> Tensor:
    _rgb(images)
    return jpeg(images, quality, torch.round)


def _soft_file(images: Tensor, quality: Tensor) -> Tensor:
    """JPEG with a cubic for rounding: coefficients near the edge of a step pull, those in its middle do not.

    Straight through the rounding an attack follows coefficients that the file sets to 0 whatever it does, and finds a
    third as much (docs/input-defences.md). Source: Shin & Song, NeurIPS 2017 workshop.
    """
    _rgb(images)
    return jpeg(images, quality, cubic)


def _rgb(images: Tensor) -> None:
    if images.shape[1] != 3:
        raise UserError(f"defense: jpeg is for RGB images; these have {images.shape[1]} channels, so leave jpeg out")


def _itself(images: Tensor, value: Tensor) -> Tensor:
    return images


FILTERS = {
    "jpeg": Filter(_file, _soft_file),
    "bits": Filter(bits, _itself),
    "median": Filter(median, None),
}


class _Replaced(torch.autograd.Function):
    """The first tensor forwards, to the last bit; the second one's gradient backwards."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, gradients[0]


def replaced(exact: Tensor, smooth: Tensor) -> Tensor:
    """``exact``, with the gradient of ``smooth``.

    >>> x = torch.tensor(0.7, requires_grad=True)
    >>> y = replaced(x.round().detach(), 3 * x)
    >>> float(y), float(torch.autograd.grad(y, x)[0])
    (1.0, 3.0)
    """
    found: Tensor = _Replaced.apply(exact, smooth)  # type: ignore[assignment]
    return found


def applied(name: str, images: Tensor, value: Tensor, bpda: bool) -> Tensor:
    """Images behind the filter ``name``; the pixels are the same with and without ``bpda``, only gradients differ."""
    one = FILTERS[name]
    if not bpda or one.smooth is None or not (torch.is_grad_enabled() and images.requires_grad):
        return one.exact(images, value)
    with torch.no_grad():
        exact = one.exact(images, value)
    return replaced(exact, one.smooth(images, value))
