"""The pinhole against closed forms."""

import numpy as np
import pytest

from robustseg.scenes.camera import Camera, to_pixels


def test_axis_points_to_the_principal_point_and_the_field_of_view_ends_at_the_border():
    cam = Camera(200, 100, 60.0, (1.0, 2.0, 3.0), yaw=0.3, pitch=-0.2, roll=0.1)
    right, down, ahead = cam.R_wc.T
    half = np.tan(np.radians(30.0))
    points = np.asarray(cam.eye) + 5 * np.stack([ahead, ahead + half * right, ahead + half / 2 * down])
    uv, z = to_pixels(cam, points)
    assert np.allclose(uv, [[100, 50], [200, 50], [100, 100]])
    assert np.allclose(z, 5)


@pytest.mark.parametrize(
    ("angles", "axis"), [((0, 0, 0), (1, 0, 0)), ((np.pi / 2, 0, 0), (0, 1, 0)), ((0, 0.5, 0), None)]
)
def test_angles_turn_left_and_up(angles, axis):
    ahead = Camera(4, 2, 90.0, (0, 0, 0), *angles).R_wc[:, 2]
    assert np.allclose(ahead, axis if axis else (np.cos(0.5), 0, np.sin(0.5)))


def test_roll_tilts_the_image_clockwise():
    cam = Camera(100, 100, 90.0, (0, 0, 0), roll=0.2)
    uv, _ = to_pixels(cam, np.array([[1.0, -0.5, 0.0]]))  # a point to the right, at the height of the eye
    assert uv[0, 0] > 50
    assert uv[0, 1] < 50  # the camera leaned right, so the world leans left: the point rises


def test_pose_is_a_rotation_and_maps_the_eye_to_zero():
    cam = Camera(4, 2, 50.0, (3.0, -1.0, 2.0), 1.1, -0.4, 0.7)
    R = cam.R_wc
    assert np.allclose(R.T @ R, np.eye(3))
    assert np.isclose(np.linalg.det(R), 1)
    assert np.allclose(cam.T_cw @ [3.0, -1.0, 2.0, 1.0], [0, 0, 0, 1])
