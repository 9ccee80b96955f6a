"""A flat rectangle in a photograph, known by its four corners: checks, homography, pixels, what moves one to another.

Convention: corners ``(4,2)`` as (x, y) in coordinates of pixel *edges*, so that the picture of ``(H,W)`` spans
[0,W] x [0,H]; clockwise as they are seen, from the one that is the print's top left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.ops import warp
from robustseg.physical.cast import cast

__all__ = ["SMALLEST", "aspect", "checked", "in_shares", "onto", "pixels_of", "similarity"]

SMALLEST = 2.0  # pixels: a shorter side, or a flatter corner, is a slip of the hand and no board
TAPS = 6


def checked(corners: object, picture: tuple[int, int], what: str) -> Tensor:
    """Corners that somebody wrote down, as ``(4,2)`` float64 in the picture of ``(H,W)``.

    Raises UserError, beginning with ``what``, for anything but four points in the picture that make a convex
    quadrilateral in clockwise order.

    >>> checked([[1, 1], [9, 1], [9, 5], [1, 5]], (10, 10), "a.jpg").tolist()[2]
    [9.0, 5.0]
    """
    try:
        made = torch.tensor(corners, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        made = torch.zeros(0)
    if made.shape != (4, 2) or not bool(made.isfinite().all()):
        raise UserError(f"{what}: a board has four corners [x, y] in pixels, clockwise from its top left")
    H, W = picture
    for n, (x, y) in enumerate(made.tolist(), 1):
        if not (0 <= x <= W and 0 <= y <= H):
            raise UserError(
                f"{what}: corner {n} at ({x:g}, {y:g}) lies outside the picture of {W} x {H} pixels; corners are "
                "pixels of the picture as a viewer shows it, and the whole board must be in it"
            )
    ahead, behind = made.roll(-1, 0) - made, made - made.roll(1, 0)
    if float(ahead.norm(dim=1).min()) < SMALLEST:
        raise UserError(f"{what}: two corners lie within {SMALLEST:g} pixels of each other; a board has four of them")
    turn = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
    height = turn / torch.maximum(ahead.norm(dim=1), behind.norm(dim=1))  # of each corner over its neighbours
    if bool((turn < 0).all()):
        raise UserError(f"{what}: the corners run anticlockwise; write top left, top right, bottom right, bottom left")
    if not bool((height > SMALLEST / 2).all()):
        raise UserError(
            f"{what}: the corners make no convex quadrilateral (two are swapped, or three lie on a line); write top "
            "left, top right, bottom right, bottom left"
        )
    return made


def onto(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """The homography ``(3,3)`` of a texture of ``size = (h,w)`` stretched over corners ``(4,2)`` of a picture.

    As `placement.plane` does for a known camera; exact for any pose of a flat rectangle.

    >>> from robustseg.physical.placement import project
    >>> H = onto(torch.tensor([[2.0, 1], [10, 1], [10, 5], [2, 5]]), (4, 8))
    >>> project(H, torch.tensor([[0.0, 0.0], [4.0, 2.0]])).round(decimals=6).tolist()
    [[2.0, 1.0], [6.0, 3.0]]
    """
    h, w = size
    unit = torch.tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]], dtype=torch.float64)
    old = torch.tensor(warp.CORNERS, dtype=torch.float64)
    return warp.from_corners(((corners.double() - old) / 2)[None])[0] @ unit


def pixels_of(corners: Tensor, picture: tuple[int, int]) -> Tensor:
    """The pixels that show any of the rectangle, ``(H,W)`` bool.

    >>> pixels_of(torch.tensor([[1.0, 0], [3, 0], [3, 1], [1, 1]]), (2, 4)).long().tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    return cast(onto(corners, (1, 1)), (1, 1), picture, taps=TAPS).mask()


def aspect(corners: Tensor) -> float:
    """Width over height by the mean lengths of opposite sides: right for a board seen from the front.

    >>> aspect(torch.tensor([[0.0, 0], [4, 0], [4, 2], [0, 2]]))
    2.0
    """
    side = (corners.roll(-1, 0) - corners).double().norm(dim=1)
    return float((side[0] + side[2]) / (side[1] + side[3]))


def similarity(old: Tensor, new: Tensor, turn: bool = True) -> tuple[Tensor, float]:
    """The turn, scaling and shift ``(3,3)`` of pixels that brings points ``(N,2)`` closest to others, and the error.

    Least squares (as complex numbers z -> a z + b); ``turn=False``: only the shift. The error is the root mean square
    distance in pixels that is left.

    >>> square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> moved, left = similarity(square, 2 * square + torch.tensor([3.0, 0.0]))
    >>> (moved @ torch.tensor([1.0, 1, 1]).double()).round(decimals=6).tolist(), round(left, 6)
    ([5.0, 2.0, 1.0], 0.0)
    """
    z, u = (torch.view_as_complex(p.double().contiguous()) for p in (old, new))
    z0, u0 = z - z.mean(), u - u.mean()
    a = (z0.conj() * u0).sum() / (z0.abs() ** 2).sum() if turn else torch.ones((), dtype=z.dtype)
    b = u.mean() - a * z.mean()
    left = float(((a * z + b - u).abs() ** 2).mean().sqrt())
    (p, q), (x, y) = (a.real, a.imag), (b.real, b.imag)
    zero, one = torch.zeros_like(p), torch.ones_like(p)
    return torch.stack([torch.stack(row) for row in ([p, -q, x], [q, p, y], [zero, zero, one])]), left


def in_shares(move: Tensor, picture: tuple[int, int]) -> Tensor:
    """A move of pixels ``(3,3)`` of a picture of ``(H,W)`` in the coordinates of `ops.warp`, from -1 to 1."""
    H, W = picture
    unit = torch.tensor([[2 / W, 0, -1], [0, 2 / H, -1], [0, 0, 1]], dtype=torch.float64)
    return unit @ move.double() @ torch.linalg.inv(unit)  # placement.within, the other way
