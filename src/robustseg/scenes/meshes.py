"""Triangle meshes from a few primitives; numpy only, metres, z up."""

# ruff: noqa: RUF005 (a list added to an array is a vector sum)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles: V (n,3) vertices, F (m,3) vertex indices, UV (n,2) texture coordinates (metres by custom).

    Vertices shared by faces are shaded smoothly, so a hard edge is made by doubling its vertices.
    """

    V: np.ndarray
    F: np.ndarray
    UV: np.ndarray

    def moved(self, at=(0.0, 0.0, 0.0), yaw: float = 0.0, scale: float = 1.0) -> Mesh:
        """Scaled, turned about z by yaw (radians, left), then shifted."""
        c, s = np.cos(yaw), np.sin(yaw)
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        return Mesh(self.V * scale @ R.T + np.asarray(at, float), self.F, self.UV)


def merge(*meshes: Mesh) -> Mesh:
    """One mesh out of many."""
    start = np.cumsum([0] + [len(m.V) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.V for m in meshes]),
        np.concatenate([m.F + k for m, k in zip(meshes, start, strict=True)]),
        np.concatenate([m.UV for m in meshes]),
    )


def flat(mesh: Mesh) -> Mesh:
    """The same triangles with hard edges everywhere."""
    i = mesh.F.ravel()
    return Mesh(mesh.V[i], np.arange(len(i)).reshape(-1, 3), mesh.UV[i])


def normals(V: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Area-weighted unit vertex normals (n,3).

    >>> normals(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]]))[0].tolist()
    [0.0, 0.0, 1.0]
    """
    a, b, c = V[F[:, 0]], V[F[:, 1]], V[F[:, 2]]
    face = np.repeat(np.cross(b - a, c - a), 3, 0)
    out = np.stack([np.bincount(F.ravel(), face[:, k], len(V)) for k in range(3)], 1)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def quads(corners, uv=None) -> Mesh:
    """Separate quads: corners (k,4,3), counter-clockwise seen from the front; uv (k,4,2), default in metres."""
    c = np.asarray(corners, float).reshape(-1, 4, 3)
    if uv is None:
        w = np.linalg.norm(c[:, 1] - c[:, 0], axis=1)
        h = np.linalg.norm(c[:, 3] - c[:, 0], axis=1)
        o = np.zeros_like(w)
        uv = np.stack([np.stack([o, o], 1), np.stack([w, o], 1), np.stack([w, h], 1), np.stack([o, h], 1)], 1)
    i = 4 * np.arange(len(c))[:, None]
    F = np.concatenate([i + [0, 1, 2], i + [0, 2, 3]])
    return Mesh(c.reshape(-1, 3), F, np.asarray(uv, float).reshape(-1, 2))


_BOX = np.array([
    [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]], [[-1, 1, -1], [-1, -1, -1], [-1, -1, 1], [-1, 1, 1]],
    [[1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, 1, 1]], [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
    [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], [[-1, 1, -1], [1, 1, -1], [1, -1, -1], [-1, -1, -1]],
], float)  # fmt: skip


def boxes(centers, sizes) -> Mesh:
    """Axis-aligned boxes: centers (k,3), sizes (k,3) or (3,)."""
    c = np.asarray(centers, float).reshape(-1, 1, 1, 3)
    s = np.broadcast_to(np.asarray(sizes, float), (len(c), 3)).reshape(-1, 1, 1, 3)
    return quads((c + _BOX * s / 2).reshape(-1, 4, 3))


def box(center, size) -> Mesh:
    """One axis-aligned box."""
    return boxes([center], [size])


def loft(rings, caps: bool = True) -> Mesh:
    """A skin over closed rings (k,n,3), each counter-clockwise about the direction from first to last ring."""
    r = np.asarray(rings, float)
    k, n = r.shape[:2]
    V = np.concatenate([r, r[:, :1]], 1).reshape(-1, 3)
    u, v = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, k))
    i = (np.arange(k - 1)[:, None] * (n + 1) + np.arange(n)).ravel()
    F = np.concatenate([np.stack([i, i + 1, i + n + 2], 1), np.stack([i, i + n + 2, i + n + 1], 1)])
    mesh = Mesh(V, F, np.stack([u, v], -1).reshape(-1, 2))
    return merge(mesh, disc(r[0][::-1]), disc(r[-1])) if caps else mesh


def disc(ring) -> Mesh:
    """A fan over one ring (n,3), counter-clockwise seen from the front."""
    r = np.asarray(ring, float)
    n = len(r)
    i = np.arange(n)
    F = np.stack([np.zeros(n, int), 1 + i, 1 + (i + 1) % n], 1)
    return Mesh(np.concatenate([r.mean(0, keepdims=True), r]), F, np.full((n + 1, 2), 0.5))


def tube(points, radii, n: int = 10) -> Mesh:
    """A round limb along a polyline: points (k,3), radii (k,) or a number."""
    p = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radii, float), (len(p),))
    d = np.gradient(p, axis=0)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    help_ = np.where(np.abs(d[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    help_ = np.broadcast_to(help_[0], d.shape)
    a = np.cross(d, help_)
    a /= np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-9)
    b = np.cross(d, a)
    t = np.arange(n) * 2 * np.pi / n
    ring = np.cos(t)[None, :, None] * a[:, None] + np.sin(t)[None, :, None] * b[:, None]
    return loft(p[:, None] + ring * radii[:, None, None])


def stack(z, rx, ry, cx=0.0, cy=0.0, n: int = 16, power: float = 2.0) -> Mesh:
    """Horizontal (super)elliptic rings stacked upwards: heights z, half axes rx and ry, centres cx and cy."""
    z, rx, ry, cx, cy = (np.broadcast_to(np.asarray(q, float), np.shape(z)) for q in (z, rx, ry, cx, cy))
    t = (np.arange(n) + 0.5) * 2 * np.pi / n
    c, s = _super(t, power)
    x = cx[:, None] + rx[:, None] * c
    y = cy[:, None] + ry[:, None] * s
    return loft(np.stack([x, y, np.repeat(z[:, None], n, 1)], -1))


def hull(x, half_width, low, high, n: int = 24, power: float = 4.0) -> Mesh:
    """Rounded cross-sections (in y, z) strung along x: half widths, lower and upper heights, all (k,)."""
    x, w, low, high = (np.broadcast_to(np.asarray(q, float), np.shape(x)) for q in (x, half_width, low, high))
    t = (np.arange(n) + 0.5) * 2 * np.pi / n
    c, s = _super(t, power)
    mid, half = (low + high) / 2, (high - low) / 2
    y = w[:, None] * c
    z = mid[:, None] + half[:, None] * s
    return loft(np.stack([np.repeat(x[:, None], n, 1), y, z], -1))


def sphere(center, radii, n: int = 14, m: int = 9) -> Mesh:
    """An ellipsoid."""
    v = np.linspace(-np.pi / 2 + 0.05, np.pi / 2 - 0.05, m)
    r = np.broadcast_to(np.asarray(radii, float), (3,))
    mesh = stack(r[2] * np.sin(v), r[0] * np.cos(v), r[1] * np.cos(v), n=n)
    return mesh.moved(center)


def wheel(center, radius: float, width: float, n: int = 18) -> Mesh:
    """A disc-like cylinder whose axis is y."""
    t = np.arange(n) * 2 * np.pi / n
    ring = np.stack([np.sin(t) * radius, 0 * t, np.cos(t) * radius], 1)
    side = [[0, -width / 2, 0], [0, width / 2, 0]]
    return loft(np.stack([ring + side[0], ring + side[1]])).moved(center)


def torus(center, radius: float, tube_radius: float, n: int = 22, m: int = 6) -> Mesh:
    """A ring standing upright in the x-z plane (a bicycle tyre)."""
    t = np.arange(n + 1) * 2 * np.pi / n
    q = np.arange(m) * 2 * np.pi / m
    r = radius + tube_radius * np.cos(q)
    x, z = np.cos(t)[:, None] * r, np.sin(t)[:, None] * r
    y = np.broadcast_to(tube_radius * np.sin(q), x.shape)
    return loft(np.stack([x, y, z], -1), caps=False).moved(center)


def _super(t, power: float):
    c, s = np.cos(t), np.sin(t)
    e = 2 / power
    return np.sign(c) * np.abs(c) ** e, np.sign(s) * np.abs(s) ** e
