"""The CARLA backend against an imitation of its client; nothing here has met a server."""

import sys

import numpy as np
import pytest

import carla_toys
from robustseg.errors import UserError
from robustseg.scenes import carla
from robustseg.scenes.scene import CAR, VOID

CORNERS = np.array([[10.0, -2, 4], [10, 2, 4], [10, 2, 2], [10, -2, 2]])  # CARLA: y to the right
POSE = ((1.0, 0.5, 1.5), (4.0, -6.0, 2.0))


@pytest.fixture
def world(monkeypatch):
    world = carla_toys.World()
    monkeypatch.setitem(sys.modules, "carla", carla_toys.client(world))
    return world


def shoot(on=None, pose=POSE):
    with carla.connect(size=(48, 96), fov=80.0) as camera:
        return camera.shoot(*pose, on)


def test_pictures_belong_to_their_tick_and_are_decoded(world):
    world.tag = 14  # a car
    frame = shoot()
    assert (frame.rgb == (10, 20, 30)).all()
    assert (frame.label == CAR).all()
    assert (frame.instance == 0x3412).all()
    world.tag = 24
    frame = shoot()
    assert (frame.label == 0).all()
    assert (frame.instance == 0).all()


def test_pose_intrinsics_and_depth_agree(world):
    """A pixel's depth, put back into the world, lies on the wall."""
    frame = shoot()
    y, x = np.mgrid[0:48, 0:96] + 0.5
    points = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(frame.K).T * frame.depth_z[..., None]
    at = (points - frame.T_cw[:3, 3]) @ frame.T_cw[:3, :3]
    assert np.abs(at[..., 0] - 10).max() < 0.01
    assert abs(np.linalg.det(frame.T_cw[:3, :3]) + 1) < 1e-9  # from a left-handed world


def test_the_board_is_where_its_corners_fall(world):
    on = carla.board("roadside", CORNERS)
    frame = shoot(on)
    q = (CORNERS @ frame.T_cw[:3, :3].T + frame.T_cw[:3, 3]) @ frame.K.T
    q = q[:, :2] / q[:, 2:]
    assert q[0, 0] < q[1, 0]
    assert q[0, 1] < q[3, 1]
    area = 0.5 * abs(sum(np.linalg.det(np.stack([q[i], q[(i + 1) % 4]])) for i in range(4)))
    assert area > 300
    assert abs(frame.board_mask.sum() - area) < 0.05 * area
    assert (frame.label[frame.board_mask] == VOID).all()
    assert (frame.label[~frame.board_mask] == 2).all()


@pytest.mark.parametrize("wall", [6.0, 30.0])
def test_a_board_behind_or_without_its_surface_is_not_seen(world, wall):
    world.wall = wall
    assert not shoot(carla.board("roadside", CORNERS)).board_mask.any()


def test_the_camera_is_steady_and_everything_is_given_back(world):
    def fail():
        with carla.connect(size=(8, 16)):
            assert world.settings["synchronous_mode"]
            raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        fail()
    assert not world.settings["synchronous_mode"]
    assert len(world.sensors) == 3
    assert not any(s.alive for s in world.sensors)
    assert world.sensors[0].blueprint.values["exposure_mode"] == "manual"
    assert "exposure_mode" not in world.sensors[2].blueprint.values


def test_a_texture_is_painted_upside_down_as_carla_counts_rows(world):
    texture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with carla.connect(size=(8, 16)) as camera:
        camera.hang("BP_Billboard_01", texture)
        with pytest.raises(UserError, match="no object 'Tree'"):
            camera.hang("Tree", texture)
        with pytest.raises(UserError, match="uint8"):
            camera.hang("BP_Billboard_01", texture / 255)
    name, parameter, painted = world.painted
    assert (name, parameter) == ("BP_Billboard_01", "diffuse")
    assert np.array_equal(painted.texels, texture[::-1])


def test_what_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "carla", None)
    with pytest.raises(UserError, match='pip install "robustseg'), carla.connect():
        pass
    monkeypatch.setitem(sys.modules, "carla", carla_toys.client(None, refuses=True))
    with pytest.raises(UserError, match="no CARLA server at localhost:2000"), carla.connect():
        pass


def test_a_silent_sensor_is_one_line(world):
    world.silent = ("sensor.camera.depth",)
    with carla.connect(size=(8, 16)) as camera, pytest.raises(UserError, match="depth camera gave no picture"):
        camera.shoot(*POSE, timeout=0.1)


def test_boards_that_are_no_rectangle_are_one_line():
    with pytest.raises(UserError, match="four corners"):
        carla.board("wall", CORNERS[[0, 2, 1, 3]])
