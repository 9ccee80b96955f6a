"""Several prints at one place: what counts for all of them alike, a row of each, and the pictures that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustseg.evaluation.beside import Row
from robustseg.evaluation.colours import coloured, save_rgb
from robustseg.tasks.semantic import statistics

__all__ = ["IGNORE", "keep", "row"]

IGNORE = 65535
DIM = 0.45
RED = (230.0, 30.0, 40.0)


def row(labels: Tensor, reference: Tensor, counts: Tensor, classes: int) -> Row:
    """Statistics of a label map against another, all ``(H,W)``, on the pixels that count (bool)."""
    truth = torch.where(counts, reference, IGNORE)
    return statistics(labels[None], truth[None], classes=classes, ignore=IGNORE)[0]


def keep(
    stem: Path,
    image: Tensor,
    labels: Tensor,
    clean: tuple[Tensor, Tensor],
    counts: Tensor,
    colours: Sequence[Sequence[int]],
) -> None:
    """Writes ``stem.png``, the photograph ``(3,H,W)``; ``.labels.png``, its prediction; ``.changed.png``, in red where
    that differs from the clean prediction, over the clean photograph (``clean``: that and its labels). What does not
    count is dimmed."""
    save_rgb(_named(stem, ""), image.numpy())
    map_ = torch.from_numpy(coloured(labels.numpy(), colours).copy()).float()
    map_ = torch.where(counts[..., None], map_, map_ * DIM)
    save_rgb(_named(stem, ".labels"), map_.round().byte().numpy())
    grey = (60 + 120 * clean[0].mean(0)).unsqueeze(-1).expand(-1, -1, 3)
    base = torch.where(counts[..., None], grey, grey * DIM)
    changed = (counts & (labels != clean[1]))[..., None]
    base = torch.where(changed, torch.tensor(RED), base)
    save_rgb(_named(stem, ".changed"), base.round().byte().numpy())


def _named(stem: Path, what: str) -> Path:
    return stem.with_name(f"{stem.name}{what}.png")
