"""Streets with a billboard: a poster on a wall, a roadside board, the back of a truck, a T-shirt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robustseg.errors import UserError
from robustseg.scenes.board import Board
from robustseg.scenes.buildings import building
from robustseg.scenes.camera import Camera
from robustseg.scenes.frontage import distance, frontages
from robustseg.scenes.heavy import truck
from robustseg.scenes.layout import Profile, draw_profile, ground
from robustseg.scenes.meshes import box, merge, quads, tube
from robustseg.scenes.people import pedestrian
from robustseg.scenes.plants import bush, tree
from robustseg.scenes.scene import (
    BUILDING,
    CLOTHING,
    PERSON,
    POLE,
    TRUCK,
    VEGETATION,
    VOID,
    Material,
    Part,
    Scene,
)  # fmt: skip
from robustseg.scenes.sky import WEATHER, draw_sky
from robustseg.scenes.street import furnish, materials, seed_of
from robustseg.scenes.traffic import Crowd, populate

KINDS = ("wall", "roadside", "truck", "shirt")


@dataclass(frozen=True)
class Site:
    """A street with a billboard, and from how far to how near (metres along the road) a camera drives up to it.

    `lane` is the camera's distance from the middle of the road (left is positive), `height` its height, metres.
    """

    scene: Scene
    board: Board
    span: tuple[float, float]
    lane: float
    height: float


def billboard(kind: str, seed: int, weather: str | None = None, sun: tuple[float, float] | None = None) -> Site:
    """A site of this kind, the same for the same arguments; weather and sun (elevation, azimuth) drawn if not given.

    The scene's camera is that of an image of 256x128 pixels at the far end. Raises UserError for unknown names.
    """
    if kind not in KINDS:
        raise UserError(f"no billboard of kind {kind!r}; choose one of {', '.join(KINDS)}")
    if weather is not None and weather not in WEATHER:
        raise UserError(f"no weather {weather!r}; choose one of {', '.join(WEATHER)}")
    rng = np.random.default_rng(seed_of(f"billboard-{kind}", seed))
    p = replace(draw_profile(rng, False), lanes=1, median="none", junction=None)
    p = replace(p, parking=(p.parking[0], 0.0), verge=(p.verge[0], 0.0), walk=(p.walk[0], 2.2))
    drawn = WEATHER[rng.choice(5, p=[0.36, 0.24, 0.18, 0.10, 0.12])]
    sky, facts = draw_sky(rng, weather or drawn, sun)
    blocks, _ = frontages(rng, p)
    carried, board, span, lane, height = _CARRY[kind](rng, p)
    far, near = span
    start, end = board.center[0] - far, board.center[0] - near
    crowd = Crowd(rng, p, lane, 0.7)
    crowd.taken = [((start + end) / 2, lane, (end - start) / 2 + 4, 1.2)]
    crowd.taken.append((float(board.center[0]), float(board.center[1]), 5.0, board.size[0] / 2 + 0.3))
    crowd.count = board.instance
    populate(crowd, False)
    open_air = [q for q in blocks + furnish(rng, p) if not _in_the_way(q, board, p)]
    parts = ground(rng, p) + open_air + _backdrop(rng, p) + crowd.parts + carried + [_print(board)] + distance(rng)
    stuff = materials(rng, facts["weather"]) | {"board": Material("print", advert())}
    camera = Camera(256, 128, 70.0, (float(start), lane, height))
    facts |= {"kind": kind, "seed": seed, "size_m": [round(v, 3) for v in board.size], "things": crowd.count}
    return Site(Scene(tuple(parts), stuff, camera, sky, 1.0, facts), board, span, lane, height)


def advert(width: int = 300, height: int = 150) -> np.ndarray:
    """A harmless advertisement, uint8 sRGB (h,w,3): a sun, hills and two lines of writing, told apart at a glance."""
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / height
    wide = width / height
    sky = np.stack([0.98 - 0.25 * y, 0.75 - 0.1 * y, 0.45 + 0.3 * y], -1)
    hills = y > 0.72 + 0.10 * np.sin(2.2 * x + 0.6)
    picture = np.where(hills[..., None], [0.10, 0.36, 0.30], sky)
    picture[np.hypot(x - 0.38 * wide / 2, y - 0.4) < 0.2] = (0.95, 0.30, 0.16)
    for top, left, right, tone in ((0.16, 0.52, 0.94, 0.98), (0.36, 0.52, 0.80, 0.12)):
        picture[(np.abs(y - top - 0.05) < 0.05) & (x > left * wide) & (x < right * wide)] = tone
    edge = (np.minimum(x, wide - x) < 0.02) | (np.minimum(y, 1 - y) < 0.02)
    picture[edge] = 0.95
    return (picture * 255 + 0.5).astype(np.uint8)


def rectangle(center, yaw: float, width: float, height: float) -> np.ndarray:
    """The corners (4,3) of an upright rectangle whose normal looks to yaw (radians, from +x to the left)."""
    right = np.array([-np.sin(yaw), np.cos(yaw), 0.0]) * width / 2
    up = np.array([0, 0, height / 2])
    return np.asarray(center, float) + np.stack([up - right, up + right, right - up, -right - up])


def _print(board: Board) -> Part:
    tl, tr, br, bl = board.corners
    mesh = quads([[bl, br, tr, tl]], [[(0, 1), (1, 1), (1, 0), (0, 0)]])
    return Part(mesh, VOID, "board", instance=board.instance)


def _panel(board: Board, thick: float, rim: float) -> Part:
    """The panel a print is mounted on; like the board it is of no class."""
    n = board.normal
    yaw = np.arctan2(n[1], n[0])
    w, h = board.size
    mesh = box((0, 0, 0), (thick, w + 2 * rim, h + 2 * rim)).moved(board.center - n * (thick / 2 + 0.01), yaw)
    return Part(mesh, VOID, "metal", (0.30, 0.31, 0.33))


def _wall(rng, p: Profile):
    """A poster on the gable of a house that stands behind an open lot."""
    s, front = 24.0, -(p.walk_span(-1)[1] + 0.4)
    wide, high = 4.2, 2.8
    house = building(rng, s, s + 12, front, 10.0, -1, f"facade{rng.integers(4)}", 2)  # no balconies
    corners = rectangle((s - 0.22, front - 0.8 - wide / 2, 2.7 + rng.uniform(-0.3, 0.5)), np.pi, wide, high)
    board = Board("wall", corners, 1, BUILDING)
    return [*house, _panel(board, 0.18, 0.08)], board, (22.0, 8.0), p.lane_center(-1, 0), rng.uniform(1.35, 1.7)


def _roadside(rng, p: Profile):
    """7.5 x 3.75 m on two posts beside the pavement, turned to the road by 22 degrees (the board of Nesti et al.)."""
    wide, high = 7.5, 3.75
    at = np.array([26.0, -(p.walk_span(-1)[1] + 0.5 + wide / 2), 4.2])
    board = Board("roadside", rectangle(at, np.pi - np.radians(22.0), wide, high), 1, VOID)
    back = at - board.normal * 0.15
    right = (board.corners[1] - board.corners[0]) / wide
    tops = [back + right * q for q in (-2.4, 2.4)]
    posts = merge(*[tube([t * [1, 1, 0], t], 0.13, 8) for t in tops])
    carried = [_panel(board, 0.16, 0.12), Part(posts, POLE, "metal", (0.25, 0.25, 0.26))]
    return carried, board, (26.0, 11.0), p.lane_center(-1, 0), rng.uniform(1.35, 1.7)


def _truck(rng, p: Profile):
    """A print on the rear doors of a box truck that drives ahead in the same lane."""
    lane = p.lane_center(-1, 0)
    parts = truck(rng, 1, (26.0, lane, 0.0), 0.0, body=0)
    back = min(q.mesh.V[:, 0].min() for q in parts)
    board = Board("truck", rectangle((back - 0.03, lane, 2.05), np.pi, 2.3, 1.95), 2, TRUCK)
    return [*parts, _panel(board, 0.015, 0.02)], board, (18.0, 6.0), lane, rng.uniform(1.35, 1.7)


def _shirt(rng, p: Profile):
    """A flat print on the chest of somebody who comes along the pavement; folds of the cloth are not modelled."""
    inner, outer = p.walk_span(-1)
    at = np.array([9.0, -(inner + outer) / 2 - 0.3, 0.13])
    somebody = pedestrian(rng, 1, at, np.pi)
    shirt = next(q for q in somebody if q.region == CLOTHING).mesh.V
    head = max(q.mesh.V[:, 2].max() for q in somebody)
    chest = at[2] + (head - at[2]) * 0.70
    near = np.abs(shirt[:, 1] - at[1]) < 0.17
    front = shirt[near & (np.abs(shirt[:, 2] - chest) < 0.24), 0].min()
    tall = 0.40 * (head - at[2]) / 1.77
    board = Board("shirt", rectangle((front - 0.012, at[1], chest), np.pi, tall * 0.8, tall), 2, PERSON)
    return somebody, board, (4.5, 1.8), float(at[1] + 0.45), 1.6


_CARRY = {"wall": _wall, "roadside": _roadside, "truck": _truck, "shirt": _shirt}


def _in_the_way(part: Part, board: Board, p: Profile) -> bool:
    """Whether a part of the surroundings stands on the lot of the board or in the sight of it from the road."""
    if board.kind not in ("wall", "roadside"):
        return False
    (x0, y0, _), (x1, y1, _) = part.mesh.V.min(0), part.mesh.V.max(0)
    last = board.center[0] + (14 if board.kind == "wall" else 8)
    lot = x1 > -12 and x0 < last and y0 < -p.walk_span(-1)[0] and y1 < 0
    kerbside = 4 < (x0 + x1) / 2 < board.center[0] + 2 and -p.walk_span(-1)[1] - 1 < (y0 + y1) / 2 < -p.kerb(-1)
    return lot or (kerbside and part.label == VEGETATION)


def _backdrop(rng, p: Profile) -> list[Part]:
    """What can be seen across an open lot: trees and shrubs."""
    edge = p.walk_span(-1)[1]
    parts = []
    for s in np.arange(14.0, 62.0, 5.0):
        parts += tree(rng, (s + rng.uniform(-2, 2), -(edge + rng.uniform(16, 26)), 0.1), rng.uniform(5, 8))
    for _ in range(8):
        parts += bush(rng, (rng.uniform(10, 50), -(edge + rng.uniform(11, 15)), 0.08), rng.uniform(0.9, 2.0))
    return parts
