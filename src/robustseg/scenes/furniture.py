"""What stands along a street: lamps, traffic lights, signs, walls, fences, bins."""

# ruff: noqa: RUF005 (a list added to an array is a vector sum)

from __future__ import annotations

import numpy as np

from robustseg.scenes.meshes import Mesh, box, boxes, disc, merge, quads, sphere, stack, tube
from robustseg.scenes.scene import FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, WALL, Part

STEEL = [(0.45, 0.46, 0.47), (0.20, 0.24, 0.22), (0.60, 0.61, 0.62), (0.30, 0.31, 0.33)]


def lamp(rng: np.random.Generator, at, inward: int, style: int) -> list[Part]:
    """A street lamp; its arm reaches towards y * inward."""
    x, y, z = at
    color = STEEL[style % len(STEEL)]
    if style % 2:
        mesh = merge(
            tube([(x, y, z), (x, y, z + 0.9), (x, y, z + 4.2)], [0.12, 0.08, 0.06], 8),
            stack([4.2 + z, 4.3 + z, 4.7 + z, 4.85 + z], [0.1, 0.2, 0.24, 0.05], [0.1, 0.2, 0.24, 0.05], x, y, n=8),
        )
        return [Part(mesh, POLE, "metal", color)]
    high = 6.5 + 1.5 * rng.random()
    reach = inward * 1.9
    mesh = merge(
        tube([(x, y, z), (x, y, z + 1.2), (x, y, z + high)], [0.13, 0.10, 0.07], 8),
        tube([(x, y, z + high - 0.05), (x, y + reach * 0.5, z + high + 0.25), (x, y + reach, z + high + 0.3)], 0.05, 6),
        box((x, y + reach, z + high + 0.26), (0.28, 0.75, 0.12)),
    )
    return [Part(mesh, POLE, "metal", color)]


def traffic_light(rng: np.random.Generator, at, facing: int, reach: float = 0.0) -> list[Part]:
    """Signal heads on a mast, looking along x * facing; reach (metres, signed) hangs one over the lane."""
    x, y, z = at
    top = z + (3.4 if reach == 0 else 5.3)
    runs = [tube([(x, y, z), (x, y, top)], [0.085, 0.075], 8)]
    heads = [(x + facing * 0.16, y, z + 2.85)]
    if reach:
        runs.append(tube([(x, y, top - 0.1), (x, y + reach, top)], [0.07, 0.05], 8))
        heads.append((x + facing * 0.12, y + reach * 0.96, top - 0.3))
    parts = [Part(merge(*runs), POLE, "metal", STEEL[rng.integers(len(STEEL))])]
    state = rng.integers(3)
    on = [(1.0, 0.12, 0.06), (1.0, 0.72, 0.08), (0.10, 0.95, 0.45)]
    off = [(0.22, 0.03, 0.03), (0.22, 0.16, 0.03), (0.03, 0.20, 0.09)]
    case = (0.05, 0.05, 0.05) if rng.random() < 0.7 else (0.80, 0.62, 0.10)
    for hx, hy, hz in heads:
        parts.append(
            Part(
                boxes([(hx, hy, hz), (hx - facing * 0.1, hy, hz)], [(0.26, 0.42, 1.18), (0.03, 0.62, 1.38)]),
                TRAFFIC_LIGHT,
                "matte",
                case,
            )
        )
        for k in range(3):
            c = np.array([hx + facing * 0.13, hy, hz + 0.37 * (1 - k)])
            lens = disc(_circle(c, 0.15, facing))
            parts.append(Part(lens, TRAFFIC_LIGHT, "lit" if k == state else "matte", on[k] if k == state else off[k]))
            parts.append(
                Part(
                    quads(
                        [
                            [
                                c + [0, -0.15, 0.14],
                                c + [0, 0.15, 0.14],
                                c + [facing * 0.16, 0.13, 0.12],
                                c + [facing * 0.16, -0.13, 0.12],
                            ]
                        ]
                    ),
                    TRAFFIC_LIGHT,
                    "matte",
                    (0.03, 0.03, 0.03),
                )
            )
    return parts


def sign(rng: np.random.Generator, at, facing: int, size: float = 0.0) -> list[Part]:
    """A traffic sign on a post, looking along x * facing: round, triangle, square, octagon, diamond or arrow."""
    x, y, z = at
    r = size or rng.uniform(0.36, 0.5)
    high = z + rng.uniform(2.1, 2.6)
    post = Part(tube([(x, y, z), (x, y, high + r * 0.8)], 0.045, 7), POLE, "metal", (0.55, 0.56, 0.57))
    c = np.array([x + facing * 0.06, y, high])
    red, white, blue, yellow, black = (
        (0.80, 0.06, 0.07),
        (0.94, 0.94, 0.93),
        (0.05, 0.24, 0.66),
        (0.97, 0.78, 0.08),
        (0.04, 0.04, 0.04),
    )
    poly = lambda n, q, turn=0.0: _circle(c, q, facing, n, turn)  # noqa: E731
    kind = rng.choice(7, p=[0.22, 0.18, 0.15, 0.12, 0.11, 0.12, 0.1])
    layers = {
        0: [(poly(24, r), red), (poly(24, r * 0.72), white), (_bar(c, r * 0.75, r * 0.22, facing), black)],
        1: [(poly(3, r * 1.15), red), (poly(3, r * 0.75), white), (_bar(c, r * 0.12, r * 0.5, facing), black)],
        2: [
            (poly(4, r * 1.3, np.pi / 4), blue),
            (_bar(c, r * 0.3, r * 1.1, facing), white),
            (_bar(c + [0, 0, r * 0.2], r * 0.9, r * 0.25, facing), white),
        ],
        3: [(poly(8, r * 1.05, np.pi / 8), red), (_bar(c, r * 1.3, r * 0.35, facing), white)],
        4: [(poly(4, r * 1.2), white), (poly(4, r * 0.9), yellow)],
        5: [(poly(24, r), blue), (_bar(c, r * 0.28, r * 1.2, facing), white)],
        6: [(poly(24, r), red), (_bar(c, r * 1.4, r * 0.32, facing), white)],
    }[int(kind)]
    parts = [post, Part(disc(poly(12, r * 0.9)[::-1] - [facing * 0.02, 0, 0]), TRAFFIC_SIGN, "matte", (0.5, 0.5, 0.5))]
    for k, (ring, color) in enumerate(layers):
        parts.append(Part(disc(ring + [facing * 0.012 * k, 0, 0]), TRAFFIC_SIGN, "matte", color))
    return parts


def wall(rng: np.random.Generator, x0: float, x1: float, y: float, height: float, material: str) -> list[Part]:
    """A free-standing wall along x with a coping and pillars."""
    n = max(2, int((x1 - x0) / 2.5) + 1)
    e = np.linspace(x0, x1, n)
    coping = boxes([(m, y, height + 0.06) for m in (e[:-1] + e[1:]) / 2], (e[1] - e[0], 0.42, 0.14))
    parts = [Part(strip(e, y, 0.05, height, 0.3), WALL, material), Part(coping, WALL, "matte", (0.62, 0.60, 0.56))]
    if rng.random() < 0.5:
        pillars = boxes([(x, y, height / 2 + 0.1) for x in e[::2]], (0.45, 0.45, height + 0.3))
        parts.append(Part(pillars, WALL, material))
    return parts


def fence(rng: np.random.Generator, x0: float, x1: float, y: float, height: float, style: int) -> list[Part]:
    """A board, sheet or lath fence along x, opaque, with posts."""
    n = max(2, int((x1 - x0) / 2.2) + 1)
    e = np.linspace(x0, x1, n)
    posts = boxes([(x, y, height / 2 + 0.1) for x in e], (0.12, 0.16, height + 0.2))
    color = [(0.45, 0.32, 0.20), (0.92, 0.91, 0.88), (0.25, 0.36, 0.28), (0.58, 0.46, 0.33)][style % 4]
    if style % 4 == 1:  # white pickets with gaps
        xs = np.arange(x0, x1, 0.19)
        slats = boxes([(x, y, height / 2 + 0.12) for x in xs], (0.125, 0.035, height - 0.1))
        spots = [(m, y + 0.03, z) for m in (e[:-1] + e[1:]) / 2 for z in (height * 0.3, height * 0.75)]
        rails = boxes(spots, (e[1] - e[0], 0.04, 0.1))
        return [Part(merge(slats, rails, posts), FENCE, "matte", color)]
    return [
        Part(strip(e, y, 0.1, height, 0.05), FENCE, f"fence{style % 4}"),
        Part(posts, FENCE, "matte", np.array(color) * 0.7),
    ]


def strip(e, y: float, z0: float, z1: float, thick: float) -> Mesh:
    """An upright slab along x through the stations e, textured in metres."""
    a, b = np.asarray(e)[:-1], np.asarray(e)[1:]
    h = thick / 2

    def face(p, q, side, low, high):
        corners = ((p, low), (q, low), (q, high), (p, high))
        return np.stack([np.column_stack([x, np.full_like(x, side), np.full_like(x, z)]) for x, z in corners], 1)

    def metres(p, q):
        return face(p, q, 0.0, z0, z1)[..., [0, 2]]

    f0, f1, g0, g1 = (e[0], y - h), (e[0], y + h), (e[-1], y - h), (e[-1], y + h)
    ends = [[(*f1, z0), (*f0, z0), (*f0, z1), (*f1, z1)], [(*g0, z0), (*g1, z0), (*g1, z1), (*g0, z1)]]
    front, back = face(a, b, y - h, z0, z1), face(b, a, y + h, z0, z1)
    top = np.stack([front[:, 3], front[:, 2], back[:, 3], back[:, 2]], 1)
    return merge(quads(front, metres(a, b)), quads(back, metres(b, a)), quads(top), quads(ends))


def bin_(rng: np.random.Generator, at) -> list[Part]:
    """A bollard, labelled as a pole, as in Cityscapes."""
    x, y, z = at
    color = [(0.75, 0.75, 0.74), (0.18, 0.18, 0.2), (0.7, 0.1, 0.1)][rng.integers(3)]
    return [
        Part(
            merge(tube([(x, y, z), (x, y, z + 0.85)], 0.075, 8), sphere((x, y, z + 0.88), 0.095, 8, 5)),
            POLE,
            "matte",
            color,
        )
    ]


def _circle(c, r: float, facing: int, n: int = 20, turn: float = 0.0) -> np.ndarray:
    t = np.arange(n) * 2 * np.pi / n + turn
    return np.stack([np.full(n, c[0]), c[1] + facing * r * np.sin(-t), c[2] + r * np.cos(t)], 1)


def _bar(c, w: float, h: float, facing: int) -> np.ndarray:
    s = facing * w / 2
    return np.array(
        [
            [c[0], c[1] - s, c[2] - h / 2],
            [c[0], c[1] + s, c[2] - h / 2],
            [c[0], c[1] + s, c[2] + h / 2],
            [c[0], c[1] - s, c[2] + h / 2],
        ]
    )
