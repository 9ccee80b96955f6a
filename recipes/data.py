"""Training images in memory: uint8 tensors, read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def load_camvid(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """CamVid images `(N,3,H,W)` and labels `(N,H,W)`, uint8, void (11) mapped to 255."""
    pairs = [(p, root / f"{split}annot" / f"{p.stem}.png") for p in sorted((root / split).iterdir())]
    images, labels = stack(pairs)
    return images, labels.masked_fill(labels == 11, 255)


def load_folder(root: Path) -> tuple[Tensor, Tensor]:
    """`images/*` with `labels/*.png` of the same stem, uint8."""
    return stack([(p, root / "labels" / f"{p.stem}.png") for p in sorted((root / "images").iterdir())])


def stack(pairs: list[tuple[Path, Path]]) -> tuple[Tensor, Tensor]:
    """Read image-label pairs of one size."""
    images = [torch.from_numpy(np.array(Image.open(p).convert("RGB"))).movedim(-1, 0) for p, _ in pairs]
    labels = [torch.from_numpy(np.array(Image.open(p))) for _, p in pairs]
    return torch.stack(images), torch.stack(labels)
