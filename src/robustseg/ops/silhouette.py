"""The outline of a standing person, drawn by formula: where a false label shall appear."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["person"]

WIDTH = 0.36  # of the outline, in heights
FEET = (0.6, 0.95)  # between these shares of the image's height a person is likely to stand


def person(
    size: tuple[int, int], height: float, *, at: tuple[float, float] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """A standing person as a mask ``(H,W)`` bool in an image of ``size = (H,W)``.

    ``height``: of the person, as a share of the image's; ``at``: middle and feet (x, y) as shares of width and height,
    else drawn: feet at 60 to 95 % of the height, the whole outline inside the left and right edge where it fits.
    Convention: a pixel belongs to the person where its centre does.
    Source: the idea of a pasted silhouette: Chen, Wang, Crandall, WACV 2022; the outline is ours.

    >>> mask = person((10, 10), 1.0, at=(0.5, 1.0))
    >>> mask[9].nonzero().flatten().tolist(), mask[0].nonzero().flatten().tolist(), bool(mask[5, 5])
    ([4, 5], [4, 5], True)
    """
    H, W = size
    if at is None:
        x, y = torch.rand(2, generator=generator).tolist()
        margin = min(WIDTH / 2 * height * H / W, 0.5)
        at = (margin + x * (1 - 2 * margin), FEET[0] + y * (FEET[1] - FEET[0]))
    # in heights of the person: v from 0 at the top of the head to 1 at the feet, u from the middle
    v = ((torch.arange(H) + 0.5 - at[1] * H) / (height * H) + 1).view(-1, 1)
    u = ((torch.arange(W) + 0.5 - at[0] * W) / (height * H)).view(1, -1).abs()
    head = ((v - 0.08) / 0.08) ** 2 + (u / 0.06) ** 2 <= 1
    trunk = (v >= 0.14) & (v <= 0.56) & (u <= 0.1)
    arms = (v >= 0.18) & (v <= 0.54) & (u <= 0.12 + 0.06 * (v - 0.18) / 0.36)
    legs = (v >= 0.54) & (v < 1) & (u <= 0.1) & ((u >= 0.015) | (v < 0.6))
    return head | trunk | arms | legs
