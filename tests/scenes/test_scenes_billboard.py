"""Sites with a billboard, before anything is rendered: geometry that can be checked by projecting corners."""

import numpy as np
import pytest

from robustseg.errors import UserError
from robustseg.scenes.billboard import KINDS, advert, billboard, rectangle
from robustseg.scenes.camera import to_pixels
from robustseg.scenes.scene import VOID
from robustseg.scenes.trajectory import drive


@pytest.fixture(scope="module", params=KINDS)
def site(request):
    return billboard(request.param, 3)


def test_corners_start_top_left_as_the_reader_sees_them(site):
    for camera in drive(site, 5, (64, 128)):
        (tl, tr, br, bl), z = to_pixels(camera, site.board.corners)
        assert (z > 0).all()
        assert tl[0] < tr[0]
        assert bl[0] < br[0]
        assert tl[1] < bl[1]
        assert tr[1] < br[1]


def test_a_board_is_a_rectangle_that_faces_the_cameras_and_stays_in_the_picture(site):
    tl, tr, br, bl = site.board.corners
    assert np.allclose(tr - tl, br - bl)
    assert abs((tr - tl) @ (bl - tl)) < 1e-9
    far, near = site.span
    seen = [site.board.seen_from(c.eye) for c in drive(site, 6, (64, 128))]
    assert all(angle < 60 for _, angle in seen)
    assert (np.diff([distance for distance, _ in seen]) < 0).all()
    assert near <= seen[-1][0] < seen[0][0] <= far * 1.15
    for path in (0, 1):
        for camera in drive(site, 6, (64, 128), path):
            corners, _ = to_pixels(camera, site.board.corners)
            clipped = corners.clip(0, [128, 64])
            area = lambda q: abs(np.linalg.det(np.stack([q[1] - q[0], q[3] - q[0]])))  # noqa: E731
            assert area(clipped) > 0.6 * area(corners)
            assert area(clipped) > 12


def test_paths_differ_and_each_is_always_the_same(site):
    again = billboard(site.board.kind, 3)
    assert np.array_equal(again.board.corners, site.board.corners)
    assert drive(again, 4, (64, 128)) == drive(site, 4, (64, 128))
    eyes = lambda path: np.array([c.eye for c in drive(site, 4, (64, 128), path)])  # noqa: E731
    assert np.abs(eyes(0) - eyes(1)).max() > 0.05
    other = billboard(site.board.kind, 4)
    assert len(other.scene.parts) != len(site.scene.parts)


def test_only_the_print_carries_the_boards_id(site):
    (part,) = [p for p in site.scene.parts if p.instance == site.board.instance]
    assert part.label == VOID
    assert part.material == "board"
    assert {tuple(v) for v in part.mesh.V} == {tuple(v) for v in site.board.corners}


def test_weather_and_sun_are_what_was_asked_for():
    made = billboard("roadside", 0, "haze", (30.0, 90.0))
    assert made.scene.facts["weather"] == "haze"
    assert np.allclose(made.scene.sky.sun_direction, [0, np.cos(np.radians(30)), 0.5])
    clear = billboard("roadside", 0, "clear", (30.0, 90.0))
    assert made.scene.sky.haze > 5 * clear.scene.sky.haze
    assert np.array_equal(made.board.corners, clear.board.corners)


@pytest.mark.parametrize("bad", [("tree", None), ("wall", "snow")])
def test_unknown_names_are_one_line(bad):
    with pytest.raises(UserError, match="choose one of") as caught:
        billboard(bad[0], 0, bad[1])
    assert "\n" not in str(caught.value)


def test_a_rectangle_by_hand():
    c = rectangle((10, 0, 2), np.pi, 4.0, 2.0)  # faces -x: its reader looks along +x and has +y on the left
    assert np.allclose(c, [[10, 2, 3], [10, -2, 3], [10, -2, 1], [10, 2, 1]])


def test_the_advertisement_is_told_apart_from_its_mirror_images():
    a = advert(60, 30).astype(float)
    assert a.shape == (30, 60, 3)
    assert min(np.abs(a - b).mean() for b in (a[::-1], a[:, ::-1], a[::-1, ::-1])) > 10
