"""Bicycles and motorcycles. Local frame: x ahead, y left, ground at z = 0."""

# ruff: noqa: RUF005 (a list added to an array is a vector sum)

from __future__ import annotations

import numpy as np

from robustseg.scenes.meshes import box, hull, merge, sphere, torus, tube, wheel
from robustseg.scenes.scene import BICYCLE, MOTORCYCLE, Part
from robustseg.scenes.vehicles import RUBBER, place

SEAT = {"bicycle": (0.92, (0.50, 1.05), 0.28), "motorcycle": (0.78, (0.55, 1.0), 0.3)}  # saddle, grip (x,z), pedals
COLORS = [
    (0.75, 0.10, 0.10),
    (0.10, 0.30, 0.65),
    (0.10, 0.10, 0.10),
    (0.10, 0.50, 0.30),
    (0.90, 0.60, 0.10),
    (0.85, 0.85, 0.87),
]


def bicycle(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """A bicycle with a diamond or low frame; tubes are a bit stout so that they survive a small picture."""
    color = np.array(COLORS[rng.integers(len(COLORS))])
    back, front, r = np.array([-0.52, 0, 0.34]), np.array([0.54, 0, 0.34]), 0.33
    crank, seat, head = np.array([-0.05, 0, 0.3]), np.array([-0.2, 0, 0.86]), np.array([0.38, 0, 0.86])
    low = rng.random() < 0.35
    runs = [(crank, seat), (crank, head - [0, 0, 0.1]), (back, crank), (back, seat), (head, front)]
    runs += [] if low else [(seat - [0, 0, 0.08], head)]
    frame = merge(*[tube(r_, 0.026, 6) for r_ in runs])
    bar = merge(
        tube([head, head + [-0.02, 0, 0.18]], 0.02, 6),
        tube([(0.3, -0.28, 1.05), (0.38, 0, 1.05), (0.3, 0.28, 1.05)], 0.02, 6),
    )
    tyres = merge(torus(back, r, 0.028), torus(front, r, 0.028))
    spokes = [
        tube([c + r * np.array([np.cos(a), 0, np.sin(a)]), c - r * np.array([np.cos(a), 0, np.sin(a)])], 0.006, 4)
        for c in (back, front)
        for a in np.arange(4) * np.pi / 4
    ]
    saddle = sphere(seat + [-0.02, 0, 0.08], (0.14, 0.075, 0.04), 10, 5)
    chain = wheel(crank, 0.1, 0.03, 12)
    guard = [
        tube([c + 0.39 * np.array([np.cos(a), 0, np.sin(a)]) for a in np.linspace(0.4, 2.6, 8)], 0.022, 5)
        for c in (back, front)
    ]
    parts = [
        (frame, color, "paint"),
        (tyres, RUBBER, "matte"),
        (merge(*spokes, bar), (0.6, 0.6, 0.62), "metal"),
        (merge(saddle, chain), (0.10, 0.09, 0.08), "matte"),
        (merge(*guard), color * 0.6, "paint"),
    ]
    if rng.random() < 0.4:
        parts.append((box((0.5, 0, 0.88), (0.28, 0.3, 0.22)), (0.35, 0.26, 0.16), "matte"))
    return place(parts, BICYCLE, instance, at, yaw)


def motorcycle(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """A motorcycle or a scooter: fat wheels, tank and seat, engine block, fork, exhaust."""
    color = np.array(COLORS[rng.integers(len(COLORS))])
    scooter = rng.random() < 0.4
    r = 0.24 if scooter else 0.31
    back, front = np.array([-0.62, 0, r]), np.array([0.72, 0, r])
    tyres = merge(*[wheel(c, r, 0.15, 18) for c in (back, front)])
    rims = merge(*[wheel(c, r * 0.6, 0.17, 12) for c in (back, front)])
    fork = merge(
        *[tube([front + [0, s * 0.11, 0], (0.45, s * 0.11, 0.95)], 0.035, 6) for s in (1, -1)],
        tube([(0.42, -0.36, 1.0), (0.5, 0, 1.03), (0.42, 0.36, 1.0)], 0.025, 6),
    )
    lamp = sphere((0.62, 0, 0.88), (0.09, 0.1, 0.1), 10, 6)
    fenders = merge(
        *[
            tube([c + (r + 0.05) * np.array([np.cos(a), 0, np.sin(a)]) for a in np.linspace(0.5, 2.5, 7)], 0.075, 6)
            for c in (back, front)
        ]
    )
    if scooter:
        body = merge(
            hull(
                [-0.9, -0.8, -0.5, -0.1, 0.0],
                [0.1, 0.17, 0.19, 0.17, 0.1],
                0.32,
                [0.55, 0.75, 0.76, 0.74, 0.5],
                power=3,
            ),
            box((0.12, 0, 0.27), (0.5, 0.34, 0.07)),
            hull([0.36, 0.42, 0.52], [0.18, 0.2, 0.14], 0.25, [0.9, 0.98, 0.9], power=4),
        )
        seat = sphere((-0.45, 0, 0.78), (0.42, 0.15, 0.07), 12, 6)
        engine = box((-0.5, 0, 0.32), (0.5, 0.3, 0.2))
    else:
        body = merge(
            hull(
                [-0.15, 0.0, 0.25, 0.42],
                [0.12, 0.19, 0.18, 0.09],
                [0.68, 0.64, 0.66, 0.76],
                [0.85, 0.96, 0.98, 0.9],
                power=2.6,
            ),
            hull([-0.95, -0.8, -0.3], [0.05, 0.11, 0.15], [0.76, 0.66, 0.6], [0.82, 0.8, 0.76], power=3),
        )
        seat = sphere((-0.42, 0, 0.8), (0.42, 0.15, 0.07), 12, 6)
        engine = merge(
            box((0.05, 0, 0.42), (0.52, 0.34, 0.4)),
            tube([(0.25, -0.2, 0.3), (-0.2, -0.22, 0.26), (-0.85, -0.22, 0.36)], [0.05, 0.05, 0.075], 8),
        )
    tail = box((-0.93, 0, 0.68), (0.06, 0.16, 0.09))
    return place(
        [
            (merge(body, fenders), color, "paint"),
            (tyres, RUBBER, "matte"),
            (rims, (0.6, 0.6, 0.6), "metal"),
            (merge(fork, engine), (0.45, 0.45, 0.47), "metal"),
            (seat, (0.06, 0.06, 0.06), "matte"),
            (lamp, (0.92, 0.92, 0.86), "gloss"),
            (tail, (0.65, 0.05, 0.05), "gloss"),
        ],
        MOTORCYCLE,
        instance,
        at,
        yaw,
    )
