"""What lines the street: houses, gardens, parks, walls and yards, block by block, and the distance behind."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.buildings import building
from robustseg.scenes.furniture import fence, wall
from robustseg.scenes.layout import FAR, Profile, runs
from robustseg.scenes.meshes import quads
from robustseg.scenes.plants import bush, hedge, tree
from robustseg.scenes.scene import VEGETATION, Part

BLOCKS = ("houses", "garden", "park", "wall", "yard")
WEIGHTS = (0.30, 0.22, 0.13, 0.18, 0.17)


def frontages(rng: np.random.Generator, profile: Profile) -> tuple[list[Part], list[str]]:
    """Both sides of the street and its end; returns the parts and the kinds of blocks near the camera."""
    parts, kinds = [], []
    for side in (1, -1):
        edge = profile.walk_span(side)[1]
        last = ""
        for a, b in runs(profile, 2.4):
            s = a
            while s < b - 6:
                length = min(rng.uniform(13, 26), b - s)
                kind = BLOCKS[rng.choice(5, p=WEIGHTS)]
                if kind == last:
                    kind = BLOCKS[rng.choice(5, p=WEIGHTS)]
                far = s > 75
                parts += _BUILD[kind](rng, s, s + length - 0.3, side, edge, far)
                if -5 < s < 40:
                    kinds.append(kind)
                last, s = kind, s + length
    y = -40.0
    while y < 40:  # the street ends at a row of houses
        deep = rng.uniform(11, 18)
        parts += building(rng, FAR + 3, FAR + 15, y, deep, 1, f"facade{rng.integers(4)}", int(rng.integers(2, 6)))
        y += deep + 0.2
    return parts, kinds


def distance(rng: np.random.Generator) -> list[Part]:
    """A ring of far woods so that the horizon is never bare; stays in world coordinates."""
    t = np.linspace(0, 2 * np.pi, 181)
    r = 420.0
    high = 9 + 6 * rng.random(181) + 5 * np.sin(t * 5 + rng.uniform(0, 6))
    p = np.column_stack([r * np.cos(t), r * np.sin(t)])
    c = lambda q, z: np.column_stack([q, z])  # noqa: E731
    lo = np.full(180, -1.0)
    ring = np.stack([c(p[1:], lo), c(p[:-1], lo), c(p[:-1], high[:-1]), c(p[1:], high[1:])], 1)
    return [Part(quads(ring), VEGETATION, "matte", (0.24, 0.32, 0.20))]


def _houses(rng, a, b, side, edge, far):
    parts, s = [], a
    base = int(rng.integers(2, 6))
    while s < b - 4:
        w = min(rng.uniform(8, 15), b - s)
        w = b - s if b - s - w < 5 else w
        floors = max(1, base + int(rng.integers(-1, 2)))
        front = side * (edge + rng.uniform(0.02, 0.5))
        parts += building(rng, s, s + w - 0.05, front, rng.uniform(9, 12), side, f"facade{rng.integers(4)}", floors)
        s += w
    return parts


def _garden(rng, a, b, side, edge, far):
    parts = []
    kind = rng.choice(["wall", "fence", "hedge"], p=[0.3, 0.5, 0.2])
    gate = rng.uniform(a + 2, b - 3)
    for p, q in ((a, gate), (gate + 1.3, b)):
        if q - p < 1:
            continue
        line = side * (edge + 0.25)
        if kind == "wall":
            parts += wall(rng, p, q, line, rng.uniform(0.9, 1.4), f"wall{rng.integers(2)}")
        elif kind == "fence":
            parts += fence(rng, p, q, line, rng.uniform(1.0, 1.4), int(rng.integers(4)))
        else:
            parts += hedge(rng, (p, side * (edge + 0.5)), (q, side * (edge + 0.5)), rng.uniform(0.9, 1.6))
    back = edge + rng.uniform(4.5, 8)
    if b - a > 8:
        parts += building(
            rng, a + 1.5, b - 1.5, side * back, 9, side, f"facade{rng.integers(4)}", int(rng.integers(1, 4))
        )
    for _ in range(int(rng.integers(2, 5))):
        parts += bush(rng, (rng.uniform(a, b), side * rng.uniform(edge + 1.2, back - 1), 0.08), rng.uniform(0.9, 1.9))
    if rng.random() < 0.7:
        parts += tree(
            rng, (rng.uniform(a + 1, b - 1), side * rng.uniform(edge + 2, back - 1.5), 0.1), rng.uniform(4, 6.5)
        )
    return parts


def _park(rng, a, b, side, edge, far):
    parts = []
    if rng.random() < 0.4:
        parts += fence(rng, a, b, side * (edge + 0.3), rng.uniform(0.9, 1.2), int(rng.integers(4)))
    for _ in range(int((b - a) / (2.6 if not far else 4))):
        parts += tree(rng, (rng.uniform(a, b), side * (edge + rng.uniform(2.5, 22)), 0.1), rng.uniform(5, 9.5))
    for _ in range(int(rng.integers(1, 5))):
        parts += bush(rng, (rng.uniform(a, b), side * (edge + rng.uniform(2, 12)), 0.08), rng.uniform(0.9, 2.2))
    return parts


def _wall(rng, a, b, side, edge, far):
    parts = wall(rng, a, b, side * (edge + 0.25), rng.uniform(1.7, 2.9), f"wall{rng.integers(2)}")
    return parts + _behind(rng, a, b, side, edge)


def _yard(rng, a, b, side, edge, far):
    parts = fence(rng, a, b, side * (edge + 0.3), rng.uniform(1.5, 2.1), int(rng.choice([0, 2, 3])))
    return parts + _behind(rng, a, b, side, edge)


def _behind(rng, a, b, side, edge):
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        parts += tree(rng, (rng.uniform(a + 1, b - 1), side * (edge + rng.uniform(2, 5)), 0.1), rng.uniform(4.5, 8))
    if b - a > 8 and rng.random() < 0.75:
        parts += building(
            rng,
            a + 1,
            b - 1,
            side * (edge + rng.uniform(6, 10)),
            10,
            side,
            f"facade{rng.integers(4)}",
            int(rng.integers(1, 4)),
        )
    return parts


_BUILD = {"houses": _houses, "garden": _garden, "park": _park, "wall": _wall, "yard": _yard}
