"""Four corners in a photograph: the homography, what is refused, what brings one photograph over another."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

from robustseg.errors import UserError
from robustseg.ops import warp
from robustseg.ops.place import Place
from robustseg.physical import photo, quad
from robustseg.physical.hanging import Variation, hang, stretch
from robustseg.physical.placement import corners_of, plane, project

GOOD = [[2.0, 1], [10, 2], [9, 7], [3, 6]]


@pytest.mark.parametrize("module", [photo, quad])
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_corners_fall_on_corners_and_the_homography_is_that_of_the_camera():
    corners = torch.tensor(GOOD)
    H = quad.onto(corners, (6, 9))
    assert torch.allclose(project(H, corners_of((6, 9))), corners.double())
    K = torch.tensor([[50.0, 0, 32], [0, 50, 16], [0, 0, 1]])
    board = torch.tensor([[-1.0, -1, 5], [1, -1, 7], [1, 0.5, 7], [-1, 0.5, 5]])
    known = plane(K, torch.eye(4), board, (6, 9))
    seen = project(known, corners_of((6, 9)))
    assert torch.allclose(quad.onto(seen, (6, 9)) / quad.onto(seen, (6, 9))[2, 2], known / known[2, 2], atol=1e-9)


def test_the_pixels_are_those_of_the_area():
    corners = torch.tensor([[10.0, 8], [50, 4], [46, 28], [12, 30]])
    x, y = corners.unbind(1)
    area = float(0.5 * (x * y.roll(-1) - x.roll(-1) * y).sum())
    mask = quad.pixels_of(corners, (40, 64))
    assert area <= int(mask.sum()) <= area + 0.6 * 2 * (40 + 24) + 8
    assert mask[16, 30]
    assert not mask[:3].any()


@pytest.mark.parametrize(
    ("corners", "says"),
    [
        (GOOD[:3], "four corners"),
        ([[1, 2]] * 3 + [["a", 2]], "four corners"),
        ("nothing", "four corners"),
        ([[10**400, 1], *GOOD[1:]], "four corners"),
        ({"x": 1}, "four corners"),
        ([[float("nan"), 1], *GOOD[1:]], "four corners"),
        ([[2, 1], [99, 2], [9, 7], [3, 6]], r"corner 2 at \(99, 2\) lies outside the picture of 12 x 10"),
        ([[-1, 1], *GOOD[1:]], "corner 1"),
        (GOOD[::-1], "anticlockwise"),
        ([GOOD[0], GOOD[2], GOOD[1], GOOD[3]], "no convex"),
        ([[2, 1], [6, 1], [10, 1], [3, 6]], "no convex"),
        ([[2, 1], [10, 2], [4, 3], [3, 9]], "no convex"),
        ([[2, 1], [2, 1], [9, 7], [3, 6]], "within 2 pixels"),
    ],
)
def test_what_is_no_board(corners, says):
    with pytest.raises(UserError, match=f"^b.jpg: .*{says}"):
        quad.checked(corners, (10, 12), "b.jpg")


def test_a_hand_that_turned_is_found_and_turned_back():
    angle, factor = math.radians(3), 1.02
    R = factor * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    old = torch.tensor(GOOD).double()
    new = old @ R.T + torch.tensor([3.0, -1.0]).double()
    move, left = quad.similarity(old, new)
    assert left < 1e-9
    assert torch.allclose(move[:2, :2], R)
    shifted, left = quad.similarity(old, new, turn=False)
    assert torch.allclose(shifted[:2, :2], torch.eye(2).double())
    assert left > 0.1


def test_a_shift_of_pixels_is_a_shift_of_the_map():
    labels = torch.arange(12).view(1, 3, 4)
    move = torch.eye(3).double()
    move[0, 2] = 1
    found = warp.labels(labels, quad.in_shares(move, (3, 4))[None], -1)
    assert torch.equal(found[0, :, 1:], labels[0, :, :-1])
    assert bool((found[0, :, 0] == -1).all())


def test_a_patch_stretched_over_a_flat_rectangle_hangs_as_one_laid_flat_there():
    vary = Variation(perspective=0.1, rotate=10, shift=0.2, scale=(0.8, 1.2), brightness=0.1, blur=(0.5, 1.0))
    picture, patch = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 8, 16)
    place = Place((8, 16), (0.5, 0.5))
    top, left = place.corner((40, 60))
    corners = torch.tensor([[left, top], [left + 16, top], [left + 16, top + 8], [left, top + 8]]).double()
    one = hang(place, (40, 60), vary, torch.Generator().manual_seed(3), patch).show(picture, patch)
    H = quad.onto(corners, (8, 16))
    two = stretch(H, (40, 60), vary, torch.Generator().manual_seed(3), patch).show(picture, patch)
    assert not torch.equal(one, picture)
    assert float((one - two).abs().max()) < 1e-4
