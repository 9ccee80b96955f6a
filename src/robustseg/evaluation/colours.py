"""Label maps as pictures: a colour for every class, 8-bit index maps, perturbations made visible."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["coloured", "gain", "palette", "perturbation", "save_index", "save_rgb"]

FAMILIAR = {  # street classes look as people know them from Cityscapes
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "pavement": (244, 35, 232), "building": (70, 70, 70),
    "wall": (102, 102, 156), "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0), "sign symbol": (220, 220, 0), "vegetation": (107, 142, 35), "tree": (107, 142, 35),
    "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60), "pedestrian": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 110), "bus": (0, 60, 100), "train": (0, 80, 100),
    "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32), "bicyclist": (119, 11, 32), "background": (196, 196, 208),
}  # fmt: skip


def palette(classes: Sequence[str]) -> dict[str, list[int]]:
    """A colour ``[r, g, b]`` for each class: the familiar one, else hues a golden section apart."""
    found: dict[str, list[int]] = {}
    for n, name in enumerate(classes):
        familiar = FAMILIAR.get(name.lower().replace("_", " "))
        if familiar is None or list(familiar) in found.values():
            hue, light = (n * 0.618034) % 1.0, (0.45, 0.62, 0.78)[n % 3]
            familiar = tuple(round(255 * v) for v in colorsys.hls_to_rgb(hue, light, 0.7))
        found[name] = list(familiar)
    return found


def coloured(labels: NDArray[np.integer], colours: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Label map ``(H,W)`` to RGB ``(H,W,3)``; what is no class is black."""
    table = np.array([*colours, (0, 0, 0)], dtype=np.uint8)
    known = (labels >= 0) & (labels < len(colours))
    return table[np.where(known, labels, len(colours))]


def gain(delta: NDArray[np.floating]) -> int:
    """How many times larger a perturbation is shown: so that its largest value nearly fills the range around grey.

    >>> gain(np.array([8 / 255]))
    15
    """
    largest = float(np.abs(delta).max())
    return 1 if largest == 0 else max(1, int(0.4999 / largest))


def perturbation(delta: NDArray[np.floating], times: int) -> NDArray[np.uint8]:
    """Difference ``(3,H,W)`` times ``times`` around mid-grey, as RGB ``(H,W,3)``."""
    return np.clip(np.rint(255 * (0.5 + times * delta.transpose(1, 2, 0))), 0, 255).astype(np.uint8)


def save_rgb(path: Path, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> None:
    """PNG from RGB bytes ``(H,W,3)`` or an image ``(3,H,W)`` in [0,1]."""
    from PIL import Image

    if pixels.dtype != np.uint8:
        pixels = np.clip(np.rint(pixels.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def save_index(path: Path, labels: NDArray[np.integer]) -> None:
    """The raw indices as an 8-bit PNG; what does not fit (the ignore value) is 255."""
    from PIL import Image

    Image.fromarray(np.where((labels >= 0) & (labels < 255), labels, 255).astype(np.uint8)).save(path)
