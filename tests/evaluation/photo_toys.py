"""A folder of made-up photographs, whose every number is known beforehand, and a model that sees classes in grey."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from robustseg.data.photos import COLUMNS
from robustseg.models import wrap
from robustseg.types import Model

CLASSES = ("road", "sky", "person")
LEVELS = (40, 128, 215)
H, W = 48, 64
CORNERS = [[24.0, 16], [40, 16], [40, 28], [24, 28]]


class Grey(nn.Module):
    """The class whose grey level is nearest."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(LEVELS).view(1, 3, 1, 1) / 255)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -((x.mean(1, keepdim=True) - self.levels) ** 2)


def sees() -> Model:
    """The model of these photographs."""
    return wrap(Grey(), classes=CLASSES, name="grey")


def scene(wrong: int = 0) -> np.ndarray:
    """Sky over road, a board in the middle, and ``wrong`` columns at the right where the road is a person's grey."""
    picture = np.full((H, W), LEVELS[0], np.uint8)
    picture[: H // 2] = LEVELS[1]
    picture[14:30, 22:42] = 250  # the board and its frame
    if wrong:
        picture[H // 2 + 8 : H - 4, W - wrong :] = LEVELS[2]
    return picture


def save(path: Path, picture: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).convert("RGB").save(path, **options)


def table(folder: Path, rows: dict[str, tuple], delimiter: str = ",") -> None:
    """``photos.csv``: key -> (metres, degrees, corners)."""
    with (folder / "photos.csv").open("w", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(COLUMNS)
        for key, (metres, degrees, corners) in rows.items():
            writer.writerow([key, metres, degrees, *np.ravel(corners if corners is not None else [""] * 8)])


def field(folder: Path, places: int = 6, repeat: bool = True) -> Path:
    """Places where the random print changes 2 columns and the optimised one 6, and a second clean photo none."""
    rows = {}
    for n in range(places):
        name = f"p{n}"
        for board, wrong in (("clean", 0), ("repeat", 0), ("random", 2), ("optimised", 6)):
            if board != "repeat" or repeat:
                save(folder / board / f"{name}.png", scene(wrong))
        rows[name] = (20 - n, 5 * n, CORNERS)
    table(folder, rows)
    return folder
