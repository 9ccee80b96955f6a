"""Training images in memory: uint8 tensors, read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def read(ref: str) -> tuple[Tensor, Tensor]:
    """Images `(N,3,H,W)` and labels `(N,H,W)` of a data reference, uint8."""
    kind, path, *split = ref.split(":")
    if kind == "camvid":
        root = Path(path)
        images, labels = stack(
            [(p, root / f"{split[0]}annot" / f"{p.stem}.png") for p in sorted((root / split[0]).iterdir())]
        )
        return images, labels.masked_fill(labels == 11, 255)
    root = Path("src/robustseg/data/packs/street-val") if path == "val" else Path(path)
    return stack([(p, root / "labels" / f"{p.stem}.png") for p in sorted((root / "images").iterdir())])


def stack(pairs: list[tuple[Path, Path]]) -> tuple[Tensor, Tensor]:
    """Read image-label pairs of one size."""
    images = [torch.from_numpy(np.array(Image.open(p).convert("RGB"))).movedim(-1, 0) for p, _ in pairs]
    labels = [torch.from_numpy(np.array(Image.open(p))) for _, p in pairs]
    return torch.stack(images), torch.stack(labels)
