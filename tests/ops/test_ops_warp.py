"""Pixels, labels and boxes move together: exactly at whole pixels and right angles, and never half a pixel apart."""

from __future__ import annotations

import torch

from robustseg.ops import warp as wp
from robustseg.ops.blur import gaussian

SIZE = (10, 12)


def similar(*, degrees=0.0, factor=1.0, dx=0.0, dy=0.0, size=SIZE):
    shift = torch.tensor([[dx / size[1], dy / size[0]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    return wp.similarity(size, degrees=degrees * one, factor=factor * one, shift=shift)


def picture(size=SIZE):
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))


def numbered(size=SIZE):
    return torch.arange(size[0] * size[1]).view(1, *size)


def test_a_shift_by_whole_pixels_is_exact():
    right_and_up = similar(dx=3, dy=-2)
    x, y = picture(), numbered()
    assert torch.allclose(wp.pixels(x, right_and_up)[..., :8, 3:], x[..., 2:, :9], atol=1e-6)
    moved = wp.labels(y, right_and_up, 255)
    assert torch.equal(moved[:, :8, 3:], y[:, 2:, :9])
    assert (moved[:, 8:] == 255).all()
    assert (moved[..., :3] == 255).all()


def test_a_right_angle_is_exact_and_clockwise():
    y, x = numbered((10, 10)), picture((10, 10))
    quarter = similar(degrees=90, size=(10, 10))
    assert torch.equal(wp.labels(y, quarter, 255), torch.rot90(y, -1, (1, 2)))
    assert torch.allclose(wp.pixels(x, quarter), torch.rot90(x, -1, (2, 3)), atol=1e-5)


def test_angles_are_those_of_pixels_in_a_picture_that_is_not_square():
    y = numbered((4, 8))
    half = wp.labels(y, similar(degrees=180, size=(4, 8)), 255)
    assert torch.equal(half, y.flip(1, 2))
    quarter = wp.labels(y, similar(degrees=90, size=(4, 8)), 255)  # the middle 4×4 turns, the rest has gone
    assert torch.equal(quarter[:, :, 2:6], torch.rot90(y[:, :, 2:6], -1, (1, 2)))
    assert (quarter[:, :, :2] == 255).all()


def test_labels_follow_the_colours_of_a_colour_coded_picture():
    g = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (4, 6, 8), generator=g).repeat_interleave(8, 1).repeat_interleave(8, 2)
    coded = labels.unsqueeze(1).float()
    warp = wp.from_corners(0.1 * (2 * torch.rand(4, 4, 2, generator=g) - 1))
    shown, moved = wp.pixels(coded, warp)[:, 0], wp.labels(labels, warp, 255)
    sure = ((shown - 0.5).abs() > 0.26) & (moved != 255)  # of four pixels the nearest has a quarter at least
    assert torch.equal((shown > 0.5).long()[sure], moved[sure])
    assert 0.5 < sure.float().mean() < 1
    assert (moved == 255).any()


def test_corners_go_where_they_are_moved():
    moves = 0.1 * (2 * torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(2)) - 1)
    warp = wp.from_corners(moves)
    old = torch.tensor(wp.CORNERS, dtype=torch.float64)
    points = torch.einsum("bij,nj->bni", warp, torch.cat([old, torch.ones(4, 1)], 1))
    assert torch.allclose(points[..., :2] / points[..., 2:], old + 2 * moves.double())


def test_boxes_stay_around_what_they_hold():
    g = torch.Generator().manual_seed(3)
    masks = torch.zeros(2, 1, 40, 60, dtype=torch.bool)
    masks[:, :, 10:20, 15:35] = True
    warp = wp.from_corners(0.08 * (2 * torch.rand(2, 4, 2, generator=g) - 1))
    found = wp.boxes(torch.tensor([15.0, 10, 35, 20]).expand(2, 1, 4), warp, (40, 60))
    rows, columns = wp.labels(masks, warp, False)[:, 0].any(2), wp.labels(masks, warp, False)[:, 0].any(1)
    for i in range(2):
        y, x = rows[i].nonzero().flatten(), columns[i].nonzero().flatten()
        tight = torch.tensor([x[0], y[0], x[-1] + 1, y[-1] + 1]).float()
        assert (found[i, 0] - tight).abs().max() <= 1
    assert torch.equal(wp.boxes(torch.tensor([[[2.0, 4, 5, 8]]]), similar(dx=3, dy=-2), SIZE)[0, 0].round(),
                       torch.tensor([5.0, 2, 8, 6]))  # fmt: skip
    gone = wp.boxes(torch.tensor([[[0.0, 0, 2, 2], [0, 0, 0, 0]]]), similar(dx=-4), SIZE)
    assert torch.equal(gone, torch.zeros(1, 2, 4))


def test_the_gradient_of_a_warp_and_of_a_blur():
    x = picture((5, 6)).double().requires_grad_()
    warp = wp.from_corners(0.1 * torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(4)))
    assert torch.autograd.gradcheck(lambda v: wp.pixels(v, warp), x)
    assert torch.autograd.gradcheck(lambda v: gaussian(v, torch.tensor([0.7]), 1.0), x, atol=1e-4)


def test_a_blur_is_that_of_each_image_alone_and_keeps_the_mean():
    x, sigma = torch.cat([picture(), picture().flip(-1)]), torch.tensor([0.5, 2.0])
    both = gaussian(x, sigma, 2.0)
    for i in range(2):
        assert torch.allclose(gaussian(x[i : i + 1], sigma[i : i + 1], 2.0), both[i : i + 1], atol=1e-6)
    assert torch.allclose(gaussian(torch.full((1, 3, 8, 8), 0.3), torch.tensor([1.5]), 2.0), torch.tensor(0.3))
    dot = torch.zeros(1, 1, 21, 21)
    dot[..., 10, 10] = 1
    spread = gaussian(dot, torch.tensor([1.5]), 2.0)[0, 0].sum(0)
    variance = (spread * (torch.arange(21) - 10.0) ** 2).sum()
    assert abs(float(variance) - 1.5**2) < 0.02
