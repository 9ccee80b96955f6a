"""`load_model`: a reference becomes a model."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import torch

from robustseg.errors import UserError
from robustseg.models.base import Adapter
from robustseg.models.refs import parse
from robustseg.models.window import Windowed
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import Model

__all__ = ["load_model"]

LOADERS = {
    "py": "plain", "hf": "huggingface", "torchvision": "torchvision", "timm": "timm", "smp": "smp", "zoo": "zoo",
}  # fmt: skip


def load_model(
    ref: str, *, device: str | torch.device = "cpu", window: int | None = None, stride: int | None = None
) -> Model:
    """The model that ``ref`` names, in eval mode, on ``device``.

    ``ref``: ``zoo:NAME``, ``hf:PATH_OR_ID``, ``torchvision:NAME?weights=FILE``, ``smp:PATH``, ``py:FILE.py:FACTORY`` or
    ``py:package.module:FACTORY`` (which runs that code). ``window``: side in pixels of a sliding window for large
    images, half overlapping unless ``stride`` is given. Weights load without executing anything in their files.
    Raises `UserError` for whatever does not fit; prints nothing.
    """
    parsed = parse(ref)
    model = import_module(f"robustseg.models.{LOADERS[parsed.scheme]}").load(parsed)
    device = _device(device)
    if hasattr(model, "to"):
        model = model.to(device)
    if window is None:
        return model
    if model.spec.task == WHOLE_IMAGE:
        raise UserError(f"{ref}: a classifier sees the whole image at once; leave window out")
    if not isinstance(model, Adapter):
        raise UserError(f"{ref}: a window needs a model made with robustseg.wrap")
    return cast(Model, Windowed.of(model, window, stride))


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; wanted cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name}: no usable CUDA GPU here; use --device cpu")
    return device
