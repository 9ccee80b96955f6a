"""People: walking, standing or riding, dressed, with clothing told apart from skin and hair."""

# ruff: noqa: RUF005 (a list added to an array is a vector sum)

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robustseg.scenes.meshes import Mesh, box, merge, sphere, stack, tube
from robustseg.scenes.scene import CLOTHING, PERSON, RIDER, SKIN, Part

TOPS = [
    (0.78, 0.12, 0.14),
    (0.13, 0.25, 0.62),
    (0.92, 0.90, 0.86),
    (0.10, 0.10, 0.12),
    (0.93, 0.74, 0.15),
    (0.16, 0.48, 0.30),
    (0.85, 0.42, 0.16),
    (0.55, 0.20, 0.50),
    (0.45, 0.66, 0.83),
    (0.90, 0.55, 0.62),
    (0.40, 0.42, 0.45),
    (0.62, 0.50, 0.34),
]
LEGS = [(0.14, 0.18, 0.32), (0.10, 0.10, 0.12), (0.28, 0.36, 0.50), (0.55, 0.48, 0.38), (0.35, 0.36, 0.38)]
COMPLEXIONS = [(0.93, 0.76, 0.66), (0.86, 0.66, 0.54), (0.72, 0.51, 0.39), (0.52, 0.35, 0.26), (0.36, 0.24, 0.18)]
HAIRS = [(0.10, 0.08, 0.07), (0.28, 0.18, 0.11), (0.55, 0.40, 0.22), (0.62, 0.60, 0.57), (0.40, 0.16, 0.08)]


def pedestrian(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """Somebody 1.2 to 1.95 m tall who walks or stands at `at` (x,y,z), facing yaw (radians)."""
    stride = rng.uniform(0.12, 0.42) if rng.random() < 0.7 else rng.uniform(0.0, 0.08)
    hip = np.array([0, 0, 0.92])
    feet = [_reach(hip + [0, 0.1 * k, 0], k * stride, 0.47, 0.45, bend=0.25 + 0.5 * stride) for k in (1, -1)]
    shoulder = np.array([0.0, 0, 1.44])
    hands = [
        _reach(shoulder + [0, 0.21 * k, 0], -k * stride * 0.9, 0.3, 0.28, bend=-0.35, out=0.05 * k) for k in (1, -1)
    ]
    scale = rng.normal(1.0, 0.05) if rng.random() < 0.88 else rng.uniform(0.65, 0.8)
    parts = _dress(rng, PERSON, instance, feet, hands, 0.0, at, yaw, scale, helmet=False)
    sink = at[2] - min(p.mesh.V[:, 2].min() for p in parts)  # the lower foot stands on the ground
    return [replace(p, mesh=p.mesh.moved((0, 0, sink))) for p in parts]


def rider(rng: np.random.Generator, instance: int, at, yaw: float, saddle: float, grip, pedal: float) -> list[Part]:
    """Somebody on a two-wheeler: saddle height, grip point (x,z) and height of the pedals, in metres."""
    lean = 0.25 + 0.25 * rng.random()
    hip = np.array([-0.12, 0, saddle + 0.08])
    phase = rng.uniform(-1, 1)
    feet = []
    for k in (1, -1):
        foot = np.array([0.12 + 0.16 * phase * k, 0.13 * k, pedal + 0.1 - 0.1 * phase * k])
        feet.append(_two_bones(hip + [0, 0.1 * k, 0], foot, 0.47, 0.46, forward=1))
    c, s = np.cos(lean), np.sin(lean)
    shoulder = hip + np.array([0.52 * s, 0, 0.52 * c])
    hands = [
        _two_bones(shoulder + [0, 0.2 * k, 0], np.array([grip[0], 0.26 * k, grip[1]]), 0.32, 0.3, forward=-1)
        for k in (1, -1)
    ]
    return _dress(rng, RIDER, instance, feet, hands, lean, at, yaw, 1.0, helmet=rng.random() < 0.75, hip=hip)


def _dress(rng, label, instance, feet, hands, lean, at, yaw, scale, helmet, hip=None) -> list[Part]:
    hip = np.array([0, 0, 0.92]) if hip is None else hip
    top = np.array(TOPS[rng.integers(len(TOPS))]) * rng.uniform(0.85, 1.08)
    low = np.array(LEGS[rng.integers(len(LEGS))]) * rng.uniform(0.8, 1.15)
    skin = np.array(COMPLEXIONS[rng.integers(len(COMPLEXIONS))])
    hair = np.array(HAIRS[rng.integers(len(HAIRS))])
    short = rng.random() < 0.4
    skirt = label == PERSON and rng.random() < 0.2
    shorts = not skirt and rng.random() < 0.2
    long_hair = rng.random() < 0.4
    wide = rng.uniform(0.92, 1.15)

    def up(x, z):  # a point of the upper body, given in the upright pose, after leaning forward at the hip
        c, s = np.cos(lean), np.sin(lean)
        dz = z - 0.92
        return np.array([hip[0] + x * c + dz * s, 0.0, hip[2] - x * s + dz * c])

    torso = stack(
        [0.86, 0.95, 1.08, 1.22, 1.36, 1.45, 1.50],
        np.array([0.10, 0.125, 0.115, 0.13, 0.125, 0.09, 0.05]) * wide,
        np.array([0.15, 0.17, 0.155, 0.185, 0.205, 0.16, 0.06]) * wide,
        n=14,
    )
    torso = _lean(torso, hip, lean)
    head = [sphere(up(0.015, 1.635), (0.095, 0.08, 0.122)), tube([up(0, 1.46), up(0, 1.56)], [0.055, 0.05], 8)]
    scalp = [sphere(up(-0.018, 1.668), (0.103, 0.09, 0.108))]
    if long_hair and not helmet:
        scalp.append(tube([up(-0.07, 1.66), up(-0.085, 1.52), up(-0.08, 1.4)], [0.08, 0.085, 0.05], 8))
    cloth_top, cloth_low, bare, shoes = [torso], [], [], []
    for shoulder, elbow, hand in hands:
        cloth_top.append(tube([shoulder, (shoulder + elbow) / 2, elbow], [0.058, 0.056, 0.048], 8))
        fore = tube([elbow, hand], [0.046, 0.036], 8)
        (bare if short else cloth_top).append(fore)
        bare.append(sphere(hand + (hand - elbow) * 0.12, (0.045, 0.035, 0.055), 8, 5))
    for top_, knee, foot in feet:
        thigh = tube([top_, (top_ + knee) / 2, knee], [0.088 * wide, 0.08, 0.062], 8)
        shin = tube([knee, (knee + foot) / 2, foot], [0.06, 0.058, 0.045], 8)
        cloth_low.append(thigh)
        (bare if shorts or skirt else cloth_low).append(shin)
        shoes.append(box(foot + [0.05, 0, -0.035], (0.27, 0.095, 0.085)))
    if skirt:
        cloth_low.append(stack([0.5, 0.7, 0.95], [0.2, 0.16, 0.12], [0.23, 0.19, 0.16], n=12))
    parts = [
        (merge(*cloth_top), np.clip(_stripes(merge(*cloth_top), top, rng), 0, 1), CLOTHING, "matte"),
        (merge(*cloth_low), np.clip(low if not skirt or rng.random() < 0.5 else top, 0, 1), CLOTHING, "matte"),
        (merge(*shoes), (0.14, 0.12, 0.12) if rng.random() < 0.7 else (0.85, 0.85, 0.85), CLOTHING, "matte"),
        (merge(*head, *bare), np.clip(skin, 0, 1), SKIN, "matte"),
    ]
    if helmet:
        color = [(0.9, 0.9, 0.9), (0.8, 0.1, 0.1), (0.1, 0.1, 0.12), (0.95, 0.8, 0.1)][rng.integers(4)]
        parts.append((sphere(up(-0.01, 1.68), (0.135, 0.115, 0.115)), color, CLOTHING, "gloss"))
    else:
        parts.append((merge(*scalp), hair, SKIN, "matte"))
    if label == PERSON and rng.random() < 0.3:
        color = np.array(TOPS[rng.integers(len(TOPS))]) * 0.8
        parts.append(
            (
                stack([0.98, 1.05, 1.3, 1.4], [0.06, 0.09, 0.09, 0.05], [0.11, 0.14, 0.13, 0.1], cx=-0.17),
                color,
                CLOTHING,
                "matte",
            )
        )
    return [Part(m.moved(at, yaw, scale), label, kind, c, instance, region) for m, c, region, kind in parts]


def _stripes(mesh: Mesh, color, rng) -> np.ndarray:
    out = np.repeat(np.asarray(color)[None], len(mesh.V), 0)
    if rng.random() < 0.2:  # a second colour above the chest
        out[mesh.V[:, 2] > mesh.V[:, 2].max() - 0.25] = TOPS[rng.integers(len(TOPS))]
    return out


def _lean(mesh: Mesh, hip, lean: float) -> Mesh:
    c, s = np.cos(lean), np.sin(lean)
    x, y, z = mesh.V.T
    z = z - 0.92
    return Mesh(np.stack([hip[0] + x * c + z * s, y, hip[2] - x * s + z * c], 1), mesh.F, mesh.UV)


def _reach(root, swing: float, upper: float, lower: float, bend: float, out: float = 0.0):
    """Joint chain from a hanging limb: swing forward at the root (radians), bend at the middle joint."""
    a = swing
    b = swing - abs(bend) * (1 if bend > 0 else -1) * (0.5 + 0.5 * (swing < 0))
    mid = root + upper * np.array([np.sin(a), out / upper, -np.cos(a)])
    return root, mid, mid + lower * np.array([np.sin(b), 0, -np.cos(b)])


def _two_bones(root, end, upper: float, lower: float, forward: int):
    """Middle joint of a limb whose two ends are given; it bends forward or backward in the x-z plane."""
    d = end - root
    length = min(np.linalg.norm(d), (upper + lower) * 0.999)
    end = root + d / np.linalg.norm(d) * length
    along = (upper**2 - lower**2 + length**2) / (2 * length)
    height = np.sqrt(max(upper**2 - along**2, 0))
    axis = (end - root) / length
    side = np.array([axis[2], 0, -axis[0]])
    side = side if side[0] * forward > 0 else -side
    return root, root + axis * along + side / max(np.linalg.norm(side), 1e-9) * height, end
