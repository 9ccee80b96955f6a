"""Plane projective warps: pixels bilinearly, labels and masks by their nearest pixel, boxes by their corners.

Convention: a warp ``(B,3,3)`` maps points (x, y, 1) of the old picture to points of the new one, in coordinates that
run from -1 to 1 between the outer edges of a picture, so that one warp fits maps of every resolution. What comes from
outside the old picture is its border colour in pixels, and ``fill`` in labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["boxes", "from_corners", "labels", "pixels", "similarity"]

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))  # (x, y), clockwise from the top left


def similarity(size: tuple[int, int], *, degrees: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Rotation (clockwise, about the centre), scaling and shift of pictures of ``size = (H,W)``: ``(B,3,3)``.

    Shapes: ``degrees (B,)``, ``factor (B,)``, ``shift (B,2)`` as (x, y) in shares of width and height. Angles and
    lengths are those of pixels, whatever the shape of the picture.

    >>> still = torch.zeros(1)
    >>> similarity((4, 8), degrees=still, factor=still + 2, shift=torch.tensor([[0.25, 0.0]]))[0].tolist()
    [[2.0, -0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]
    """
    H, W = size
    angle = torch.deg2rad(degrees)
    cos, sin = factor * angle.cos(), factor * angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, -sin * (H / W), 2 * shift[:, 0], sin * (W / H), cos, 2 * shift[:, 1], zero, zero, one]
    return torch.stack(rows, 1).view(-1, 3, 3)


def from_corners(moves: Tensor) -> Tensor:
    """The warp that moves the corners of a picture by ``moves (B,4,2)``, in shares of its width and height.

    Corners in the order top left, top right, bottom right, bottom left; ``(B,3,3)`` in float64.

    >>> from_corners(torch.zeros(1, 4, 2))[0].round().abs().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    old = torch.tensor(CORNERS, dtype=torch.float64).expand(len(moves), 4, 2)
    new = old + 2 * moves.double()
    x, y = old.unbind(-1)
    u, v = new.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    first = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    found = torch.linalg.solve(torch.cat([first, second], 1), torch.cat([u, v], 1).unsqueeze(-1)).squeeze(-1)
    return torch.cat([found, one[:, :1]], 1).view(-1, 3, 3)


def _sources(warp: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where every new pixel centre comes from: ``(B,H,W)`` x and y in [-1,1], float64 to the end."""
    H, W = size
    back = torch.linalg.inv(warp.double())
    x = (torch.arange(W, dtype=torch.float64, device=warp.device) * 2 + 1) / W - 1
    y = (torch.arange(H, dtype=torch.float64, device=warp.device) * 2 + 1) / H - 1
    points = torch.stack([x.expand(H, W), y.unsqueeze(1).expand(H, W), torch.ones_like(x).expand(H, W)], -1)
    moved = torch.einsum("bij,hwj->bihw", back, points)
    # a point at or behind the horizon lies nowhere in the old picture
    depth = torch.where(moved[:, 2] > 1e-6, moved[:, 2], torch.nan)
    return (moved[:, 0] / depth).nan_to_num(9.0, 9.0, -9.0), (moved[:, 1] / depth).nan_to_num(9.0, 9.0, -9.0)


def pixels(images: Tensor, warp: Tensor) -> Tensor:
    """The warped pictures ``(B,C,H,W)``, bilinear; differentiable in ``images``."""
    x, y = _sources(warp, (int(images.shape[-2]), int(images.shape[-1])))
    grid = torch.stack([x, y], -1).to(images)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def labels(maps: Tensor, warp: Tensor, fill: int | float | bool) -> Tensor:
    """Maps ``(B,...,H,W)`` of any type, warped by their nearest pixel; ``fill`` where there was none.

    >>> right = similarity((1, 4), degrees=torch.zeros(1), factor=torch.ones(1), shift=torch.tensor([[0.25, 0.0]]))
    >>> labels(torch.tensor([[[1, 2, 3, 4]]]), right, 255).tolist()
    [[[255, 1, 2, 3]]]
    """
    H, W = int(maps.shape[-2]), int(maps.shape[-1])
    x, y = _sources(warp, (H, W))
    column, row = ((x + 1) * W / 2).floor().long(), ((y + 1) * H / 2).floor().long()
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    at = (row.clamp(0, H - 1) * W + column.clamp(0, W - 1)).flatten(1)
    between = [1] * (maps.dim() - 3)
    at = at.view(len(maps), *between, H * W).expand(*maps.shape[:-2], H * W)
    moved = maps.flatten(-2).gather(-1, at).view(maps.shape)
    return torch.where(inside.view(len(maps), *between, H, W), moved, torch.as_tensor(fill, dtype=maps.dtype).to(maps))


def boxes(old: Tensor, warp: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes ``(B,N,4)`` as (x0, y0, x1, y1) in pixels of ``size = (H,W)``: around their moved corners, clipped.

    A box that leaves the picture becomes all zeros, as an empty one is.
    """
    H, W = size
    scale = torch.tensor([2 / W, 2 / H], dtype=torch.float64, device=old.device)
    x0, y0, x1, y1 = old.double().unbind(-1)
    corners = torch.stack([torch.stack([a, b], -1) for a in (x0, x1) for b in (y0, y1)], 2) * scale - 1
    points = torch.cat([corners, torch.ones_like(corners[..., :1])], -1)
    moved = torch.einsum("bij,bnkj->bnki", warp.double(), points)
    flat = (moved[..., :2] / moved[..., 2:].clamp_min(1e-6) + 1) / scale
    edge = torch.tensor([W, H], dtype=torch.float64, device=old.device)
    low, high = flat.amin(2).clamp_min(0).minimum(edge), flat.amax(2).clamp_min(0).minimum(edge)
    there = ((high - low) > 0).all(-1, keepdim=True) & (old[..., 2:] > old[..., :2]).all(-1, keepdim=True)
    return torch.where(there, torch.cat([low, high], -1), 0).to(old)


def points(old: Tensor, warp: Tensor, size: tuple[int, int]) -> Tensor:
    """Points ``(B,N,2)``, column and row of pixels, where they have gone; those outside on the nearest pixel inside."""
    H, W = size
    scale = torch.tensor([2 / W, 2 / H], dtype=torch.float64, device=old.device)
    flat = (old.double() + 0.5) * scale - 1
    moved = torch.einsum("bij,bnj->bni", warp.double(), torch.cat([flat, torch.ones_like(flat[..., :1])], -1))
    place = (moved[..., :2] / moved[..., 2:].clamp_min(1e-6) + 1) / scale - 0.5
    last = torch.tensor([W - 1, H - 1], dtype=torch.float64, device=old.device)
    return place.clamp_min(0).minimum(last).to(old)


def prompts(old: Tensor, warp: Tensor, size: tuple[int, int]) -> Tensor:
    """``boxes`` or ``points``, by their last axis."""
    return (points if old.shape[-1] == 2 else boxes)(old, warp, size)
