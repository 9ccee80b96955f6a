"""Who uses the street: vehicles, people and cycles, placed without collisions, in road coordinates."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.cycles import SEAT, bicycle, motorcycle
from robustseg.scenes.heavy import bus, tram, truck
from robustseg.scenes.layout import Profile
from robustseg.scenes.people import pedestrian, rider
from robustseg.scenes.scene import Part
from robustseg.scenes.vehicles import car

# half length and half width that each kind keeps free, metres
ROOM = {
    "car": (2.9, 1.0),
    "truck": (5.4, 1.4),
    "bus": (6.6, 1.45),
    "motorcycle": (1.3, 0.5),
    "bicycle": (1.1, 0.4),
    "person": (0.45, 0.4),
}
MAKE = {"car": car, "truck": truck, "bus": bus, "tram": tram}


class Crowd:
    """Fills a street: claims room on the ground, numbers instances, collects parts."""

    def __init__(self, rng: np.random.Generator, profile: Profile, eye: float, half_view: float) -> None:
        self.rng, self.profile, self.eye, self.half_view = rng, profile, eye, half_view
        self.parts: list[Part] = []
        self.count = 0
        self.taken: list[tuple[float, float, float, float]] = [(1.0, eye, 3.6, 1.0)]

    def claim(self, s: float, d: float, half_length: float, half_width: float) -> bool:
        """Take a rectangle of ground if it is free."""
        for a, b, p, q in self.taken:
            if abs(s - a) < half_length + p and abs(d - b) < half_width + q:
                return False
        self.taken.append((s, d, half_length, half_width))
        return True

    def seen(self, s: float, d: float) -> bool:
        """Whether a point lies in the camera's wedge of view, with a little margin."""
        return s > 2 and abs(d - self.eye) < s * self.half_view * 0.92

    def next(self) -> int:
        self.count += 1
        return self.count

    def vehicle(self, kind: str, s: float, d: float, heading: int, z: float = 0.0) -> bool:
        """A car, truck, bus or tram at (s,d); heading +1 drives away from the camera, -1 comes towards it."""
        if kind != "tram" and not self.claim(s, d, *ROOM[kind]):
            return False
        yaw = (0.0 if heading > 0 else np.pi) + self.rng.normal(0, 0.015)
        self.parts += MAKE[kind](self.rng, self.next(), (s, d, z), yaw)
        return True

    def cycle(self, kind: str, s: float, d: float, yaw: float, ridden: bool, z: float = 0.0) -> bool:
        """A bicycle or motorcycle, with its rider as an instance of its own."""
        if not self.claim(s, d, *ROOM[kind]):
            return False
        make = bicycle if kind == "bicycle" else motorcycle
        self.parts += make(self.rng, self.next(), (s, d, z), yaw)
        if ridden:
            self.parts += rider(self.rng, self.next(), (s, d, z), yaw, *SEAT[kind])
        return True

    def walker(self, s: float, d: float, yaw: float, z: float) -> bool:
        """Somebody on foot."""
        if not self.claim(s, d, *ROOM["person"]):
            return False
        self.parts += pedestrian(self.rng, self.next(), (s, d, z), yaw)
        return True


def populate(crowd: Crowd, has_tram: bool) -> None:
    """The rare ones first, where they can be seen; then the usual traffic."""
    rng, p = crowd.rng, crowd.profile
    if has_tram:
        heading = -1 if rng.random() < 0.6 else 1
        crowd.vehicle("tram", rng.uniform(20, 38), 1.6 if heading < 0 else -1.6, heading)
    for kind, chance in (("bus", 0.36), ("truck", 0.48)):
        if rng.random() < chance:
            _try(lambda kind=kind: _lane_spot(crowd, kind, rng.uniform(11, 30)))
    _two_wheelers(crowd)
    _people(crowd)
    _parked(crowd)
    for side in (1, -1):
        for k in range(p.lanes):
            s = rng.uniform(9, 30)
            while s < 110:
                kind = "car" if rng.random() < 0.85 else ("truck", "bus")[rng.integers(2)]
                crowd.vehicle(kind, s, p.lane_center(side, k) + rng.normal(0, 0.15), -side)
                s += rng.uniform(8, 26)


def _try(action, times: int = 8) -> None:
    for _ in range(times):
        if action():
            return


def _lane_spot(crowd: Crowd, kind: str, s: float) -> bool:
    rng, p = crowd.rng, crowd.profile
    side = 1 if rng.random() < 0.6 else -1
    k = int(rng.integers(p.lanes))
    i = 0 if side > 0 else 1
    d = p.lane_center(side, k)
    if p.parking[i] and rng.random() < 0.3:
        d = side * (p.kerb(side) - 1.4)
    return crowd.seen(s - 3, d) and crowd.vehicle(kind, s, d, -side)


def _two_wheelers(crowd: Crowd) -> None:
    rng, p = crowd.rng, crowd.profile
    for kind, chance, most in (("bicycle", 0.55, 4), ("motorcycle", 0.5, 3)):
        if rng.random() < chance:  # parked in a small row

            def row(kind=kind, most=most) -> bool:
                side = 1 if rng.random() < 0.45 else -1
                inner, outer = p.walk_span(side)
                on_walk = kind == "bicycle" or rng.random() < 0.4
                d = side * (rng.uniform(inner + 0.4, min(inner + 1.2, outer - 0.3)) if on_walk else p.kerb(side) - 0.8)
                s, yaw = rng.uniform(4.5, 13), rng.choice([0.0, np.pi, np.pi / 2, 0.6, -0.6]) + rng.normal(0, 0.12)
                if not crowd.seen(s, d) or not crowd.cycle(kind, s, d, yaw, False, 0.13 if on_walk else 0.0):
                    return False
                for _ in range(int(rng.integers(most))):
                    s += rng.uniform(1.0, 2.3)
                    crowd.cycle(kind, s, d, yaw + rng.normal(0, 0.1), False, 0.13 if on_walk else 0.0)
                return True

            _try(row, 16)
    for kind, chance in (("bicycle", 0.55), ("bicycle", 0.3), ("motorcycle", 0.42), ("motorcycle", 0.15)):
        if rng.random() < chance:

            def ride(kind=kind) -> bool:
                side = 1 if rng.random() < 0.5 else -1
                i = 0 if side > 0 else 1
                edge = p.median_width / 2 + p.lanes * p.lane
                d = (
                    side * (edge - rng.uniform(0.5, 1.0))
                    if kind == "bicycle"
                    else p.lane_center(side, p.lanes - 1) + rng.normal(0, 0.5)
                )
                s = rng.uniform(5.5, 17)
                if p.parking[i] == 0 and kind == "bicycle" and rng.random() < 0.3:
                    d = side * (p.kerb(side) - 0.6)
                yaw = (np.pi if side > 0 else 0.0) + rng.normal(0, 0.1)
                return crowd.seen(s, d) and crowd.cycle(kind, s, d, yaw, True)

            _try(ride, 16)


def _people(crowd: Crowd) -> None:
    rng, p = crowd.rng, crowd.profile

    def on_walk(lo: float, hi: float) -> bool:
        side = 1 if rng.random() < 0.45 else -1
        inner, outer = p.walk_span(side)
        s, d = rng.uniform(lo, hi), side * rng.uniform(inner + 0.3, outer - 0.4)
        yaw = rng.choice([0.0, np.pi]) + rng.normal(0, 0.35)
        return crowd.seen(s, d) and crowd.walker(s, d, yaw, 0.13)

    def crossing(lo: float, hi: float) -> bool:
        s = rng.uniform(lo, hi)
        d = rng.uniform(-p.kerb(-1), p.kerb(1))
        yaw = rng.choice([1, -1]) * np.pi / 2 + rng.normal(0, 0.3)
        free = abs(d) > p.median_width / 2 + 0.2 or p.median == "none"
        return free and crowd.seen(s, d) and crowd.walker(s, d, yaw, 0.0)

    for _ in range(int(rng.integers(1, 3))):
        _try(lambda: on_walk(4.2, 8.5) if rng.random() < 0.65 else crossing(5.0, 9.0), 20)
    for _ in range(int(rng.integers(2, 7))):
        _try(lambda: on_walk(7.0, 40.0))
    for _ in range(int(rng.integers(0, 3))):
        _try(lambda: crossing(8.0, 28.0))


def _parked(crowd: Crowd) -> None:
    rng, p = crowd.rng, crowd.profile
    for side in (1, -1):
        if not p.parking[0 if side > 0 else 1]:
            continue
        full = rng.uniform(0.4, 0.95)
        s = rng.uniform(-2, 4)
        while s < 90:
            inside = p.junction and p.junction[0] - 8 < s < p.junction[1] + 5
            if rng.random() < full and not inside:
                heading = -side if rng.random() < 0.85 else side
                crowd.vehicle("car", s, side * (p.kerb(side) - 1.08), heading)
            s += rng.uniform(5.9, 7.2)
