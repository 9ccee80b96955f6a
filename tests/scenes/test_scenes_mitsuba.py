"""The renderer against geometry that can be worked out by hand."""

import os
import subprocess
import sys

import numpy as np
import pytest

from robustseg.scenes.camera import Camera, to_pixels
from robustseg.scenes.meshes import box, quads
from robustseg.scenes.scene import CAR, PERSON, RIDER, ROAD, SKY, THINGS, Material, Part, Scene, Sky
from robustseg.scenes.sky import directions, draw_sky
from robustseg.scenes.street import street

SHIFTS = (-0.5, -0.25, 0.0, 0.25, 0.5)
POSES = [(0.0, 0.0, 0.0), (0.25, -0.1, 0.05), (-0.2, 0.15, -0.08)]


def even_sky(sun=(0.0, 0.0, 1.0), irradiance=0.0):
    return Sky(np.ones((8, 16, 3), np.float32), sun, (irradiance,) * 3, 0.0, (1.0, 1.0, 1.0))


def board(texture=None):
    """A board 2 m wide and 1 m high, 6 m ahead, turned by 0.3 rad; and its corners."""
    flat = quads([[(0, 1, -0.5), (0, -1, -0.5), (0, -1, 0.5), (0, 1, 0.5)]], [[(0, 0), (1, 0), (1, 1), (0, 1)]])
    mesh = flat.moved((6.0, 0.1, 0.05), 0.3)
    return Part(mesh, CAR, "board", (0.8, 0.2, 0.2), instance=5), mesh.V


def inside(camera, corners, shift=(0.0, 0.0)):
    """Board coordinates in [0,1]^2 of every pixel centre, by intersecting its ray with the board's plane."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = np.stack([x - shift[0], y - shift[1], np.ones_like(x)], -1) @ np.linalg.inv(camera.K).T @ camera.R_wc.T
    o, e, f = corners[0], corners[1] - corners[0], corners[3] - corners[0]
    n = np.cross(e, f)
    t = ((o - np.asarray(camera.eye)) @ n) / (rays @ n)
    p = np.asarray(camera.eye) + t[..., None] * rays - o
    u, v = p @ e / (e @ e), p @ f / (f @ f)
    return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1) & (t > 0), u, v, t


@pytest.mark.parametrize("pose", POSES)
def test_ids_and_depth_are_exact_at_pixel_centres(mitsuba, pose):
    from robustseg.scenes.mitsuba import render

    camera = Camera(96, 64, 40.0, (0.0, 0.2, 0.1), *pose)
    part, corners = board()
    frame = render(Scene((part,), {"board": Material("matte")}, camera, even_sky()), spp=1)
    mask, _, _, t = inside(camera, corners)
    assert mask.sum() > 300
    assert np.array_equal(frame.instance == 5, mask)
    assert np.array_equal(frame.label, np.where(mask, CAR, SKY))
    assert np.allclose(frame.depth_z[mask], t[mask], atol=1e-4)
    assert np.isinf(frame.depth_z[~mask]).all()
    scores = {}
    for dx in SHIFTS:
        for dy in SHIFTS:
            moved = inside(camera, corners, (dx, dy))[0]
            scores[dx, dy] = (moved & mask).sum() / (moved | mask).sum()
    assert scores[0.0, 0.0] == 1
    assert all(score < 1 for shift, score in scores.items() if 0.5 in np.abs(shift))


def test_colour_is_registered_with_the_ids_to_a_fraction_of_a_pixel(mitsuba):
    """A smooth pattern on the board fits the analytic projection best at exactly zero shift."""
    from robustseg.scenes.mitsuba import render

    camera = Camera(96, 64, 32.0, (0.0, 0.2, 0.1), 0.03, 0.02, 0.05)
    part, corners = board()
    v, u = (np.mgrid[0:256, 0:256] + 0.5) / 256
    pattern = 0.5 + 0.2 * np.sin(2 * np.pi * 5 * u) * np.cos(2 * np.pi * 4 * v)
    texture = (np.repeat(pattern[..., None], 3, 2) * 255).round().astype(np.uint8)
    scene = Scene((part,), {"board": Material("surface", texture, 1.0)}, camera, even_sky())
    frame = render(scene, spp=256, clean=False)
    core = inside(camera, corners)[0]
    core[1:] &= core[:-1].copy()
    core[:-1] &= core[1:].copy()
    core[:, 1:] &= core[:, :-1].copy()
    core[:, :-1] &= core[:, 1:].copy()
    seen = frame.linear[core].mean(-1)
    errors = {}
    for dx in SHIFTS:
        for dy in SHIFTS:
            _, a, b, _ = inside(camera, corners, (dx, dy))
            srgb = 0.5 + 0.2 * np.sin(2 * np.pi * 5 * a[core]) * np.cos(2 * np.pi * 4 * (1 - b[core]))
            guess = ((srgb + 0.055) / 1.055) ** 2.4
            fit = np.polyfit(guess, seen, 1)  # unknown lighting: any gain and offset
            errors[dx, dy] = np.mean((np.polyval(fit, guess) - seen) ** 2) + (fit[0] < 0)
    assert min(errors, key=errors.get) == (0.0, 0.0)


def test_the_panorama_and_the_sun_stand_where_the_sky_says(mitsuba):
    from robustseg.scenes.mitsuba import render

    sky, _ = draw_sky(np.random.default_rng(2), "clear")
    d = np.asarray(sky.sun_direction)
    yaw, pitch = np.arctan2(d[1], d[0]), np.arcsin(d[2])
    spot = np.exp(-((1 - directions(256) @ d) / 0.002))[..., None].repeat(3, 2).astype(np.float32)
    camera = Camera(64, 48, 60.0, (0.0, 0.0, 1.0), yaw + 0.15, pitch - 0.1)
    ground = Part(quads([[(-9, -9, 0), (9, -9, 0), (9, 9, 0), (-9, 9, 0)]]), ROAD, "matte", (0.5, 0.5, 0.5))
    scene = Scene((ground,), {"matte": Material("matte")}, camera, Sky(spot, tuple(d), (0.0,) * 3, 0.0, (0.0,) * 3))
    frame = render(scene, spp=16, clean=False)
    y, x = np.unravel_index(frame.linear.sum(-1).argmax(), (48, 64))
    (uv,), _ = to_pixels(camera, np.asarray(camera.eye) + 10 * d[None])
    assert np.abs(uv - [x + 0.5, y + 0.5]).max() < 1.5


def test_a_post_casts_its_shadow_away_from_the_sun(mitsuba):
    from robustseg.scenes.mitsuba import render

    sun = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
    ground = Part(quads([[(-50, -50, 0), (50, -50, 0), (50, 50, 0), (-50, 50, 0)]]), ROAD, "matte", (0.5, 0.5, 0.5))
    post = Part(box((0, 0, 1), (0.5, 0.5, 2)), CAR, "matte", (0.5, 0.5, 0.5), instance=1)
    camera = Camera(64, 64, 50.0, (0.0, 0.0, 12.0), 0.0, -np.pi / 2)
    scene = Scene((ground, post), {"matte": Material("matte")}, camera, even_sky(tuple(sun), 6.0))
    frame = render(scene, spp=32)
    shade, mirrored = to_pixels(camera, np.array([[-1.2, -1.2, 0.0], [1.2, 1.2, 0.0]]))[0].astype(int)
    at = lambda p: float(frame.linear[p[1], p[0]].mean())  # noqa: E731
    assert at(shade) < 0.5 * at(mirrored)


@pytest.mark.parametrize("index", [0, 1])
def test_a_street_frame_is_consistent(mitsuba, index):
    from robustseg.scenes.mitsuba import render

    frame = render(street("test", index, (160, 80)), spp=1)
    things = np.isin(frame.label, THINGS)
    assert np.array_equal(frame.instance > 0, things)
    for i in np.unique(frame.instance[things]):
        assert len(np.unique(frame.label[frame.instance == i])) == 1
    people = np.isin(frame.label, (PERSON, RIDER))
    assert people.any()
    assert np.array_equal(frame.parts > 0, people)
    assert np.array_equal(np.isinf(frame.depth_z), frame.label == SKY)
    assert frame.depth_z.min() > 0
    assert frame.rgb.std() > 20
    assert np.isfinite(frame.linear).all()


def test_scalar_and_llvm_agree_on_the_ids(mitsuba, tmp_path):
    if mitsuba.variant().startswith("scalar"):
        pytest.skip("no usable LLVM here, so there is nothing to compare")
    code = (
        "import sys, numpy as np, mitsuba as mi\n"
        "from robustseg.scenes import probe\n"
        "probe.choose = lambda: ('scalar_rgb', None)\n"
        "from robustseg.scenes.mitsuba import render\n"
        "from robustseg.scenes.street import street\n"
        "f = render(street('test', 2, (96, 48)), spp=4)\n"
        "np.savez(sys.argv[1], label=f.label, instance=f.instance, parts=f.parts, z=f.depth_z, rgb=f.rgb)"
    )
    file = tmp_path / "scalar.npz"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, env=env)
    scalar = np.load(file)
    from robustseg.scenes.mitsuba import render

    frame = render(street("test", 2, (96, 48)), spp=4)
    for name in ("label", "instance", "parts"):
        assert (scalar[name] == getattr(frame, name)).mean() > 0.999  # rays that graze an edge may fall either way
    both = np.isfinite(scalar["z"]) & np.isfinite(frame.depth_z)
    assert np.median(np.abs(scalar["z"][both] - frame.depth_z[both])) < 1e-4
    blocks = [a.astype(float).reshape(6, 8, 12, 8, 3).mean((1, 3)) for a in (scalar["rgb"], frame.rgb)]
    assert np.abs(blocks[0] - blocks[1]).mean() < 6  # other random numbers, the same light


def test_without_llvm_a_board_takes_a_texture_of_any_size(mitsuba, tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from robustseg.scenes import probe\n"
        "probe.choose = lambda: ('scalar_rgb', None)\n"
        "from robustseg.scenes.trajectory import trajectory\n"
        "paper = lambda *size: np.full((*size, 3), 128, np.uint8)\n"
        "look = {'poses': 1, 'size': (32, 64), 'spp': 2, 'light': False}\n"
        "shown = [trajectory('wall', texture=paper(*size), **look)[0].rgb for size in ((3, 5), (8, 4))]\n"
        "np.save(sys.argv[1], np.stack(shown))"
    )
    file = tmp_path / "two.npy"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, env=env)
    one, other = np.load(file).astype(float)
    assert np.abs(one - other).max() <= 1
    assert one.std() > 5
