"""Short content hashes, the building blocks of a run key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["of_bytes", "of_json", "tensors"]

LENGTH = 16


def of_bytes(content: bytes) -> str:
    """Hash of the content of a file."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def of_json(value: Any) -> str:
    """Hash of a JSON-able value in canonical form (sorted keys, no spaces).

    >>> of_json({"a": 1, "b": 2}) == of_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def tensors(named: Mapping[str, Tensor]) -> str:
    """Hash of named tensors: names, dtypes, shapes and bytes, in the order of the names."""
    h = hashlib.sha256()
    for name in sorted(named):
        t = named[name].detach().cpu().contiguous()
        h.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        h.update(t.flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return h.hexdigest()[:LENGTH]
