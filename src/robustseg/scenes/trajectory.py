"""A camera that drives up to a billboard: frames with calibrated light, re-rendered with any texture."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robustseg.errors import UserError
from robustseg.scenes import mitsuba
from robustseg.scenes.billboard import Site, advert, billboard
from robustseg.scenes.camera import Camera
from robustseg.scenes.frame import Frame
from robustseg.scenes.probe import load, require
from robustseg.scenes.scene import Scene
from robustseg.scenes.street import seed_of
from robustseg.scenes.tone import display, hazed, metered, to_bytes, to_linear

PAPER = 0.85  # albedo of white paper
SPP = 4
MARGIN = 8  # the filter reaches seven pixels


def trajectory(
    kind: str,
    seed: int = 0,
    *,
    poses: int = 8,
    size: tuple[int, int] = (128, 256),
    texture: np.ndarray | None = None,
    path: int = 0,
    spp: int = SPP,
    light: bool = True,
    weather: str | None = None,
    sun: tuple[float, float] | None = None,
) -> list[Frame]:
    """Frames from far to near before a billboard of this kind (wall, roadside, truck, shirt), in memory.

    `size` is (height, width) in pixels. `texture` (h,w,3), sRGB as uint8 or as floats in [0,1], is what the simulator
    hangs on the board: stretched over it, row 0 at the top; default a harmless advertisement. White reflects 85 %.
    `path` is another drive along the same street (other places, other small shakes): hold one out. `light=False`
    leaves out ``dark`` and ``gain``. `weather` is clear, cloudy, overcast, haze or wet, `sun` its (elevation,
    azimuth from ahead to the left) in degrees. Exposure is metered once a site, with a black board at the far end, and
    held: it depends neither on the texture nor on the poses. The same arguments give the same frames on one
    machine and variant. Raises UserError for bad arguments and a missing renderer.
    """
    if poses < 1 or spp < 1 or min(size) < 8:
        raise UserError("poses and spp must be at least 1 and the size at least 8x8")
    albedo = checked(advert() if texture is None else texture)
    require()
    site = (kind, seed, weather, sun)
    cameras = drive(_stage(*site).site, poses, size, path)
    start = [seed_of(f"billboard-{kind}-{seed}-{path}", k) % 2**31 for k in range(poses)]
    return [_shoot(site, camera, albedo, spp, s, light) for camera, s in zip(cameras, start, strict=True)]


def checked(texture: np.ndarray) -> np.ndarray:
    """A texture as linear light (h,w,3) float32 in [0,1], 1 = white paper; raises UserError for anything else."""
    a = np.asarray(texture)
    if a.ndim != 3 or a.shape[2] != 3 or min(a.shape[:2]) < 1:
        raise UserError(f"a texture is an array (height, width, 3), not {a.shape}")
    a = a / np.float32(255) if a.dtype == np.uint8 else a
    if not (np.isfinite(a).all() and a.min() >= 0 and a.max() <= 1):
        raise UserError("a texture's values lie in [0,1], or are uint8; divide by 255?")
    return to_linear(a)


AIM = {"wall": 0.55, "roadside": 0.55, "truck": 0.5, "shirt": 0.6}  # share of the way from the road to the board


def drive(site: Site, poses: int, size: tuple[int, int], path: int = 0) -> list[Camera]:
    """Cameras from far to near, all angles shaken a little; path 0 is evenly spaced, others are drawn between."""
    board, (far, near) = site.board, site.span
    rng = np.random.default_rng(seed_of(f"path-{board.kind}-{site.scene.facts['seed']}", path))
    step = (np.arange(poses) + (0.5 if path == 0 else rng.random(poses))) / poses
    away = far * (near / far) ** step  # as many poses between 24 m and 12 m as between 12 m and 6 m
    aside = 0.0 if path == 0 else float(rng.uniform(-0.35, 0.35))
    shake = rng.normal(0, 1, (poses, 5)) * [0.06, 0.02, 0.015, 0.010, 0.010]
    cameras = []
    for d, (dy, dz, yaw, pitch, roll) in zip(away, shake, strict=True):
        eye = (float(board.center[0] - d), site.lane + aside + dy, site.height + dz)
        bearing = np.arctan2(board.center[1] - eye[1], d)
        rise = np.arctan2(board.center[2] - eye[2], d)
        turn = AIM[board.kind]
        cameras.append(
            Camera(size[1], size[0], site.scene.camera.fov, eye,
                   float(turn * bearing + yaw), float(0.35 * rise + pitch), float(roll))
        )  # fmt: skip
    return cameras


@dataclass
class Stage:
    """A site built in the renderer, where only the bitmap of the board is swapped.

    The scalar variant of Mitsuba (3.9) reads beyond a bitmap that is swapped for one of another size: there the site
    is built anew for each size.
    """

    site: Site
    mi: Any
    built: Any
    order: list
    params: Any
    key: str

    @classmethod
    def of(cls, mi: Any, site: Site) -> Stage:
        """Builds the site with the poster it comes with."""
        built, order = mitsuba.build(mi, site.scene)
        params = mi.traverse(built)
        (key,) = (k for k in params.keys() if k.startswith("board.") and k.endswith("reflectance.data"))  # noqa: SIM118
        return cls(site, mi, built, order, params, key)

    def hang(self, albedo: np.ndarray) -> None:
        """Puts a bitmap (h,w,3) of linear albedo on the board."""
        if self.mi.variant().startswith("scalar") and albedo.shape != self.params[self.key].shape:
            print_ = replace(self.site.scene.materials["board"], texture=np.zeros(albedo.shape, np.uint8))
            scene = replace(self.site.scene, materials=self.site.scene.materials | {"board": print_})
            new = Stage.of(self.mi, replace(self.site, scene=scene))
            self.built, self.order, self.params = new.built, new.order, new.params
        self.params[self.key] = self.mi.TensorXf(np.ascontiguousarray(albedo, np.float32))
        self.params.update()


@functools.lru_cache(maxsize=2)
def _stage(kind: str, seed: int, weather: str | None, sun: tuple[float, float] | None) -> Stage:
    return Stage.of(load(), billboard(kind, seed, weather, sun))


@functools.lru_cache(maxsize=64)
def _level(site: tuple) -> float:
    """The exposure of a site, metered once with a black board at the far end on what is neither sky nor board."""
    stage = _stage(*site)
    scene, sight = _aimed(stage, stage.site.scene.camera)
    stage.hang(np.zeros((2, 2, 3)))
    smooth = mitsuba.light(stage.mi, stage.built, scene, sight, SPP, 0)[1]
    counts = np.isfinite(sight.z) & (mitsuba.maps(scene, sight)[1] != stage.site.board.instance)
    return metered(hazed(smooth, sight.z, scene.sky), counts, scene.exposure)


def _aimed(stage: Stage, camera: Camera) -> tuple[Scene, mitsuba.Sight]:
    scene = replace(stage.site.scene, camera=camera)
    return scene, mitsuba.look(stage.mi, stage.built, stage.order, scene)


def _shoot(site: tuple, camera: Camera, albedo: np.ndarray, spp: int, seed: int, light: bool) -> Frame:
    scale = _level(site)
    stage = _stage(*site)
    scene, sight = _aimed(stage, camera)
    label, instance, parts = mitsuba.maps(scene, sight)
    board = stage.site.board
    stage.hang(PAPER * albedo)
    linear, smooth = mitsuba.light(stage.mi, stage.built, scene, sight, spp, seed)
    exposed = (scale * hazed(smooth, sight.z, scene.sky)).astype(np.float32)
    dark = gain = None
    if light:
        dark, gain = _calibrated(stage, scene, sight, instance == board.instance, exposed, scale, 2 * spp, seed + 1)
    rgb = to_bytes(display(exposed))
    return Frame(
        rgb, linear, label, instance, parts, sight.z, camera.K, camera.T_cw, board, exposed, dark, gain
    )  # fmt: skip


def _calibrated(stage: Stage, scene: Scene, sight, mask: np.ndarray, exposed: np.ndarray, scale, spp: int, seed: int):
    """What the board looks like in black, and what white adds to it, traced in the window around it."""
    dark, gain = exposed.copy(), np.zeros_like(exposed)
    if mask.any():
        window = window_around(mask)
        part = np.s_[window[0] : window[1], window[2] : window[3]]
        seen = []
        for tone in (0.0, PAPER):
            stage.hang(np.full((2, 2, 3), tone))
            smooth = mitsuba.light(stage.mi, stage.built, scene, sight, spp, seed, window=window)[1]
            seen.append(scale * hazed(smooth, sight.z[part], scene.sky))
        dark[part], gain[part] = seen[0], seen[1] - seen[0]
    return dark, gain


def window_around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """A window (top, bottom, left, right) half as high and wide as the picture that holds the mask and a margin.

    The whole picture where half is too little: every size of window costs the renderer a compilation.

    >>> m = np.zeros((64, 64), bool)
    >>> m[50:60, 30:40] = True
    >>> window_around(m)
    (32, 64, 19, 51)
    """
    out = []
    for axis, side in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(1 - axis))
        low, high = int(hit[0]) - MARGIN, int(hit[-1]) + 1 + MARGIN
        if high - low > side // 2:
            return 0, mask.shape[0], 0, mask.shape[1]
        start = min(max((low + high - side // 2) // 2, 0), side - side // 2)
        out += [start, start + side // 2]
    return out[0], out[1], out[2], out[3]
