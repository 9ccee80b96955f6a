"""The street itself in road coordinates: s along the road, d to the left, z up; ground, kerbs, markings, frontages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustseg.scenes.meshes import Mesh, boxes, merge, quads
from robustseg.scenes.scene import ROAD, SIDEWALK, TERRAIN, Part

NEAR, FAR = -30.0, 180.0
PAINT = (0.80, 0.80, 0.78)


@dataclass(frozen=True)
class Profile:
    """A street's cross-section in metres. `median` is what lies between the directions: none, grass or tram."""

    lane: float
    lanes: int
    median: str
    parking: tuple[float, float]  # widths on the left and on the right, 0 where there is none
    verge: tuple[float, float]
    walk: tuple[float, float]
    junction: tuple[float, float] | None

    @property
    def median_width(self) -> float:
        return {"none": 0.0, "grass": 2.4, "tram": 6.4}[self.median]

    def lane_center(self, side: int, k: int) -> float:
        """d of lane k counted from the middle; side +1 is oncoming (left), -1 is ours."""
        return side * (self.median_width / 2 + self.lane * (k + 0.5))

    def kerb(self, side: int) -> float:
        """Distance from the middle to the kerb."""
        return self.median_width / 2 + self.lane * self.lanes + self.parking[0 if side > 0 else 1]

    def walk_span(self, side: int) -> tuple[float, float]:
        """Inner and outer distance of the pavement from the middle."""
        i = 0 if side > 0 else 1
        inner = self.kerb(side) + self.verge[i]
        return inner, inner + self.walk[i]


def draw_profile(rng: np.random.Generator, tram: bool) -> Profile:
    """A cross-section by chance."""

    def two(chance: float, low: float, high: float) -> tuple[float, float]:
        left, right = (float(rng.uniform(low, high)) if rng.random() < chance else 0.0 for _ in range(2))
        return left, right

    lanes = 1 if tram or rng.random() < 0.65 else 2
    median = "tram" if tram else ("grass" if rng.random() < 0.18 else "none")
    start = rng.uniform(22, 48)
    junction = (start, start + rng.uniform(8, 11)) if rng.random() < 0.55 else None
    return Profile(
        rng.uniform(3.0, 3.5), lanes, median, two(0.6, 2.1, 2.4), two(0.45, 1.0, 1.8), two(1.0, 2.0, 3.6), junction
    )


def band(s, d0: float, d1: float, z: float) -> Mesh:
    """A strip of ground between d0 < d1 through the stations s, texture in metres."""
    s = np.asarray(s, float)
    a, b = s[:-1], s[1:]
    f = lambda x, y: np.column_stack([x, np.full_like(x, y), np.full_like(x, z)])  # noqa: E731
    uv = lambda x, y: np.column_stack([x, np.full_like(x, y)])  # noqa: E731
    return quads(
        np.stack([f(a, d0), f(b, d0), f(b, d1), f(a, d1)], 1), np.stack([uv(a, d0), uv(b, d0), uv(b, d1), uv(a, d1)], 1)
    )


def stations(a: float, b: float, step: float = 3.0) -> np.ndarray:
    """Evenly spaced stations from a to b, at most `step` apart."""
    return np.linspace(a, b, max(2, int(np.ceil((b - a) / step)) + 1))


def runs(profile: Profile, margin: float = 0.0) -> list[tuple[float, float]]:
    """The stretches of the street outside its junction."""
    if profile.junction is None:
        return [(NEAR, FAR)]
    j0, j1 = profile.junction
    return [(NEAR, j0 - margin), (j1 + margin, FAR)]


def ground(rng: np.random.Generator, profile: Profile) -> list[Part]:
    """Road, pavements, verges, lawns, the cross street and the wide plain below."""
    left, right = profile.kerb(1), profile.kerb(-1)
    parts = [
        Part(band(stations(NEAR, FAR), -right, left, 0.0), ROAD, "asphalt"),
        Part(
            quads([[(-900, -900, -0.25), (900, -900, -0.25), (900, 900, -0.25), (-900, 900, -0.25)]]), TERRAIN, "grass"
        ),
    ]
    if profile.junction:
        j0, j1 = profile.junction
        for d0, d1 in ((-70, -right), (left, 70)):
            parts.append(Part(band(stations(j0, j1), d0, d1, 0.0), ROAD, "asphalt"))
    for side in (1, -1):
        kerb, (inner, outer) = profile.kerb(side), profile.walk_span(side)
        span = lambda a, b, k=side: (a, b) if k > 0 else (-b, -a)  # noqa: E731
        for a, b in runs(profile):
            s = stations(a, b)
            parts.append(Part(band(s, *span(inner, outer), 0.13), SIDEWALK, "pavement"))
            if inner > kerb + 0.3:
                parts.append(Part(band(s, *span(kerb + 0.1, inner), 0.125), TERRAIN, "grass"))
            mids = (s[:-1] + s[1:]) / 2
            edge = boxes([(m, side * (kerb + 0.08), 0.06) for m in mids], (s[1] - s[0], 0.2, 0.16))
            parts.append(Part(edge, SIDEWALK, "matte", (0.62, 0.61, 0.58)))
            parts.append(Part(band(s, *span(outer, 70.0), 0.10), TERRAIN, "grass"))
        if profile.junction:
            for a, b in ((j0 - 2.4, j0), (j1, j1 + 2.4)):
                parts.append(Part(band([a, b], *span(kerb + 0.1, 70.0), 0.132), SIDEWALK, "pavement"))
    return parts + markings(rng, profile) + _median(profile)


def markings(rng: np.random.Generator, profile: Profile) -> list[Part]:
    """Painted lines, a zebra crossing, and patches and manholes; all of them road."""
    m, w, z = profile.median_width / 2, profile.lane, 0.008
    paint, dark = [], []
    for a, b in runs(profile, 1.0):
        for side in (1, -1):
            k = profile.lanes * w + m
            if profile.parking[0 if side > 0 else 1] or rng.random() < 0.5:
                edge = side * (k - 0.1)
                paint.append(band(stations(a, b), edge - 0.07, edge + 0.07, z))
            for lane in range(1, profile.lanes):
                d = side * (m + lane * w)
                paint += [band([s, s + 2.5], d - 0.07, d + 0.07, z) for s in np.arange(a, b - 3, 7.0)]
        if m == 0:
            solid = rng.random() < 0.35
            paint += (
                [band(stations(a, b), -0.08, 0.08, z)]
                if solid
                else [band([s, s + 3], -0.08, 0.08, z) for s in np.arange(a, b - 3, 6.5)]
            )
    cross = []
    if profile.junction:
        cross = [profile.junction[0] - 5.0] + ([profile.junction[1] + 2.0] if rng.random() < 0.5 else [])
    elif rng.random() < 0.4:
        cross = [rng.uniform(9, 25)]
    for s in cross:
        d = np.arange(-profile.kerb(-1) + 0.4, profile.kerb(1) - 0.4, 1.0)
        paint += [band([s, s + 3.2], q, q + 0.5, z + 0.002) for q in d if abs(q + 0.25) > m]
    for _ in range(int(rng.integers(3, 9))):
        s, d = rng.uniform(2, 50), rng.uniform(-profile.kerb(-1) + 1, profile.kerb(1) - 2)
        dark.append(band([s, s + rng.uniform(1, 6)], d, d + rng.uniform(0.6, 2.2), 0.004))
    tone = rng.uniform(0.22, 0.30)
    layers = ((paint, PAINT), (dark, (tone, tone, tone * 1.03)))
    return [Part(merge(*meshes), ROAD, "matte", color) for meshes, color in layers if meshes]


def _median(profile: Profile) -> list[Part]:
    if profile.median == "none":
        return []
    h = profile.median_width / 2
    parts = []
    for a, b in runs(profile):
        s = stations(a, b)
        if profile.median == "grass":
            parts.append(Part(band(s, -h + 0.15, h - 0.15, 0.14), TERRAIN, "grass"))
            spots = [(m, k * (h - 0.08), 0.07) for m in (s[:-1] + s[1:]) / 2 for k in (1, -1)]
            parts.append(Part(boxes(spots, (s[1] - s[0], 0.2, 0.16)), SIDEWALK, "matte", (0.62, 0.61, 0.58)))
    if profile.median == "tram":
        s = stations(NEAR, FAR)
        parts.append(
            Part(merge(*[band(s, c - 1.3, c + 1.3, 0.006) for c in (1.6, -1.6)]), ROAD, "matte", (0.47, 0.46, 0.45))
        )
        parts.append(
            Part(
                merge(*[band(s, c + r - 0.06, c + r + 0.06, 0.012) for c in (1.6, -1.6) for r in (0.72, -0.72)]),
                ROAD,
                "metal",
                (0.30, 0.29, 0.28),
            )
        )
    return parts
