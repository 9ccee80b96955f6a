"""Cars and vans: rounded bodies, glass, wheels, lights. Local frame: x ahead, y left, ground at z = 0."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.meshes import Mesh, box, boxes, hull, loft, merge, quads, wheel
from robustseg.scenes.scene import CAR, Part

PAINTS = [
    (0.90, 0.90, 0.90),
    (0.10, 0.10, 0.11),
    (0.55, 0.56, 0.58),
    (0.70, 0.08, 0.09),
    (0.12, 0.22, 0.50),
    (0.32, 0.33, 0.35),
    (0.78, 0.77, 0.73),
    (0.16, 0.36, 0.26),
    (0.86, 0.62, 0.12),
    (0.36, 0.18, 0.14),
    (0.40, 0.60, 0.75),
]
GLASS = (0.07, 0.09, 0.11)
RUBBER = (0.07, 0.07, 0.07)

# length, width, height, belt line, then along the length: windscreen foot, roof front, roof back, tail foot
SHAPES = {
    "sedan": (4.55, 1.80, 1.44, 0.95, (0.22, 0.06, -0.22, -0.36)),
    "hatch": (3.95, 1.74, 1.48, 0.97, (0.22, 0.05, -0.36, -0.46)),
    "estate": (4.65, 1.80, 1.48, 0.96, (0.22, 0.07, -0.40, -0.47)),
    "suv": (4.50, 1.88, 1.70, 1.08, (0.23, 0.10, -0.40, -0.47)),
    "van": (4.90, 1.92, 1.98, 1.12, (0.36, 0.22, -0.45, -0.485)),
}


def car(rng: np.random.Generator, instance: int, at, yaw: float) -> list[Part]:
    """A random car, its centre on the ground at `at`, heading yaw (radians)."""
    kind = list(SHAPES)[rng.choice(5, p=[0.3, 0.28, 0.17, 0.15, 0.1])]
    length, width, height, belt, (g0, g1, g2, g3) = SHAPES[kind]
    color = np.array(PAINTS[rng.integers(len(PAINTS))]) * rng.uniform(0.9, 1.08)
    x = np.array([-0.5, -0.49, -0.46, -0.36, -0.2, 0.0, 0.2, 0.33, 0.43, 0.48, 0.5]) * length
    w = np.array([0.66, 0.84, 0.93, 0.98, 1, 1, 1, 0.98, 0.92, 0.8, 0.6]) * width / 2
    low = np.array([0.42, 0.30, 0.25, 0.22, 0.2, 0.2, 0.2, 0.22, 0.24, 0.30, 0.4])
    tail = belt - (0.02 if kind == "sedan" else -0.01)
    nose = belt - (0.2 if kind != "van" else 0.08)
    high = np.array(
        [
            tail - 0.25,
            tail - 0.08,
            tail,
            belt,
            belt,
            belt,
            belt - 0.02,
            belt - 0.1,
            nose + 0.02,
            nose - 0.06,
            nose - 0.22,
        ]
    )
    body = hull(x, w, low, high, n=20, power=5)
    gx = np.array([g3, (g3 + g2) / 2, g2, g2 + 0.06, (g1 + g2) / 2, g1 - 0.05, g1, (g0 + g1) / 2, g0]) * length
    gh = np.array(
        [
            belt - 0.02,
            (belt + height) / 2 + 0.02,
            height - 0.05,
            height - 0.01,
            height,
            height - 0.01,
            height - 0.05,
            (belt + height) / 2,
            belt - 0.02,
        ]
    )
    cabin = _cabin(gx, gh, width, belt)
    roof, glass = _roof_and_glass(cabin)
    post = [(g1 + g2) / 2 * length + 0.05] + ([g2 * length + 0.35] if kind != "sedan" else [])
    posts = boxes(
        [(p, s * width * 0.437, (belt + height) / 2 - 0.06) for p in post for s in (1, -1)],
        (0.09, 0.05, height - belt - 0.06),
    )
    parts = [(merge(body, roof), color, "paint"), (glass, GLASS, "gloss"), (posts, (0.06, 0.06, 0.06), "matte")]
    return place([*parts, *_running_gear(length, width, 0.33, nose, tail, color)], CAR, instance, at, yaw)


def place(parts, label: int, instance: int, at, yaw: float) -> list[Part]:
    """(mesh, colour, material) triples in the local frame -> parts of one object in the world."""
    return [Part(m.moved(at, yaw), label, kind, np.clip(c, 0, 1), instance) for m, c, kind in parts]


def axle(x: float, half: float, radius: float, width: float = 0.22):
    """Tyres and rims of one axle, as (tyres, rims)."""
    tyres = merge(*[wheel((x, s * (half - width / 2 + 0.02), radius), radius, width) for s in (1, -1)])
    rims = merge(*[wheel((x, s * (half + 0.025), radius), radius * 0.62, 0.02, 12) for s in (1, -1)])
    return tyres, rims


def _running_gear(length, width, radius, nose, tail, color):
    half = width / 2
    axles = [axle(0.31 * length, half, radius), axle(-0.29 * length, half, radius)]
    wells = merge(
        *[
            wheel((q * length, s * (half - 0.05), radius + 0.03), radius + 0.08, 0.12)
            for q in (0.31, -0.29)
            for s in (1, -1)
        ]
    )
    f, b = length / 2, -length / 2
    head = merge(*[box((f - 0.12, s * half * 0.72, nose - 0.1), (0.2, 0.36, 0.13)) for s in (1, -1)])
    tails = merge(*[box((b + 0.08, s * half * 0.74, tail - 0.17), (0.12, 0.36, 0.15)) for s in (1, -1)])
    grille = box((f - 0.04, 0, nose - 0.22), (0.08, half * 0.9, 0.14))
    plates = boxes([(f + 0.005, 0, 0.45), (b - 0.005, 0, 0.62)], (0.02, 0.5, 0.11))
    mirrors = boxes([(0.18 * length, s * (half + 0.08), 1.0) for s in (1, -1)], (0.1, 0.16, 0.11))
    return [
        (wells, (0.03, 0.03, 0.03), "matte"),
        (merge(*[a[0] for a in axles]), RUBBER, "matte"),
        (merge(*[a[1] for a in axles]), (0.75, 0.75, 0.77), "metal"),
        (head, (0.92, 0.92, 0.88), "gloss"),
        (tails, (0.62, 0.05, 0.05), "gloss"),
        (grille, (0.05, 0.05, 0.05), "matte"),
        (plates, (0.9, 0.9, 0.86), "matte"),
        (mirrors, color, "paint"),
    ]


def _cabin(x, high, width, belt) -> np.ndarray:
    """The greenhouse: cross-sections that lean inwards from the belt line to the roof."""
    rings = []
    for xi, zi in zip(x, high, strict=True):
        rise = np.clip((zi - belt) / 0.5, 0, 1)
        foot, top = width * 0.465, width * (0.465 - 0.085 * rise)
        zi = max(zi, belt - 0.02)
        b = belt - 0.06
        z_edge = b + (zi - b) * 0.82
        half = [
            (foot, b),
            (foot - (foot - top) * 0.45, b + (z_edge - b) * 0.5),
            (top, z_edge),
            (top * 0.9, zi - (zi - z_edge) * 0.25),
            (top * 0.5, zi),
        ]
        ring = [*half, *[(-y, z) for y, z in half[::-1]]]
        rings.append([(xi, y, z) for y, z in ring])
    return np.array(rings)


def _roof_and_glass(rings) -> tuple[Mesh, Mesh]:
    """The cabin's skin, parted: the top between the roof's ends is sheet metal, the rest is glass."""
    mesh = loft(rings, caps=False)
    k, n = rings.shape[:2]
    row, column = np.divmod(np.arange((k - 1) * n), n)
    metal = np.tile((row >= 2) & (row < k - 3) & (column >= 2) & (column <= 6), 2)
    return Mesh(mesh.V, mesh.F[metal], mesh.UV), Mesh(mesh.V, mesh.F[~metal], mesh.UV)


def windows(x0: float, x1: float, y: float, z0: float, z1: float, count: int, gap: float = 0.12) -> Mesh:
    """A row of upright panes on both flanks (at +y and -y) from x0 to x1."""
    e = np.linspace(x0, x1, count + 1)
    out = []
    for a, b in zip(e[:-1] + gap / 2, e[1:] - gap / 2, strict=True):
        out.append([(b, y, z0), (a, y, z0), (a, y, z1), (b, y, z1)])
        out.append([(a, -y, z0), (b, -y, z0), (b, -y, z1), (a, -y, z1)])
    return quads(out)


def panes(x: float, y: float, z0: float, z1: float, ahead: bool = True) -> Mesh:
    """One pane across the front (or back) of a vehicle."""
    q = [(x, -y, z0), (x, y, z0), (x, y, z1), (x, -y, z1)]
    return quads([q if ahead else q[::-1]])
