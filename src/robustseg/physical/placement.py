"""Where a flat texture falls in a picture: homographies from camera and board, or from a place in the image.

Convention: coordinates are those of pixel *edges*; pixel i spans [i, i+1), its centre is i + 0.5, of texture and
picture alike. A homography ``(3,3)`` float64 maps texture points (u, v, 1) to picture points (x, y, 1) · z, with z > 0
in front of the camera; that sign is kept, so that what lies behind the camera can be told.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.ops import warp

__all__ = ["corners_of", "flat", "moved", "plane", "project", "within"]


def plane(K: Tensor, T_cw: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """The homography of a board: ``K [R|t] [ (TR-TL)/w  (BL-TL)/h  TL ]``.

    ``K (3,3)`` in pixels, ``T_cw (4,4)`` world to camera (x right, y down, z forward), ``corners (4,3)`` of the board
    in the world: top left, top right, bottom right, bottom left as its reader sees them; ``size = (h,w)`` of the
    texture. No fit of four points: exact for any pose. The board must be a parallelogram.

    >>> eye = torch.eye(4, dtype=torch.float64)
    >>> board = torch.tensor([[-1.0, -1, 4], [1, -1, 4], [1, 1, 4], [-1, 1, 4]])
    >>> H = plane(torch.tensor([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]]), eye, board, (4, 4))
    >>> project(H, torch.tensor([[0.0, 0.0], [4.0, 2.0]])).tolist()
    [[6.0, 6.0], [10.0, 8.0]]
    """
    K, T, C = K.double(), T_cw.double(), corners.double()
    h, w = size
    to_world = torch.stack([(C[1] - C[0]) / w, (C[3] - C[0]) / h, C[0]], 1)
    to_camera = T[:3, :3] @ to_world
    to_camera[:, 2] += T[:3, 3]
    return K @ to_camera


def flat(size: tuple[int, int], corner: tuple[float, float], move: Tensor | None = None) -> Tensor:
    """The homography of a texture of ``size = (h,w)`` laid flat at ``corner = (top, left)``, one texel a pixel.

    ``move (3,3)``: a warp of the patch about its middle, in the coordinates of ``ops.warp`` (-1 to 1 between its
    edges).

    >>> project(flat((2, 4), (10, 20)), torch.tensor([[0.0, 0.0], [4.0, 2.0]])).tolist()
    [[20.0, 10.0], [24.0, 12.0]]
    """
    top, left = corner
    laid = torch.tensor([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=torch.float64)
    return laid if move is None else laid @ within(size, move)


def within(size: tuple[int, int], move: Tensor) -> Tensor:
    """A warp ``(3,3)`` in the coordinates of ``ops.warp``, as one of the texels of ``size = (h,w)`` to texels."""
    h, w = size
    unit = torch.tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(unit) @ move.double() @ unit


def project(H: Tensor, points: Tensor) -> Tensor:
    """Texture points ``(N,2)`` in the picture, ``(N,2)`` float64; NaN for what is not in front of the camera."""
    q = torch.cat([points.double(), torch.ones(len(points), 1, dtype=torch.float64)], 1) @ H.T
    return q[:, :2] / torch.where(q[:, 2:] > 0, q[:, 2:], torch.nan)


def corners_of(size: tuple[int, int]) -> Tensor:
    """The corners of a texture ``(4,2)`` as (u, v): top left, top right, bottom right, bottom left."""
    h, w = size
    return torch.tensor([[0.0, 0], [w, 0], [w, h], [0, h]], dtype=torch.float64)


def moved(size: tuple[int, int], perspective: Tensor, degrees: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """A warp of a patch about its middle ``(3,3)``: turned, scaled and shifted, then its corners pulled.

    ``perspective (4,2)`` and ``shift (2,)`` in shares of the patch's own width and height, ``degrees ()``, ``factor
    ()``; see ``ops.warp``.
    """
    similar = warp.similarity(
        size, degrees=degrees.double()[None], factor=factor.double()[None], shift=shift.double()[None]
    )
    return (warp.from_corners(perspective[None]) @ similar)[0]
