"""Where a texture falls: homographies by hand, registration at exactly zero, coverage, what is not to be seen."""

from __future__ import annotations

import math

import pytest
import torch

from robustseg.ops import place
from robustseg.physical.cast import cast, over, seen, texels_a_pixel
from robustseg.physical.placement import corners_of, flat, moved, plane, project

EYE = torch.eye(4, dtype=torch.float64)
K = torch.tensor([[100.0, 0, 60], [0, 100, 40], [0, 0, 1]], dtype=torch.float64)
SIZE, PICTURE = (20, 40), (80, 120)


def board(yaw: float = 0.4, pitch: float = 0.2, at: tuple[float, float, float] = (0.2, 0.1, 4.0)) -> torch.Tensor:
    """A board of 2 m x 1 m, turned; corners TL, TR, BR, BL in camera coordinates (x right, y down)."""
    flat_board = torch.tensor([[-1.0, -0.5, 0], [1, -0.5, 0], [1, 0.5, 0], [-1, 0.5, 0]], dtype=torch.float64)
    c, s, d, e = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    tilt = torch.tensor([[1, 0, 0], [0, d, -e], [0, e, d]], dtype=torch.float64)
    return flat_board @ (turn @ tilt).T + torch.tensor(at, dtype=torch.float64)


def pinhole(points: torch.Tensor) -> torch.Tensor:
    q = points @ K.T
    return q[:, :2] / q[:, 2:]


def area(quad: torch.Tensor) -> float:
    x, y = quad.unbind(-1)
    return 0.5 * abs(float((x * y.roll(-1) - y * x.roll(-1)).sum()))


def test_the_plane_of_a_board_is_where_a_pinhole_sees_its_points():
    corners = board()
    H = plane(K, EYE, corners, SIZE)
    assert torch.allclose(project(H, corners_of(SIZE)), pinhole(corners), atol=1e-9)
    inner = torch.tensor([[10.0, 5.0], [33.0, 17.0]])  # texels (u, v) at shares of the edges
    world = corners[0] + (corners[1] - corners[0]) * inner[:, :1] / 40 + (corners[3] - corners[0]) * inner[:, 1:] / 20
    assert torch.allclose(project(H, inner), pinhole(world), atol=1e-9)


def test_moving_the_camera_is_moving_the_board():
    T = EYE.clone()
    T[:3, 3] = torch.tensor([0.3, -0.2, 1.0])
    assert torch.allclose(plane(K, T, board(), SIZE), plane(K, EYE, board() + T[:3, 3], SIZE))


def by_hand(H: torch.Tensor, picture: tuple[int, int], f, fine: int = 24) -> torch.Tensor:
    """A continuous pattern f(u, v) on the texture plane, integrated over pixels; 0 outside the texture."""
    y = (torch.arange(picture[0] * fine, dtype=torch.float64) + 0.5) / fine
    x = (torch.arange(picture[1] * fine, dtype=torch.float64) + 0.5) / fine
    p = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x)), torch.ones(len(y), len(x))], -1).double()
    q = p @ torch.linalg.inv(H).T
    u, v = q[..., 0] / q[..., 2], q[..., 1] / q[..., 2]
    value = torch.where((u > 0) & (u < SIZE[1]) & (v > 0) & (v < SIZE[0]), f(u, v), 0.0)
    return value.view(picture[0], fine, picture[1], fine).mean((1, 3))


def test_the_registration_optimum_is_at_zero_shift():
    """Overlap alone would not tell half a pixel: the squared error against an integrated pattern does."""

    def pattern(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.4 * torch.sin(u * 0.9) * torch.cos(v * 0.7)

    small = (40, 60)
    H = torch.diag(torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)) @ plane(K, EYE, board(), SIZE)
    u, v = torch.arange(40) + 0.5, torch.arange(20) + 0.5
    texture = pattern(u[None].double(), v[:, None].double()).float()[None, None]
    truth = by_hand(H, small, pattern)
    error = {}
    for dx in (-0.25, -0.125, 0.0, 0.125, 0.25):
        for dy in (-0.25, -0.125, 0.0, 0.125, 0.25):
            moved_by = torch.tensor([[1, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=torch.float64)
            at = cast(moved_by @ H, SIZE, small)
            drawn = over(torch.zeros(1, 1, *small), seen(texture, at), at)[0, 0]
            error[dx, dy] = float((drawn - truth).square().mean())
    assert min(error, key=error.get) == (0.0, 0.0)  # type: ignore[arg-type]
    assert error[0.0, 0.0] < 0.4 * min(error[0.125, 0.0], error[0.0, 0.125])


@pytest.mark.parametrize("size", [(20, 40), (40, 20), (7, 3)])
def test_coverage_is_the_area_of_the_quadrilateral(size):
    H = plane(K, EYE, board(), size)
    at = cast(H, size, PICTURE, taps=16)
    assert float(at.cover.sum()) == pytest.approx(area(project(H, corners_of(size))), rel=2e-3)
    assert bool((at.mask().sum() >= at.cover.sum() - 1e-3).all())


def test_a_flat_patch_is_copied_to_the_bit_wherever_it_lies_and_cut_at_the_border():
    texture, picture = torch.rand(1, 3, 5, 9), torch.rand(1, 3, 30, 40)
    for top, left in ((4, 7), (-2, 35), (27, -3)):
        at = cast(flat((5, 9), (top, left)), (5, 9), (30, 40), taps=1)
        drawn = over(picture, seen(texture, at), at)
        expected = picture.clone()
        for r in range(5):
            for c in range(9):
                if 0 <= top + r < 30 and 0 <= left + c < 40:
                    expected[..., top + r, left + c] = texture[..., r, c]
        assert torch.allclose(drawn, expected, atol=1e-6)
        assert bool((drawn[0, :, ~at.mask()] == picture[0, :, ~at.mask()]).all())


def test_black_is_no_hole():
    at = cast(plane(K, EYE, board(), SIZE), SIZE, PICTURE)
    drawn = over(torch.ones(1, 3, *PICTURE), seen(torch.zeros(1, 3, *SIZE), at), at)
    inner = torch.zeros(PICTURE, dtype=torch.bool)
    top, bottom, left, right = at.window
    inner[top:bottom, left:right] = at.cover == 1
    assert int(inner.sum()) > 500
    assert float(drawn[0, :, inner].abs().max()) == 0


def test_what_stands_in_front_hides_it():
    at = cast(plane(K, EYE, board(), SIZE), SIZE, PICTURE)
    visible = torch.ones(PICTURE, dtype=torch.bool)
    visible[:, 60:] = False
    picture = torch.rand(1, 3, *PICTURE)
    drawn = over(picture, seen(torch.zeros(1, 3, *SIZE), at), at, visible)
    assert torch.equal(drawn[..., 60:], picture[..., 60:])
    assert not torch.equal(drawn[..., :60], picture[..., :60])


def test_nothing_is_seen_behind_the_camera_from_behind_or_outside():
    behind = plane(K, EYE, board(at=(0.0, 0.0, -4.0)), SIZE)
    mirrored = plane(K, EYE, board()[[1, 0, 3, 2]], SIZE)
    outside = plane(K, EYE, board(at=(30.0, 0.0, 4.0)), SIZE)
    for H in (behind, mirrored, outside):
        at = cast(H, SIZE, PICTURE)
        picture = torch.rand(1, 3, *PICTURE)
        assert at.empty
        assert not bool(at.mask().any())
        texture = torch.rand(1, 3, *SIZE, requires_grad=True)
        drawn = over(picture, seen(texture, at), at)
        assert torch.equal(drawn, picture)
        assert float(torch.autograd.grad(drawn.sum(), texture)[0].abs().max()) == 0  # there, and exactly zero


def test_a_board_that_reaches_behind_the_camera_shows_its_front_part_only():
    """A road-like board that runs from 2 m behind to 6 m in front of the camera, 1 m below it."""
    ground = torch.tensor([[-1.0, 1, 6], [1, 1, 6], [1, 1, -2], [-1, 1, -2]], dtype=torch.float64)
    at = cast(plane(K, EYE, ground, SIZE), SIZE, PICTURE)
    shown = at.mask()
    assert not bool(shown[:56].any())  # horizon at 40, far edge at 40 + 100/6 = 56.7
    assert bool(shown[58, 50:70].all())
    assert bool(shown[79, 30:90].all())


def test_texels_a_pixel_and_no_aliasing_far_away():
    """A fine checkerboard far away is grey; one tap a pixel would show noise."""
    assert texels_a_pixel(flat((8, 8), (0, 0), torch.diag(torch.tensor([0.25, 0.5, 1.0]))), (8, 8)) == pytest.approx(4)
    size = (128, 256)
    checks = ((torch.arange(128)[:, None] + torch.arange(256)) % 2).float()[None, None]
    at = cast(plane(K, EYE, board(at=(0.0, 0.0, 30.0)), size), size, PICTURE)
    drawn = seen(checks, at)[0, 0][at.cover > 0.5]
    assert len(drawn) > 8
    assert float((drawn - 0.5).abs().max()) < 0.05
    naive = cast(plane(K, EYE, board(at=(0.0, 0.0, 30.0)), size), size, PICTURE, taps=1)
    assert float((seen(checks, naive)[0, 0][naive.cover > 0.5] - 0.5).abs().max()) > 0.15


def test_the_gradient_is_that_of_finite_differences():
    at = cast(plane(K, EYE, board(), (6, 8)), (6, 8), (24, 36))
    weight = torch.rand(1, 1, 24, 36, dtype=torch.float64)
    texture = torch.rand(1, 1, 6, 8, dtype=torch.float64, requires_grad=True)
    at64 = type(at)(**{**at.__dict__, "grid": at.grid.double()})

    def f(t: torch.Tensor) -> torch.Tensor:
        return (weight * over(torch.zeros(1, 1, 24, 36).double(), seen(t, at64), at64)).sum()

    assert torch.autograd.gradcheck(f, (texture,), atol=1e-6)


def test_a_patch_is_moved_about_its_own_middle():
    zero = torch.zeros(())
    turned = moved((10, 20), torch.zeros(4, 2), zero + 90, zero + 1, torch.tensor([0.5, 0.0]))
    H = flat((10, 20), (30, 40), turned)
    # middle (50, 35) shifted by half its width; the top left corner turns clockwise to the top right of a standing box
    assert torch.allclose(project(H, corners_of((10, 20)))[0], torch.tensor([65.0, 25.0]).double(), atol=1e-9)


@pytest.mark.parametrize("text", ["", "64x128", "0x4@0.5/0.5", "4x4@1.5/0", "4x4@-0.1/0", "4x4@0.5"])
def test_a_place_that_is_none(text):
    from robustseg.errors import UserError

    with pytest.raises(UserError, match="is no place"):
        place.read(text)
