"""`street(split, index)`: one procedural street, its camera and its light, the same for the same arguments."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from robustseg.scenes import textures as tx
from robustseg.scenes.camera import Camera
from robustseg.scenes.frontage import distance, frontages
from robustseg.scenes.furniture import bin_, lamp, sign, traffic_light
from robustseg.scenes.layout import Profile, draw_profile, ground
from robustseg.scenes.meshes import Mesh
from robustseg.scenes.plants import tree
from robustseg.scenes.scene import Material, Part, Scene
from robustseg.scenes.sky import WEATHER, draw_sky
from robustseg.scenes.traffic import Crowd, populate

PLASTER = [
    (0.86, 0.78, 0.62),
    (0.78, 0.70, 0.66),
    (0.90, 0.88, 0.82),
    (0.70, 0.74, 0.76),
    (0.84, 0.64, 0.50),
    (0.66, 0.72, 0.60),
    (0.80, 0.80, 0.78),
]
BRICK = [(0.62, 0.33, 0.25), (0.70, 0.47, 0.34), (0.50, 0.30, 0.25), (0.74, 0.66, 0.54)]


def seed_of(split: str, index: int) -> int:
    """The seed of one scene: the first eight bytes of sha256("split/index")."""
    return int.from_bytes(hashlib.sha256(f"{split}/{index}".encode()).digest()[:8], "big")


def street(split: str, index: int, size: tuple[int, int] = (512, 256)) -> Scene:
    """A street scene for an image of size (width, height) pixels."""
    rng = np.random.default_rng(seed_of(split, index))
    has_tram = rng.random() < 0.34
    profile = draw_profile(rng, has_tram)
    weather = WEATHER[rng.choice(5, p=[0.36, 0.24, 0.18, 0.10, 0.12])]
    sky, facts = draw_sky(rng, weather)
    camera = _camera(rng, profile, size)
    blocks, kinds = frontages(rng, profile)
    crowd = Crowd(rng, profile, camera.eye[1], float(np.tan(np.radians(camera.fov / 2))))
    populate(crowd, has_tram)
    parts = ground(rng, profile) + blocks + furnish(rng, profile) + crowd.parts
    curve = rng.uniform(-1, 1) / 95 if rng.random() < 0.6 else 0.0
    parts = [replace(p, mesh=bend(p.mesh, curve)) for p in parts] + distance(rng)
    facts |= {
        "blocks": kinds,
        "tram": bool(has_tram),
        "junction": profile.junction is not None,
        "curvature": round(curve, 5),
        "fov": round(camera.fov, 1),
        "eye": [round(float(v), 3) for v in camera.eye],
        "yaw": round(camera.yaw, 4),
        "pitch": round(camera.pitch, 4),
        "roll": round(camera.roll, 4),
        "things": crowd.count,
    }
    return Scene(tuple(parts), materials(rng, weather), camera, sky, float(np.exp(rng.normal(0, 0.12))), facts)


def bend(mesh: Mesh, curvature: float) -> Mesh:
    """Road coordinates (s, d, z) -> world, for a road that starts along x and turns left with this curvature (1/m).

    >>> bend(Mesh(np.array([[0.0, 2.0, 1.0]]), np.zeros((0, 3), int), np.zeros((1, 2))), 0.01).V.round(6).tolist()
    [[0.0, 2.0, 1.0]]
    """
    if curvature == 0:
        return mesh
    s, d, z = mesh.V.T
    a = curvature * s
    x = np.sin(a) / curvature - d * np.sin(a)
    y = (1 - np.cos(a)) / curvature + d * np.cos(a)
    return Mesh(np.stack([x, y, z], 1), mesh.F, mesh.UV)


def _camera(rng, profile: Profile, size) -> Camera:
    place = rng.random()
    k = int(rng.integers(profile.lanes))
    d = profile.lane_center(-1, k) + rng.normal(0, 0.3)
    if place < 0.12:  # somebody on the pavement
        inner, outer = profile.walk_span(-1)
        d = -rng.uniform(inner + 0.2, outer - 0.6)
    height = rng.uniform(1.25, 1.75) if rng.random() < 0.8 else rng.uniform(1.75, 2.7)
    yaw = float(rng.normal(0, 0.07) + (0.06 if place < 0.12 else 0))
    pitch, roll = float(rng.uniform(-0.09, 0.04)), float(rng.normal(0, 0.014))
    fov = float(rng.uniform(58, 84))
    return Camera(size[0], size[1], fov, (0.0, float(d), float(height)), yaw, pitch, roll)


def materials(rng, weather: str) -> dict[str, Material]:
    """What a street is made of; wet roads and pavements are darker and shine."""
    wet = weather == "wet"
    puddles = np.clip(0.42 + 0.22 * tx.clouds(61, roughness=1.6), 0.12, 0.8)
    dry = np.full((4, 4), 0.85, np.float32)
    out = {k: Material(k) for k in ("matte", "paint", "gloss", "metal", "lit")}
    tone = rng.uniform(0.34, 0.47) * (0.72 if wet else 1)
    warm = rng.uniform(-0.015, 0.02)
    out["asphalt"] = Material(
        "ground", tx.tinted(tx.asphalt(), (tone + warm, tone, tone - warm)), 5.0, puddles if wet else dry
    )
    n = int(rng.choice([3, 4, 6]))
    stone = np.array([(0.66, 0.63, 0.59), (0.60, 0.60, 0.61), (0.70, 0.60, 0.54)][rng.integers(3)]) * (
        0.8 if wet else 1
    )
    out["pavement"] = Material(
        "ground", tx.tinted(tx.slabs(n, n, 0.5 * (rng.random() < 0.5), 5), stone), 2.4, puddles if wet else dry
    )
    green = np.array([1.0, 1.0, 1.0]) * rng.uniform(0.85, 1.1) * np.array([rng.uniform(0.9, 1.15), 1.0, 0.95])
    out["grass"] = Material("surface", tx.tinted(tx.grass(), green), 3.0)
    out["roof"] = Material(
        "surface",
        tx.tinted(
            tx.slabs(14, 10, 0.5, 51, 0.55),
            [(0.58, 0.28, 0.20), (0.34, 0.33, 0.35), (0.46, 0.33, 0.26)][rng.integers(3)],
        ),
        3.0,
    )
    for k in range(4):
        if rng.random() < 0.6:
            pattern, color, size = tx.plaster(), PLASTER[rng.integers(len(PLASTER))], 6.0
        else:
            pattern, color, size = tx.slabs(20, 9, 0.5, 15, 0.8), BRICK[rng.integers(len(BRICK))], 2.2
        out[f"facade{k}"] = Material("surface", tx.tinted(pattern, np.array(color) * rng.uniform(0.85, 1.05)), size)
    walls = [
        (tx.slabs(5, 4, 0.5, 25, 0.5), (0.60, 0.56, 0.50), 2.2),
        (tx.slabs(8, 4, 0.5, 26, 0.6), (0.64, 0.63, 0.61), 2.6),
        (tx.slabs(16, 8, 0.5, 15, 0.7), (0.55, 0.30, 0.23), 2.0),
    ]
    for k, i in enumerate(rng.permutation(3)[:2]):
        pattern, color, size = walls[i]
        out[f"wall{k}"] = Material("surface", tx.tinted(pattern, np.array(color) * rng.uniform(0.85, 1.1)), size)
    for k, (pattern, color) in {
        0: (tx.boards(16, 21), (0.50, 0.36, 0.23)),
        2: (tx.ribs(24), (0.30, 0.42, 0.34)),
        3: (tx.boards(12, 23).T, (0.62, 0.50, 0.37)),
    }.items():
        out[f"fence{k}"] = Material("surface", tx.tinted(pattern, np.array(color) * rng.uniform(0.8, 1.15)), 2.0)
    return out


def furnish(rng, p: Profile) -> list[Part]:
    """Lamps, street trees, bollards, signs and traffic lights on both sides."""
    parts, style = [], int(rng.integers(8))
    inside = lambda s: p.junction is not None and p.junction[0] - 1 < s < p.junction[1] + 1  # noqa: E731
    for side in (1, -1):
        kerb, inner = p.kerb(side), p.walk_span(side)[0]
        near = side * (kerb + 0.45)
        s = rng.uniform(5, 14)
        while s < 120:
            if not inside(s):
                parts += lamp(rng, (s, near, 0.12), -side, style)
            s += rng.uniform(17, 26)
        if rng.random() < 0.6:  # a row of street trees
            line = side * ((kerb + inner) / 2 if inner > kerb + 0.5 else kerb + 0.8)
            s = rng.uniform(6, 14)
            while s < 110:
                if not inside(s):
                    parts += tree(rng, (s, line, 0.1), rng.uniform(4.5, 7.5))
                s += rng.uniform(7, 14)
        if rng.random() < 0.4:
            s0 = rng.uniform(4, 15)
            for k in range(int(rng.integers(3, 8))):
                parts += bin_(rng, (s0 + 1.5 * k, side * (kerb + 0.35), 0.12))
        for _ in range(int(rng.integers(1, 4))):
            s = rng.uniform(6, 30)
            if not inside(s):
                facing = -1 if rng.random() < 0.85 else 1
                parts += sign(rng, (s, side * (kerb + rng.uniform(0.3, 0.6)), 0.12), facing)
    spots = [p.junction[0] - 1.2] if p.junction else []
    spots += [rng.uniform(7, 18)] if rng.random() < 0.55 else []
    for s in spots:
        for side in (1, -1):
            if rng.random() < 0.85:
                reach = -side * rng.uniform(2.5, 4.5) if rng.random() < 0.5 else 0.0
                parts += traffic_light(rng, (s, side * (p.kerb(side) + 0.5), 0.12), -1, reach)
    return parts
