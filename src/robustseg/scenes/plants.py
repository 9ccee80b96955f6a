"""Trees, hedges and bushes: clouds of leaf cards around dark cores."""

from __future__ import annotations

from functools import cache

import numpy as np

from robustseg.scenes.meshes import Mesh, merge, quads, sphere, tube
from robustseg.scenes.scene import VEGETATION, Part

GREENS = [(0.42, 0.58, 0.23), (0.36, 0.52, 0.22), (0.50, 0.60, 0.25), (0.38, 0.53, 0.30), (0.58, 0.56, 0.24)]
BARK = (0.33, 0.26, 0.20)


def tree(rng: np.random.Generator, at, height: float, trunk_label: int = VEGETATION) -> list[Part]:
    """A tree of one of eight shapes, turned and scaled by chance."""
    trunk, core, leaves = _tree(int(rng.integers(8)), _detail(at[0]))
    scale, yaw = height / 6.0, rng.uniform(0, 2 * np.pi)
    green = np.array(GREENS[rng.integers(len(GREENS))]) * rng.uniform(0.85, 1.15)
    return [
        Part(trunk.moved(at, yaw, scale), trunk_label, "matte", BARK),
        Part(core.moved(at, yaw, scale), VEGETATION, "matte", green * 0.5),
        Part(leaves.moved(at, yaw, scale), VEGETATION, "matte", _tints(leaves, green, rng)),
    ]


def bush(rng: np.random.Generator, at, size: float) -> list[Part]:
    """A round shrub, `size` metres across."""
    green = np.array(GREENS[rng.integers(len(GREENS))]) * rng.uniform(0.8, 1.1)
    core, leaves = _bush(int(rng.integers(4)))
    yaw = rng.uniform(0, 2 * np.pi)
    return [
        Part(core.moved(at, yaw, size), VEGETATION, "matte", green * 0.55),
        Part(leaves.moved(at, yaw, size), VEGETATION, "matte", _tints(leaves, green, rng)),
    ]


def hedge(rng: np.random.Generator, start, end, height: float, width: float = 0.8) -> list[Part]:
    """A clipped hedge between two ground points (x,y), standing at z = 0.1."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = np.linalg.norm(end - start)
    along = (end - start) / length
    side = np.array([-along[1], along[0]])
    count = int(length * (height * 2 + width) * 26)
    t, u, w = rng.random(count), rng.random(count), rng.choice(3, count, p=[0.42, 0.42, 0.16])
    off = np.where(w == 2, rng.uniform(-0.5, 0.5, count), np.where(w == 0, 0.5, -0.5)) * width
    xy = start + t[:, None] * length * along + off[:, None] * side
    z = 0.1 + np.where(w == 2, height, u * height)
    out = np.where(w == 2, 0, np.sign(off))[:, None] * side
    leaves = _cards(rng, np.column_stack([xy, z]), np.column_stack([out, w == 2]), 0.09)
    n = max(2, int(length / 2))
    p = start + np.linspace(0, 1, n)[:, None] * (end - start)
    a, b = p - side * width * 0.46, p + side * width * 0.46
    col = lambda q, z: np.column_stack([q, np.full(len(q), z)])  # noqa: E731
    lo, hi = 0.1, 0.1 + height * 0.97
    q = [
        np.stack([col(m[:-1], zl), col(m[1:], zl), col(k[1:], zh), col(k[:-1], zh)], 1)
        for m, k, zl, zh in ((a, a, lo, hi), (b, b, lo, hi), (a, b, hi, hi))
    ]
    green = np.array(GREENS[rng.integers(len(GREENS))]) * rng.uniform(0.8, 1.05)
    return [
        Part(quads(np.concatenate(q)), VEGETATION, "matte", green * 0.6),
        Part(leaves, VEGETATION, "matte", _tints(leaves, green, rng)),
    ]


def _tints(leaves: Mesh, green, rng) -> np.ndarray:
    n = len(leaves.V) // 4
    z = leaves.V[::4, 2]
    light = 0.82 + 0.3 * (z - z.min()) / max(np.ptp(z), 1e-6)
    tone = light * rng.normal(1, 0.13, n)
    return np.clip(np.repeat(tone[:, None] * green, 4, 0), 0.02, 1)


def _cards(rng, p, normal, size) -> Mesh:
    """Small squares at p (k,3) that look roughly along normal (k,3)."""
    n = normal + 0.55 * rng.normal(size=p.shape)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    t = np.cross(n, rng.normal(size=p.shape))
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    b = np.cross(n, t)
    s = size * rng.uniform(0.7, 1.3, (len(p), 1))
    return quads(
        np.stack(
            [p - s * t - s * b * 0.6, p + s * t - s * b * 0.6, p + s * t * 0.7 + s * b, p - s * t * 0.7 + s * b], 1
        )
    )


def _detail(s: float) -> int:
    """0 for middling, 1 for few leaves (far away or behind), 2 for many (close to the camera)."""
    return 2 if 0 < s < 18 else (0 if -2 < s < 45 else 1)


@cache
def _tree(shape: int, detail: int) -> tuple[Mesh, Mesh, Mesh]:
    """Trunk, core and leaves of a tree 6 m tall; made once per process from a fixed seed."""
    rng = np.random.default_rng(700 + shape)
    cone = shape >= 6
    trunk = [tube([(0, 0, 0), (0.04, 0.02, 1.2), (0, 0, 2.6)], [0.17, 0.13, 0.10], 8)]
    blobs = []
    if cone:
        for z in np.linspace(1.1, 5.5, 7):
            r = 1.35 * (6.2 - z) / 5.1
            for a in np.arange(3) * 2.1 + rng.uniform(0, 6):
                blobs.append((np.array([np.cos(a) * r * 0.45, np.sin(a) * r * 0.45, z]), (r * 0.75, r * 0.75, 0.6)))
    else:
        for k in range(9):
            a, q = rng.uniform(0, 6.28), rng.uniform(0.3, 1.25) if k else 0.0
            c = np.array([np.cos(a) * q, np.sin(a) * q, rng.uniform(2.7, 4.9) if k else 4.3])
            r = rng.uniform(0.7, 1.1)
            blobs.append((c, (r, r, r * 0.85)))
            trunk.append(tube([(0, 0, 2.3), c * 0.5 + np.array([0, 0, 1.35]), c], [0.08, 0.05, 0.03], 5))
    leaves = []
    for c, r in blobs:
        count = int((70 if cone else 140) * (1, 0.5, 3.2)[detail])
        d = rng.normal(size=(count, 3))
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        leaves.append(_cards(rng, c + d * r * rng.uniform(0.75, 1.06, (len(d), 1)), d, (0.19, 0.27, 0.11)[detail]))
    core = merge(*[sphere(c, np.array(r) * 0.72, 9, 6) for c, r in blobs])
    return merge(*trunk), core, merge(*leaves)


@cache
def _bush(shape: int) -> tuple[Mesh, Mesh]:
    rng = np.random.default_rng(800 + shape)
    blobs = [
        (np.array([rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(0.2, 0.45)]), rng.uniform(0.25, 0.4))
        for _ in range(4)
    ]
    leaves = []
    for c, r in blobs:
        d = rng.normal(size=(170, 3))
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        leaves.append(_cards(rng, c + d * r * rng.uniform(0.8, 1.05, (170, 1)), d, 0.05))
    return merge(*[sphere(c, r * 0.8, 9, 6) for c, r in blobs]), merge(*leaves)
