"""Trucks, buses and trams. Local frame: x ahead, y left, ground at z = 0."""

# ruff: noqa: RUF005 (a list added to an array is a vector sum)

from __future__ import annotations

import numpy as np

from robustseg.scenes.meshes import Mesh, box, boxes, hull, merge, quads, tube, wheel
from robustseg.scenes.scene import BUS, TRAIN, TRUCK, Part
from robustseg.scenes.vehicles import GLASS, PAINTS, RUBBER, axle, panes, place, windows

CARGO = [
    (0.92, 0.92, 0.90),
    (0.86, 0.87, 0.88),
    (0.15, 0.32, 0.62),
    (0.72, 0.14, 0.12),
    (0.20, 0.45, 0.28),
    (0.80, 0.70, 0.45),
]
BUS_COLORS = [(0.93, 0.72, 0.08), (0.80, 0.10, 0.10), (0.92, 0.92, 0.90), (0.10, 0.40, 0.66)]
TRAM_COLORS = [
    ((0.93, 0.90, 0.80), (0.10, 0.40, 0.22)),
    ((0.93, 0.93, 0.93), (0.75, 0.10, 0.12)),
    ((0.90, 0.88, 0.82), (0.85, 0.45, 0.10)),
]


def truck(rng: np.random.Generator, instance: int, at, yaw: float, body: int | None = None) -> list[Part]:
    """A lorry: cab in front, then (body 0 to 3, by chance) a box, a tilt with ribs, a tank or a tipper."""
    length, half = rng.uniform(6.5, 9.5), 1.22
    f, b = length / 2, -length / 2
    cab0 = f - 2.0
    color = np.array(PAINTS[rng.integers(len(PAINTS))])
    cargo = np.array(CARGO[rng.integers(len(CARGO))]) * rng.uniform(0.9, 1.05)
    high = rng.uniform(2.6, 2.9)
    cab = hull(
        [cab0, cab0 + 0.1, f - 0.45, f - 0.1, f],
        [1.1, 1.17, 1.17, 1.12, 1.0],
        [0.6, 0.55, 0.5, 0.5, 0.55],
        [high, high + 0.05, high, high - 0.7, high - 1.2],
        power=9,
    )
    glass = merge(windows(cab0 + 0.7, f - 0.35, 1.18, 1.65, high - 0.35, 1))
    screen = _slope(f + 0.015, high - 1.25, f - 0.42, high - 0.1, 1.02)
    chassis = merge(box(((b + cab0) / 2, 0, 0.85), (cab0 - b, 0.9, 0.3)), box((b + 0.1, 0, 0.6), (0.12, 2.2, 0.14)))
    guard = boxes([((b + cab0) / 2 - 0.2, s * 1.1, 0.75) for s in (1, -1)], (length * 0.3, 0.06, 0.35))
    drawn = rng.choice(4, p=[0.45, 0.25, 0.15, 0.15])
    kind = drawn if body is None else body
    mid, span, top = (b + cab0 - 0.15) / 2, cab0 - 0.15 - b, rng.uniform(3.1, 3.7)
    parts = []
    if kind in (0, 1):
        parts.append((box((mid, 0, (1.0 + top) / 2), (span, 2 * half, top - 1.0)), cargo, "matte"))
        if kind == 1:
            xs = np.arange(b + 0.4, cab0 - 0.3, 0.6)
            parts.append(
                (
                    boxes([(x, s * half, (1 + top) / 2) for x in xs for s in (1, -1)], (0.06, 0.06, top - 1)),
                    cargo * 0.75,
                    "matte",
                )
            )
        parts.append((boxes([(b - 0.01, 0, (1 + top) / 2)], (0.03, 0.05, top - 1.1)), cargo * 0.5, "matte"))
        parts.append((boxes([(b - 0.01, s * 0.4, 1.8) for s in (1, -1)], (0.05, 0.04, 1.5)), (0.4, 0.4, 0.42), "metal"))
        parts.append(
            (
                boxes([(mid, s * (half + 0.005), 1.75) for s in (1, -1)], (span * 0.6, 0.01, 0.5)),
                1 - cargo * 0.7,
                "matte",
            )
        )
    elif kind == 2:
        xs = np.array([b, b + 0.15, b + 0.5, cab0 - 0.6, cab0 - 0.25, cab0 - 0.15])
        parts.append(
            (
                hull(
                    xs,
                    [0.7, 1.0, 1.18, 1.18, 1.0, 0.7],
                    [1.6, 1.25, 1.05, 1.05, 1.25, 1.6],
                    [2.4, 2.85, 3.05, 3.05, 2.85, 2.4],
                    power=2.2,
                ),
                (0.8, 0.8, 0.82),
                "metal",
            )
        )
    else:
        parts.append(
            (
                hull(
                    [b, b + 0.05, cab0 - 0.3, cab0 - 0.2],
                    [1.05, half, half, 1.1],
                    1.05,
                    [2.2, 2.3, 2.35, 2.5],
                    power=12,
                ),
                (0.85, 0.55, 0.10),
                "matte",
            )
        )
        xs = np.arange(b + 0.5, cab0 - 0.3, 0.9)
        parts.append(
            (boxes([(x, s * half, 1.65) for x in xs for s in (1, -1)], (0.12, 0.1, 1.2)), (0.72, 0.45, 0.08), "matte")
        )
    spots = [f - 1.15, b + 1.0] + ([b + 2.2] if length > 7.8 else [])
    axles = [axle(x, 1.16, 0.5, 0.3) for x in spots]
    lamps = merge(*[box((f + 0.01, s * 0.85, 0.85), (0.06, 0.4, 0.2)) for s in (1, -1)])
    tails = merge(*[box((b - 0.02, s * 0.95, 0.72), (0.06, 0.45, 0.16)) for s in (1, -1)])
    return place(
        [
            (cab, color, "paint"),
            (merge(glass, screen), GLASS, "gloss"),
            (chassis, (0.10, 0.10, 0.11), "matte"),
            (guard, (0.3, 0.3, 0.32), "metal"),
            (merge(*[a[0] for a in axles]), RUBBER, "matte"),
            (merge(*[a[1] for a in axles]), (0.7, 0.7, 0.7), "metal"),
            (lamps, (0.92, 0.92, 0.88), "gloss"),
            (tails, (0.6, 0.05, 0.05), "gloss"),
            (box((f + 0.01, 0, 1.15), (0.05, 1.7, 0.35)), (0.12, 0.12, 0.13), "matte"),
            *parts,
        ],
        TRUCK,
        instance,
        at,
        yaw,
    )


def bus(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """A city bus: one long band of large panes, doors on the right, a lit destination sign."""
    length, half, top = rng.uniform(10.5, 12), 1.26, 3.05
    f, b = length / 2, -length / 2
    color = np.array(BUS_COLORS[rng.choice(4, p=[0.4, 0.3, 0.15, 0.15])])
    shell = hull(
        [b, b + 0.08, b + 0.4, f - 0.4, f - 0.08, f],
        [1.1, half - 0.03, half, half, half - 0.03, 1.12],
        0.32,
        [top - 0.1, top - 0.02, top, top, top - 0.02, top - 0.12],
        n=28,
        power=14,
    )
    count = 7
    side = windows(b + 0.5, f - 0.9, half + 0.012, 1.25, 2.5, count, 0.1)
    doors = [(x, -half - 0.008, 1.42) for x in (f - 1.3, 0.3)]
    glass = merge(side, panes(f + 0.015, 1.1, 1.05, 2.45), panes(b - 0.015, 1.0, 1.6, 2.4, ahead=False))
    sign = merge(panes(f + 0.02, 0.85, 2.55, 2.85), panes(b - 0.02, 0.5, 2.5, 2.75, ahead=False))
    band = boxes([(0, s * half, 2.78) for s in (1, -1)], (length - 0.9, 0.02, 0.18))
    skirt = boxes([(0, s * half, 0.55) for s in (1, -1)], (length - 0.6, 0.02, 0.3))
    axles = [axle(x, half, 0.48, 0.3) for x in (f - 2.7, b + 2.9)]
    lamps = merge(*[box((f + 0.01, s * 0.9, 0.75), (0.05, 0.42, 0.2)) for s in (1, -1)])
    tails = merge(*[box((b - 0.01, s * 1.0, 1.0), (0.05, 0.2, 0.5)) for s in (1, -1)])
    mirrors = boxes([(f + 0.25, s * 1.35, 2.2) for s in (1, -1)], (0.12, 0.2, 0.42))
    return place(
        [
            (shell, color, "paint"),
            (glass, GLASS, "gloss"),
            (boxes(doors, (1.2, 0.02, 2.1)), (0.12, 0.14, 0.16), "gloss"),
            (sign, (0.95, 0.62, 0.08), "matte"),
            (band, np.clip(color * 1.15 + 0.05, 0, 1), "matte"),
            (skirt, color * 0.55, "matte"),
            (box((0, 0, top + 0.1), (length * 0.5, 1.7, 0.25)), (0.88, 0.88, 0.88), "matte"),
            (merge(*[a[0] for a in axles]), RUBBER, "matte"),
            (merge(*[a[1] for a in axles]), (0.7, 0.7, 0.7), "metal"),
            (lamps, (0.92, 0.92, 0.88), "gloss"),
            (tails, (0.6, 0.05, 0.05), "gloss"),
            (mirrors, (0.06, 0.06, 0.06), "matte"),
        ],
        BUS,
        instance,
        at,
        yaw,
    )


def tram(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """A tram of two or three cars with bellows, a raised pantograph, a tapered nose and skirts over the wheels."""
    upper, lower = (np.array(c) for c in TRAM_COLORS[rng.choice(3, p=[0.5, 0.3, 0.2])])
    cars, span, half, top = int(rng.integers(2, 4)), 9.0, 1.2, 3.35
    total = cars * span + (cars - 1) * 0.7
    parts = []
    for k in range(cars):
        b = -total / 2 + k * (span + 0.7)
        f = b + span
        nose, tail = k == cars - 1, k == 0
        x = np.array([b, b + 0.5, b + 1.2, f - 1.2, f - 0.5, f])
        w = np.array(
            [0.8 if tail else half, 1.08 if tail else half, half, half, 1.08 if nose else half, 0.8 if nose else half]
        )
        hi = np.array(
            [2.7 if tail else top, 3.2 if tail else top, top, top, 3.2 if nose else top, 2.7 if nose else top]
        )
        parts.append((hull(x, w, 1.35, hi, n=24, power=10), upper, "paint"))
        parts.append((hull(x, w + 0.015, 0.22, 1.42, n=16, power=16), lower, "paint"))
        parts.append(
            (
                windows(b + (1.1 if tail else 0.3), f - (1.1 if nose else 0.3), half + 0.02, 1.6, 2.6, 6, 0.08),
                GLASS,
                "gloss",
            )
        )
        parts.append(
            (
                boxes(
                    [(b + span * q, s * (half + 0.015), 1.45) for q in (0.3, 0.7) for s in (1, -1)], (1.25, 0.02, 2.2)
                ),
                (0.10, 0.12, 0.14),
                "gloss",
            )
        )
        if not nose:
            parts.append((box((f + 0.35, 0, 1.8), (0.8, 2.1, 2.9)), (0.09, 0.09, 0.10), "matte"))
        parts.append((box(((f + b) / 2, 0, top + 0.12), (span * 0.6, 1.5, 0.3)), (0.55, 0.56, 0.58), "matte"))
        parts.append(
            (
                merge(*[wheel((b + span * q, s * 0.72, 0.3), 0.3, 0.12) for q in (0.2, 0.8) for s in (1, -1)]),
                (0.2, 0.2, 0.2),
                "metal",
            )
        )
        if nose:
            parts.append((_slope(f + 0.03, 1.5, f - 0.28, 2.72, 0.78), GLASS, "gloss"))
            parts.append((panes(f + 0.03, 0.45, 2.72, 2.92), (0.95, 0.62, 0.08), "matte"))
            parts.append(
                (
                    merge(*[box((f + 0.02, s * 0.55, 0.95), (0.05, 0.25, 0.18)) for s in (1, -1)]),
                    (0.95, 0.95, 0.9),
                    "gloss",
                )
            )
        if tail:
            parts.append((panes(b - 0.03, 0.7, 1.55, 2.6, ahead=False), GLASS, "gloss"))
            parts.append(
                (
                    merge(*[box((b - 0.02, s * 0.6, 0.95), (0.05, 0.25, 0.18)) for s in (1, -1)]),
                    (0.6, 0.05, 0.05),
                    "gloss",
                )
            )
    base = np.array([0, 0, top + 0.3])
    arm = [
        tube([base + [-0.6, s * 0.4, 0], base + [0.5, s * 0.4, 0.9], base + [-0.2, s * 0.5, 1.7]], 0.035, 6)
        for s in (1, -1)
    ]
    bow = tube([base + [-0.2, -0.8, 1.65], base + [-0.2, 0.8, 1.65]], 0.04, 6)
    parts.append((merge(*arm, bow), (0.2, 0.2, 0.2), "metal"))
    return place(parts, TRAIN, instance, at, yaw)


def _slope(x0, z0, x1, z1, half) -> Mesh:
    """A windscreen that leans back from (x0,z0) to (x1,z1)."""
    return quads([[(x0, -half, z0), (x0, half, z0), (x1, half, z1), (x1, -half, z1)]])
