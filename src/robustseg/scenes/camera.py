"""Pinhole camera with a free pose, in the OpenCV convention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def to_pixels(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points (N,3) in metres -> image points (N,2) in pixels and depth z (N,) in metres.

    Pixel i spans [i, i+1) and its centre is i + 0.5. Points with z <= 0 are behind the camera.

    >>> cam = Camera(width=4, height=2, fov=90.0, eye=(0.0, 0.0, 0.0))
    >>> to_pixels(cam, np.array([[2.0, 0.0, 0.0], [2.0, -1.0, 0.0]]))[0].tolist()
    [[2.0, 1.0], [3.0, 1.0]]
    """
    T = camera.T_cw
    q = np.asarray(points, float) @ T[:3, :3].T + T[:3, 3]
    uv = q @ camera.K.T
    return uv[:, :2] / uv[:, 2:], q[:, 2]


@dataclass(frozen=True)
class Camera:
    """A pinhole: image size (pixels), horizontal field of view (degrees), eye (metres), angles (radians).

    World: right-handed, x forward along the road, y left, z up. Camera: x right, y down, z forward.
    yaw turns left, pitch looks up, roll tilts the image clockwise; all zero looks along +x.
    """

    width: int
    height: int
    fov: float
    eye: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def K(self) -> np.ndarray:
        """Intrinsics (3,3); principal point in the middle of the image, square pixels."""
        f = self.width / 2 / np.tan(np.radians(self.fov) / 2)
        return np.array([[f, 0, self.width / 2], [0, f, self.height / 2], [0, 0, 1.0]])

    @property
    def R_wc(self) -> np.ndarray:
        """Rotation camera -> world (3,3); its columns are the camera's right, down and forward axes."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        forward = np.array([cy * cp, sy * cp, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        return np.stack([cr * right + sr * down, cr * down - sr * right, forward], 1)

    @property
    def T_cw(self) -> np.ndarray:
        """Rigid transform world -> camera (4,4)."""
        T = np.eye(4)
        T[:3, :3] = self.R_wc.T
        T[:3, 3] = -self.R_wc.T @ np.asarray(self.eye, float)
        return T
