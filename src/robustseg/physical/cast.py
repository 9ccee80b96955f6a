"""A texture seen through a homography: differentiable, supersampled, in the window of the picture that it can reach.

Every pixel is the mean over ``taps × taps`` points; each is read bilinearly from a mip level whose texels are about as
large as the distance of the points, so that no texel is missed and none counts twice. Coverage is that of the texture's
own rectangle, never of its values: a black patch has no holes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.physical.placement import corners_of, project

__all__ = ["Cast", "cast", "over", "seen", "texels_a_pixel"]

TAPS_A_TEXEL = 3
MOST_TAPS = 8


@dataclass(frozen=True)
class Cast:
    """Where a texture of ``texture = (h,w)`` falls in a picture of ``picture = (H,W)``.

    ``window``: rows and columns (top, bottom, left, right) that it can reach; ``grid (h'·n, w'·n, 2)``: for every
    point its place in the texture, from -1 to 1 between the edges, ``inside`` the same shape less the last: which of
    them hit it; ``cover (h',w')`` in [0,1]: the share of each pixel that is texture; ``level``: halvings beforehand.
    """

    texture: tuple[int, int]
    picture: tuple[int, int]
    window: tuple[int, int, int, int]
    grid: Tensor
    inside: Tensor
    cover: Tensor
    taps: int
    level: int

    @property
    def empty(self) -> bool:
        """Nothing of it is in the picture."""
        return self.cover.numel() == 0

    def mask(self) -> Tensor:
        """The pixels of the whole picture that show any of it, ``(H,W)`` bool."""
        found = torch.zeros(self.picture, dtype=torch.bool, device=self.cover.device)
        top, bottom, left, right = self.window
        found[top:bottom, left:right] = self.cover > 0
        return found


def texels_a_pixel(H: Tensor, texture: tuple[int, int]) -> float:
    """Texels per pixel along the more crowded axis, at the middle of the texture; 1 for a patch laid flat.

    >>> from robustseg.physical.placement import flat
    >>> texels_a_pixel(flat((4, 8), (0, 0)), (4, 8))
    1.0
    """
    h, w = texture
    middle = torch.tensor([w / 2, h / 2, 1.0], dtype=torch.float64)
    q = H @ middle
    if float(q[2]) <= 0:
        return 1.0
    jacobian = (H[:2, :2] - (q[:2] / q[2]).unsqueeze(1) * H[2:, :2]) / q[2]
    smallest = float(torch.linalg.svdvals(jacobian)[-1])
    return 1 / max(smallest, 1e-6)


def cast(
    H: Tensor,
    texture: tuple[int, int],
    picture: tuple[int, int],
    *,
    taps: int | None = None,
    device: torch.device | str = "cpu",
) -> Cast:
    """Where the texture falls; nothing where it is behind the camera, outside the picture or seen from behind.

    ``taps``: points a pixel and axis; default: three a texel, from 2 to 8, on a mip level that makes these enough.
    """
    crowd = texels_a_pixel(H, texture)
    level = 0
    if taps is None:
        while TAPS_A_TEXEL * crowd / 2**level > MOST_TAPS and min(texture) >> (level + 1) >= 1:
            level += 1
        taps = min(max(2, math.ceil(TAPS_A_TEXEL * crowd / 2**level)), MOST_TAPS)
    window = _window(H, texture, picture)
    top, bottom, left, right = window
    y = (torch.arange((bottom - top) * taps, dtype=torch.float64) + 0.5) / taps + top
    x = (torch.arange((right - left) * taps, dtype=torch.float64) + 0.5) / taps + left
    points = torch.stack([x.expand(len(y), -1), y.unsqueeze(1).expand(-1, len(x)), x.new_ones(len(y), len(x))], -1)
    q = points @ torch.linalg.inv(H).T if points.numel() else points
    front = q[..., 2] > 0  # the inverse of depth
    depth = torch.where(front, q[..., 2], 1)
    h, w = texture
    u, v = 2 * q[..., 0] / depth / w - 1, 2 * q[..., 1] / depth / h - 1
    inside = front & (u.abs() <= 1) & (v.abs() <= 1)
    grid = torch.stack([u, v], -1).clamp(-2, 2).float().to(device)
    cover = inside.float().view(bottom - top, taps, right - left, taps).mean((1, 3)).to(device)
    return Cast(texture, picture, window, grid, inside.to(device), cover, taps, level)


def _window(H: Tensor, texture: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int, int, int]:
    if float(torch.linalg.det(H)) <= 0:
        return 0, 0, 0, 0  # mirrored: seen from behind
    corners = project(H, corners_of(texture))
    front = corners[:, 0].isfinite()
    height, width = picture
    if not bool(front.any()):
        return 0, 0, 0, 0
    if not bool(front.all()):
        return 0, height, 0, width  # it crosses the plane of the camera, and may fill the picture
    low, high = corners.amin(0), corners.amax(0)
    left, right = max(math.floor(float(low[0])), 0), min(math.ceil(float(high[0])), width)
    top, bottom = max(math.floor(float(low[1])), 0), min(math.ceil(float(high[1])), height)
    return (top, bottom, left, right) if top < bottom and left < right else (0, 0, 0, 0)


def seen(texture: Tensor, at: Cast) -> Tensor:
    """The texture ``(1,C,h,w)`` as it appears in the window, ``(1,C,h',w')``; differentiable.

    The mean over the points of a pixel that hit it; 0 where none does.
    """
    if at.empty:
        return texture[..., :0, :0]
    h, w = (max(s >> at.level, 1) for s in at.texture)
    fine = F.adaptive_avg_pool2d(texture, (h, w)) if at.level else texture
    read = F.grid_sample(fine, at.grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    hit = at.inside.to(read)
    total = F.avg_pool2d(read * hit, at.taps)
    return total / at.cover.clamp_min(1e-6)


def over(picture: Tensor, colours: Tensor, at: Cast, visible: Tensor | None = None) -> Tensor:
    """``picture (1,C,H,W)`` with ``colours (1,C,h',w')`` laid over the window, mixed by coverage.

    ``visible (H,W)`` bool: where nothing stands in front of it; default everywhere.
    """
    if at.empty:
        return picture + colours.sum()  # exactly 0, and so is its gradient
    top, bottom, left, right = at.window
    alpha = at.cover.to(picture)
    if visible is not None:
        alpha = alpha * visible[top:bottom, left:right].to(picture)
    under = picture[..., top:bottom, left:right]
    mixed = under + alpha * (colours - under)
    rows = torch.cat([picture[..., top:bottom, :left], mixed, picture[..., top:bottom, right:]], -1)
    return torch.cat([picture[..., :top, :], rows, picture[..., bottom:, :]], -2)
