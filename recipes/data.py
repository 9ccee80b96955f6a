"""A data set of `robustseg.data` held in memory as uint8 tensors, so that a step costs no decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustseg.data import load_data
from robustseg.data.street_crops import crops


def read(ref: str, *, objects: bool = False) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Images `(N,3,H,W)` and labels `(N,H,W)` of a data reference, uint8 (lists where sizes differ); ignored is 255.

    `objects`: int32 codes instead, label + 256 * object number, so that both are cropped and resized as one map.

    8-bit images come back exactly: the reader's float is k/255, and rounding 255 times it gives k.
    """
    data = load_data(ref)
    images, labels = [], []
    for i in range(len(data)):
        s = data[i]
        images.append((s.image * 255).round().to(torch.uint8))
        labels.append((s.labels + 256 * s.instances.long()).int() if objects else s.labels.to(torch.uint8))
    if len({label.shape for label in labels}) > 1:
        return images, labels
    return torch.stack(images), torch.stack(labels)


def read_crops(root: str, *, margin: float, size: int) -> tuple[Tensor, Tensor]:
    """Crops of rendered scenes with more around the object than is scored, for windows to be cut from.

    Images `(N,3,size,size)` uint8; labels of the same size, one class throughout, so that they are cut as maps are.
    """
    data = crops(load_data(f"street:{root}"), margin=margin, size=(size, size))  # type: ignore[arg-type]
    samples = [data[i] for i in range(len(data))]
    images = torch.stack([(s.image * 255).round().to(torch.uint8) for s in samples])
    labels = torch.stack([s.labels.to(torch.uint8).expand(size, size) for s in samples])  # type: ignore[union-attr]
    return images, labels
