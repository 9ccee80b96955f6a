"""Photographs of a folder as pictures to hang a patch in: image, truth where there is any, and four corners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustseg.data import load_data, resize
from robustseg.data.classes import match, remap
from robustseg.data.corners import read_corners
from robustseg.errors import UserError
from robustseg.evaluation import referee
from robustseg.evaluation.board_frames import Tick
from robustseg.evaluation.place_auto import find_place
from robustseg.ops import seeds
from robustseg.physical import quad
from robustseg.types import Model, SemanticTarget

__all__ = ["AUTO", "Placed", "pictures", "split"]

AUTO = "auto"


@dataclass(frozen=True)
class Placed:
    """``image (1,3,H,W)``; ``truth`` in model classes, None where the folder has none; ``corners (4,2)`` in it,
    ``written`` as they are in the file's own pixels; ``on``: how they were found."""

    name: str
    image: Tensor
    truth: SemanticTarget | None
    corners: Tensor
    written: list[list[float]]
    on: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.image.shape[2]), int(self.image.shape[3])


def pictures(
    ref: str,
    place: str | Mapping[str, object],
    model: Model,
    *,
    longest: int,
    aspect: float = 2.0,
    only: Sequence[str] | None = None,
    class_map: Any = None,
    tick: Tick | None = None,
) -> list[Placed]:
    """The pictures of a data reference that have a place, at most ``longest`` pixels long.

    ``place``: a file of corners, ``auto`` (`place_auto`, with ``aspect``), or corners by image id; ``only``: these ids.
    Pictures without corners are left out. Raises UserError for corners that make no board, naming the picture, for two
    pictures that are the same, and for classes that the model lacks.
    """
    if longest < 32:
        raise UserError("--longest is at least 32 pixels")
    tell = tick or (lambda *_: None)
    data = load_data(ref)
    if data.task != "semantic":
        raise UserError(f"data {ref}: a patch hangs in photographs with labels of pixels, or with none")
    table = match(data.classes, model.spec.classes, class_map=class_map, data_ignore=data.ignore)
    corners = None
    if isinstance(place, Mapping):
        corners = dict(place)
    elif place != AUTO:
        corners = read_corners(place, data.ids, ref)
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    found: list[Placed] = []
    contents: dict[str, str] = {}
    wanted = [i for i, name in enumerate(data.ids) if (only is None or name in only)
              and (corners is None or name in corners)]  # fmt: skip
    for n, i in enumerate(wanted):
        tell(n, len(wanted), "reading")
        sample = data[i]
        content = seeds.content_ids(sample.image[None])[0]
        if content in contents:
            raise UserError(f"data {ref}: {sample.id} and {contents[content]} are the same picture; remove one")
        contents[content] = sample.id
        H, W = int(sample.image.shape[1]), int(sample.image.shape[2])
        factor = min(1.0, longest / max(H, W))
        size = (max(round(H * factor), 1), max(round(W * factor), 1))
        image = resize.image(sample.image, size)[None].to(device)
        scale = torch.tensor([size[1] / W, size[0] / H], dtype=torch.float64)
        if corners is None:
            labels = referee.predict(model, image)[0].labels
            assert labels is not None
            raw, on = find_place(labels[0].cpu().numpy(), model.spec.classes, aspect)
            written = torch.tensor(raw, dtype=torch.float64) / scale
        else:
            written = quad.checked(corners[sample.id], (H, W), f"{ref}, {sample.id}")
            on = "marked"
        there = quad.checked((written * scale).tolist(), size, f"{ref}, {sample.id} at {size[1]} x {size[0]} pixels")
        truth = None
        if sample.labels is not None:
            truth = SemanticTarget(resize.nearest(remap(sample.labels, table), size)[None].to(device))
        rounded = [[round(float(v), 2) for v in p] for p in written]
        found.append(Placed(sample.id, image, truth, there, rounded, on))
    return found


def split(found: Sequence[Placed], seed: int) -> tuple[list[Placed], list[Placed]]:
    """Two thirds to fit on and a third, at least one, to judge on; drawn by the seed from the names alone.

    Raises UserError for fewer than two pictures.
    """
    if len(found) < 2:
        raise UserError(
            f"{len(found)} picture with a place; a patch is fitted on some and judged on others, so give two or more"
        )
    order = sorted(found, key=lambda p: float(torch.rand((), generator=seeds.generator(seed, f"{p.name}/split"))))
    out = max(round(len(found) / 3), 1)
    held = {p.name for p in order[:out]}
    return [p for p in found if p.name not in held], [p for p in found if p.name in held]
