"""The CARLA backend: the same frames from a running CARLA server. Tested against an imitation of its client only.

Source of the sensors' encodings and tags: CARLA's documentation, release 0.9.16.
"""

from __future__ import annotations

import importlib
import math
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robustseg.errors import UserError
from robustseg.scenes.board import Board
from robustseg.scenes.frame import Frame
from robustseg.scenes.scene import ROAD, SKY, THINGS, VOID
from robustseg.scenes.tone import to_linear

SENSORS = ("rgb", "instance_segmentation", "depth")
STEADY = {  # whatever changes pixels between two renders of one pose
    "exposure_mode": "manual", "motion_blur_intensity": "0.0", "motion_blur_max_distortion": "0.0",
    "bloom_intensity": "0.0", "lens_flare_intensity": "0.0", "lens_circle_multiplier": "0.0",
    "chromatic_aberration_intensity": "0.0",
}  # fmt: skip
TURN = np.array([[0, 1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])  # ahead, right, up -> right, down, ahead
BOARD_ID = 1 << 16  # CARLA's own ids have sixteen bits
TRAIN_ID = np.full(256, VOID, np.uint8)
TRAIN_ID[1:20] = np.arange(19)  # tags 1 to 19 are the Cityscapes train ids plus one
TRAIN_ID[24] = ROAD  # road lines


def intrinsics(width: int, height: int, fov: float) -> np.ndarray:
    """K (3,3) of a camera with this horizontal field of view in degrees; square pixels, centre in the middle."""
    f = width / (2 * math.tan(math.radians(fov) / 2))
    return np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]])


def depth_of(bgra: np.ndarray) -> np.ndarray:
    """Metres along the viewing axis from the depth camera's bytes (h,w,4); 1000 m and more is the sky, inf.

    >>> depth_of(np.array([[[0, 0, 128, 255]]], np.uint8)).round(4).tolist()
    [[0.0076]]
    """
    b, g, r = (bgra[..., k].astype(np.float64) for k in range(3))
    z = 1000.0 * (r + 256 * g + 65536 * b) / (2**24 - 1)
    return np.where(z >= 999.9, np.inf, z).astype(np.float32)


def tags_and_ids(bgra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semantic tag and object id (h,w) of the instance camera's bytes: R the tag, G the id's low byte, B its high."""
    return bgra[..., 2].copy(), bgra[..., 1].astype(np.int32) | (bgra[..., 0].astype(np.int32) << 8)


def board(kind: str, corners: np.ndarray) -> Board:
    """A billboard whose corners (4,3) are CARLA world points: top left, top right, bottom right, bottom left."""
    c = np.asarray(corners, float)
    if c.shape != (4, 3) or not np.allclose(c[1] - c[0], c[2] - c[3], atol=1e-3):
        raise UserError("a board needs its four corners (4,3), metres: top left, top right, bottom right, bottom left")
    return Board(kind, c, BOARD_ID, VOID)


@contextmanager
def connect(host: str = "localhost", port: int = 2000, *, size=(512, 1024), fov: float = 90.0) -> Iterator[Camera]:
    """A camera of (height, width) pixels in the server's world; gives sensors and settings back at the end.

    Raises UserError where the client is missing and where no server answers.
    """
    try:
        carla = importlib.import_module("carla")
    except ImportError:
        raise UserError('the CARLA backend needs its client; run: pip install "robustseg[carla]"') from None
    client = carla.Client(host, port)
    client.set_timeout(10.0)
    try:
        world = client.get_world()
    except RuntimeError as e:
        raise UserError(f"no CARLA server at {host}:{port} ({e}); start CarlaUE4.sh of the client's version") from None
    camera = Camera(carla, world, size, fov, {}, {})
    before = world.get_settings()
    try:
        world.apply_settings(_synchronous(world.get_settings()))
        _spawn(camera)
        yield camera
    finally:
        for sensor in camera.sensors.values():
            sensor.stop()
            sensor.destroy()
        world.apply_settings(before)


@dataclass(frozen=True)
class Camera:
    """Three sensors at one place: colour, instances, depth. Made by `connect`."""

    carla: Any
    world: Any
    size: tuple[int, int]
    fov: float
    sensors: dict[str, Any]
    queues: dict[str, queue.Queue]

    def shoot(self, place, rotation, on: Board | None = None, timeout: float = 20.0) -> Frame:
        """The frame at `place` (x,y,z) in metres with `rotation` (pitch, yaw, roll) in degrees, CARLA's conventions.

        Raises UserError when a sensor gives nothing for this tick.
        """
        pose = self.carla.Transform(self.carla.Location(*place), self.carla.Rotation(*rotation))
        for sensor in self.sensors.values():
            sensor.set_transform(pose)
        tick = self.world.tick()
        images = {kind: _of_tick(self.queues[kind], tick, kind, timeout) for kind in SENSORS}
        T = TURN @ np.array(images["rgb"].transform.get_inverse_matrix())
        wide, high = self.size[1], self.size[0]
        return framed({k: _bytes(im) for k, im in images.items()}, intrinsics(wide, high, self.fov), T, on)

    def hang(self, name: str, texture: np.ndarray) -> None:
        """Paints the object's first material slot with a texture (h,w,3) uint8 sRGB, row 0 at the top."""
        if texture.dtype != np.uint8 or texture.ndim != 3 or texture.shape[2] != 3:
            raise UserError(f"CARLA wants a texture (height, width, 3) of uint8, not {texture.shape} {texture.dtype}")
        if name not in self.world.get_names_of_all_objects():
            raise UserError(f"the CARLA map has no object {name!r}; see world.get_names_of_all_objects()")
        h, w = texture.shape[:2]
        painted = self.carla.TextureColor(w, h)
        for y in range(h):
            for x in range(w):
                r, g, b = (int(v) for v in texture[y, x])
                painted.set(x, h - 1 - y, self.carla.Color(r, g, b, 255))  # CARLA's rows count from the bottom
        self.world.apply_color_texture_to_object(name, self.carla.MaterialParameter.Diffuse, painted)


def framed(images: dict[str, np.ndarray], K: np.ndarray, T_cw: np.ndarray, on: Board | None) -> Frame:
    """A Frame from the sensors' bytes, each (h,w,4) BGRA."""
    rgb = np.ascontiguousarray(images["rgb"][..., 2::-1])
    tag, instance = tags_and_ids(images["instance_segmentation"])
    label = TRAIN_ID[tag]
    instance = np.where(np.isin(label, THINGS), instance, 0).astype(np.int32)
    z = np.where(label == SKY, np.float32(np.inf), depth_of(images["depth"]))
    parts = np.zeros_like(label)  # CARLA does not tell clothing from skin
    light = to_linear(rgb / np.float32(255))
    frame = Frame(rgb, light, label, instance, parts, z, K, T_cw, exposed=light)
    if on is None:
        return frame
    mask = seen_of(on, frame)
    return replace(
        frame, board=on, label=np.where(mask, VOID, label).astype(np.uint8),
        instance=np.where(mask, on.instance, instance).astype(np.int32),
    )  # fmt: skip


def seen_of(on: Board, frame: Frame) -> np.ndarray:
    """Pixels (h,w) whose centre's ray meets the board where the depth camera sees its plane, to 10 cm or 1 %."""
    h, w = frame.label.shape
    y, x = np.mgrid[0:h, 0:w] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(frame.K).T
    tl, tr, _, bl = on.corners @ frame.T_cw[:3, :3].T + frame.T_cw[:3, 3]
    e, f = tr - tl, bl - tl
    n = np.cross(e, f)
    slope = rays @ n
    z = (tl @ n) / np.where(np.abs(slope) > 1e-9, slope, np.nan)
    p = rays * z[..., None] - tl
    u, v = p @ e / (e @ e), p @ f / (f @ f)
    inside = (z > 0) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    return inside & (np.abs(frame.depth_z - z) < np.maximum(0.1, 0.01 * z))


def _synchronous(settings):
    settings.synchronous_mode = True
    settings.fixed_delta_seconds = 0.05
    return settings


def _spawn(camera: Camera) -> None:
    library = camera.world.get_blueprint_library()
    h, w = camera.size
    for kind in SENSORS:
        blueprint = library.find(f"sensor.camera.{kind}")
        wanted = {"image_size_x": str(w), "image_size_y": str(h), "fov": str(camera.fov)}
        for name, value in (wanted | (STEADY if kind == "rgb" else {})).items():
            if name in wanted or blueprint.has_attribute(name):
                blueprint.set_attribute(name, value)
        camera.queues[kind] = queue.Queue()
        camera.sensors[kind] = camera.world.spawn_actor(blueprint, camera.carla.Transform())
        camera.sensors[kind].listen(camera.queues[kind].put)


def _of_tick(images: queue.Queue, tick: int, kind: str, timeout: float):
    while True:  # frames of earlier ticks may still lie in the queue
        try:
            image = images.get(timeout=timeout)
        except queue.Empty:
            raise UserError(f"CARLA's {kind} camera gave no picture in {timeout:g} s; is the server busy?") from None
        if image.frame == tick:
            return image


def _bytes(image) -> np.ndarray:
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
