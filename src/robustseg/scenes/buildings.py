"""Houses: a box of floors with windows, doors, shops, balconies and a roof. Street side faces -y or +y."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.meshes import Mesh, boxes, merge, quads
from robustseg.scenes.scene import BUILDING, Part

ROOFS = [(0.48, 0.24, 0.18), (0.30, 0.29, 0.30), (0.38, 0.28, 0.23)]
TRIMS = [(0.88, 0.86, 0.80), (0.60, 0.58, 0.55), (0.30, 0.24, 0.20), (0.92, 0.92, 0.92)]
SIGNS = [(0.70, 0.12, 0.12), (0.10, 0.30, 0.55), (0.12, 0.40, 0.25), (0.85, 0.65, 0.15), (0.25, 0.20, 0.30)]
GLASS = (0.10, 0.13, 0.16)


def building(
    rng: np.random.Generator, x0: float, x1: float, front: float, depth: float, side: int, wall: str, floors: int
) -> list[Part]:
    """A house between x0 and x1 whose front is at y = front; side +1 lies left of the street, -1 right.

    `wall` names the facade's material. Returns about 40 triangles per window.
    """
    storey = rng.uniform(2.9, 3.5)
    shop = rng.random() < 0.4 and floors > 1
    height = floors * storey + rng.uniform(0.4, 1.0)
    back = front + side * depth
    corner = [(x0, front), (x1, front), (x1, back), (x0, back)]
    if side > 0:
        sides = [(corner[1], corner[0]), (corner[0], corner[3]), (corner[2], corner[1])]
    else:
        sides = [(corner[0], corner[1]), (corner[3], corner[0]), (corner[1], corner[2])]
    sides = [(b, a) for a, b in sides]  # seen from outside the wall runs left to right
    style = {
        "storey": storey,
        "floors": floors,
        "height": height,
        "bay": rng.uniform(2.1, 3.3),
        "width": rng.uniform(0.95, 1.5),
        "tall": rng.uniform(1.35, 1.9),
        "lit": rng.uniform(0.1, 0.45),
        "balcony": rng.random() < 0.35 and floors > 2,
    }
    trim = TRIMS[rng.integers(len(TRIMS))]
    groups: dict[str, list[Mesh]] = {"wall": [], "glass": [], "curtain": [], "trim": [], "sign": [], "dark": []}
    for k, (a, b) in enumerate(sides):
        _facade(rng, groups, np.array(a), np.array(b), style, shop=shop and k == 0, door=k == 0)
    mid = ((x0 + x1) / 2, (front + back) / 2)
    roof = ROOFS[rng.integers(len(ROOFS))]
    parts = []
    if floors <= 4 and rng.random() < 0.65:
        parts.append(
            Part(
                _gable(x0 - 0.3, x1 + 0.3, front - side * 0.4, back + side * 0.4, height, rng.uniform(1.5, 3.2)),
                BUILDING,
                "roof",
                roof,
            )
        )
    else:
        groups["trim"].append(boxes([(*mid, height + 0.1)], (x1 - x0 + 0.5, depth + 0.5, 0.32)))
    color = {
        "glass": GLASS,
        "curtain": (0.80, 0.76, 0.66),
        "trim": trim,
        "sign": SIGNS[rng.integers(len(SIGNS))],
        "dark": (0.13, 0.12, 0.12),
    }
    for name, meshes in groups.items():
        if meshes:
            material = {"wall": wall, "glass": "gloss"}.get(name, "matte")
            parts.append(Part(merge(*meshes), BUILDING, material, color.get(name, (0.6, 0.6, 0.6))))
    return parts


def _facade(rng, groups, a, b, style, shop: bool, door: bool) -> None:
    """Wall from a to b (ground points), left to right as seen from outside."""
    length = np.linalg.norm(b - a)
    along = (b - a) / length
    out = np.array([along[1], -along[0]])
    bays = max(1, int(length / style["bay"]))
    e = np.linspace(0, length, bays + 1)
    z_top = style["height"]

    def rect(u0, u1, z0, z1, off):
        """Upright rectangles in wall coordinates; arguments broadcast to (k,)."""
        u0, u1, z0, z1 = np.broadcast_arrays(*(np.atleast_1d(np.asarray(q, float)) for q in (u0, u1, z0, z1)))
        lo, hi = a + u0[:, None] * along + off * out, a + u1[:, None] * along + off * out
        return np.stack(
            [
                np.column_stack([lo, z0]),
                np.column_stack([hi, z0]),
                np.column_stack([hi, z1]),
                np.column_stack([lo, z1]),
            ],
            1,
        )

    uv = np.stack(
        [
            np.column_stack([u, z])
            for u, z in (
                (e[:-1], 0 * e[:-1]),
                (e[1:], 0 * e[1:]),
                (e[1:], 0 * e[1:] + z_top),
                (e[:-1], 0 * e[:-1] + z_top),
            )
        ],
        1,
    )
    groups["wall"].append(quads(rect(e[:-1], e[1:], 0.0, z_top, 0.0), uv))
    c = (e[:-1] + e[1:]) / 2
    first = 1 if shop else 0
    rows = np.arange(first, style["floors"]) * style["storey"] + style["storey"] * 0.28
    u, z = (q.ravel() for q in np.meshgrid(c, rows))
    if len(u):
        w, t = style["width"] / 2, style["tall"]
        if door and not shop:  # leave room for the front door
            keep = ~((np.abs(u - c[bays // 2]) < 0.1) & (z < style["storey"]))
            u, z = u[keep], z[keep]
        groups["trim"].append(quads(rect(u - w - 0.12, u + w + 0.12, z - 0.12, z + t + 0.12, 0.03)))
        groups["glass"].append(quads(rect(u - w, u + w, z, z + t, 0.045)))
        lit = rng.random(len(u)) < style["lit"]
        if lit.any():
            drop = rng.uniform(0.3, 0.9, lit.sum())
            groups["curtain"].append(quads(rect(u[lit] - w, u[lit] + w, z[lit] + t * (1 - drop), z[lit] + t, 0.055)))
        groups["trim"].append(quads(rect(u - 0.03, u + 0.03, z, z + t, 0.06)))
        sill = a + u[:, None] * along + 0.1 * out
        size = np.where(np.abs(along) > 0.5, 2 * w + 0.3, 0.2)
        groups["trim"].append(boxes(np.column_stack([sill, z - 0.1]), (*size, 0.08)))
        if style["balcony"]:
            up = (z > style["storey"]) & (np.round(u / style["bay"]) % 2 == 0)
            if up.any():
                spot = a + u[up][:, None] * along + 0.55 * out
                size = np.where(np.abs(along) > 0.5, 2 * w + 0.9, 1.1)
                groups["trim"].append(boxes(np.column_stack([spot, z[up] - 0.25]), (*size, 0.14)))
                edge = a + u[up][:, None] * along + 1.08 * out
                size = np.where(np.abs(along) > 0.5, 2 * w + 0.9, 0.05)
                groups["dark"].append(boxes(np.column_stack([edge, z[up] + 0.3]), (*size, 0.95)))
    if shop:
        s = style["storey"]
        groups["trim"].append(quads(rect(e[:-1] + 0.1, e[1:] - 0.1, 0.1, s - 0.75, 0.03)))
        groups["glass"].append(quads(rect(e[:-1] + 0.22, e[1:] - 0.22, 0.5, s - 0.85, 0.05)))
        groups["sign"].append(quads(rect(0.15, length - 0.15, s - 0.7, s - 0.1, 0.12)))
        groups["curtain"].append(quads(rect(length * 0.3, length * 0.6, s - 0.52, s - 0.3, 0.13)))
        if rng.random() < 0.6:  # an awning over the pavement
            p = rect(0.2, length - 0.2, s - 0.75, s - 0.1, 0.13)[0]
            p[:2, :2] += 1.2 * out
            groups["sign"].append(quads([p]))
    elif door:
        d = c[bays // 2]
        groups["dark"].append(quads(rect(d - 0.55, d + 0.55, 0.1, 2.2, 0.05)))
        groups["trim"].append(quads(rect(d - 0.7, d + 0.7, 0.1, 2.4, 0.03)))
    for f in range(1, style["floors"] + 1):
        if rng.random() < 0.6 or f == style["floors"]:
            groups["trim"].append(
                quads(rect(e[:-1], e[1:], f * style["storey"] - 0.05, f * style["storey"] + 0.1, 0.06))
            )


def _gable(x0, x1, y0, y1, z, rise) -> Mesh:
    """A pitched roof with its ridge along x; eaves at height z."""
    ym = (y0 + y1) / 2
    lo, hi = min(y0, y1), max(y0, y1)
    n = max(2, int((x1 - x0) / 3) + 1)
    e = np.linspace(x0, x1, n)
    a, b = e[:-1], e[1:]
    run = np.hypot(hi - ym, rise)
    p = lambda x, y, zz: np.column_stack([x, np.full_like(x, y), np.full_like(x, zz)])  # noqa: E731
    south = np.stack([p(a, lo, z), p(b, lo, z), p(b, ym, z + rise), p(a, ym, z + rise)], 1)
    north = np.stack([p(b, hi, z), p(a, hi, z), p(a, ym, z + rise), p(b, ym, z + rise)], 1)
    uv = np.stack([np.column_stack([u, v]) for u, v in ((a, 0 * a), (b, 0 * b), (b, 0 * b + run), (a, 0 * a + run))], 1)
    ends = quads(
        [
            [(x0, hi, z), (x0, lo, z), (x0, ym, z + rise), (x0, ym, z + rise)],
            [(x1, lo, z), (x1, hi, z), (x1, ym, z + rise), (x1, ym, z + rise)],
        ]
    )
    return merge(quads(south, uv), quads(north, uv), ends)
