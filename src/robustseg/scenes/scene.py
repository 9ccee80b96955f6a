"""What a scene is made of: parts with labels, materials, a camera and a sky."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robustseg.scenes.camera import Camera
from robustseg.scenes.meshes import Mesh

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
(
    ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION,
    TERRAIN, SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE,
) = range(19)  # fmt: skip
THINGS = range(PERSON, BICYCLE + 1)
VOID = 255
CLOTHING, SKIN = 1, 2


@dataclass(frozen=True)
class Part:
    """A mesh with one material, one train id and one instance id (0 for stuff).

    `color` is sRGB in [0,1], (3,) or per vertex (n,3), and is used where the material has no texture.
    `region` tells clothing (1, attackable) from skin and hair (2) on people.
    """

    mesh: Mesh
    label: int
    material: str
    color: tuple | np.ndarray = (0.5, 0.5, 0.5)
    instance: int = 0
    region: int = 0


@dataclass(frozen=True)
class Material:
    """How a surface reflects. kind: matte or surface or print (diffuse), paint (clear coat), gloss (glass, plastic),
    metal, ground (a coat as rough as `roughness`, which may be a map), lit (a lamp: diffuse, four times as bright).

    `texture` is uint8 sRGB (h,w,3) that repeats every `size` metres (a print does not repeat, and its row 0 is at
    v = 0); without it the part's colour counts.
    """

    kind: str
    texture: np.ndarray | None = None
    size: float = 1.0
    roughness: float | np.ndarray = 0.9


@dataclass(frozen=True)
class Sky:
    """Light from far away: a panorama of linear radiance (h,2h,3) and a sun.

    The panorama's row 0 is the zenith; column c looks to azimuth 2 pi c / width, from +y over +x.
    `haze` is the extinction per metre, `airlight` its linear colour.
    """

    panorama: np.ndarray
    sun_direction: tuple[float, float, float]
    sun_irradiance: tuple[float, float, float]
    haze: float
    airlight: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything a renderer needs; `facts` says in plain values what was drawn by chance."""

    parts: tuple[Part, ...]
    materials: dict[str, Material]
    camera: Camera
    sky: Sky
    exposure: float = 1.0
    facts: dict = field(default_factory=dict)
