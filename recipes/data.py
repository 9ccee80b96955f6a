"""A data set of `robustseg.data` held in memory as uint8 tensors, so that a step costs no decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from robustseg.data import load_data


def read(ref: str) -> tuple[Tensor, Tensor]:
    """Images `(N,3,H,W)` and labels `(N,H,W)` of a data reference, uint8; the ignored label stays 255.

    8-bit images come back exactly: the reader's float is k/255, and rounding 255 times it gives k.
    """
    data = load_data(ref)
    samples = [data[i] for i in range(len(data))]
    images = torch.stack([(s.image * 255).round().to(torch.uint8) for s in samples])
    return images, torch.stack([s.labels.to(torch.uint8) for s in samples])
