"""What comes in is checked once, at the door; every refusal says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.ops.size import WHOLE_IMAGE, label_size
from robustseg.types import SemanticTarget

__all__ = ["as_map", "check_input"]

TOLERANCE = 1e-4  # images that went through another normalisation and back come out as -3e-8 or 1.0000001


def check_input(model: Any, images: Any, targets: Any, ids: Sequence[str] | None, region: Any) -> None:
    """Raises UserError unless ``model(images)`` can be attacked with these targets, ids and region."""
    if not hasattr(model, "spec") or not hasattr(model, "module"):
        kind = type(model).__name__
        raise UserError(f"the model is a bare {kind}; wrap it first: robustseg.wrap(module, classes=[...])")
    _images(images)
    if targets is not None:
        _labels(targets, images, model)
    if ids is not None and len(ids) != len(images):
        raise UserError(f"{len(ids)} ids for {len(images)} images; give one id an image")
    if region is not None:
        _map("region", region, images, (images.shape[2], images.shape[3]), torch.bool, "region.bool()")


def as_map(model: Any, targets: Any) -> Any:
    """One label an image, ``(B,)``, as the label map ``(B,1,1)`` of a classifier; everything else as it is."""
    whole = getattr(getattr(model, "spec", None), "task", None) == WHOLE_IMAGE
    return targets[:, None, None] if whole and isinstance(targets, Tensor) and targets.dim() == 1 else targets


def _images(images: Any) -> None:
    if not isinstance(images, Tensor):
        raise UserError(f"images are {type(images).__name__}; give a torch tensor (B,C,H,W), float32 in [0,1]")
    shape = tuple(images.shape)
    if images.dtype != torch.float32:
        fix = "images.float() / 255" if images.dtype == torch.uint8 else "images.float()"
        raise UserError(f"images must be float32 (B,C,H,W), got {images.dtype} {shape}; use {fix}")
    if images.dim() != 4:
        fix = "add the batch dimension with images[None]" if images.dim() == 3 else "give a batch of images"
        raise UserError(f"images must be float32 (B,C,H,W), got {shape}; {fix}")
    if not images.numel():
        raise UserError(f"images are empty, {shape}; give at least one")
    low, high = (float(v) for v in images.detach().aminmax())
    if low != low or high != high:
        raise UserError("images hold NaN; look at how they were read")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raw = low >= 0 and high > 2
        fix = "divide by 255" if raw else "undo the normalisation; it belongs into robustseg.wrap(mean=, std=)"
        raise UserError(f"images must lie in [0,1], found [{low:.3g}, {high:.3g}]; {fix}")


def _labels(targets: Any, images: Tensor, model: Any) -> None:
    classes = len(model.spec.classes)
    labels = targets.labels if isinstance(targets, SemanticTarget) else targets
    ignore = targets.ignore if isinstance(targets, SemanticTarget) else SemanticTarget.ignore
    size = label_size(model.spec.task, (images.shape[2], images.shape[3]))
    _map("targets", labels, images, size, torch.int64, "targets.long()")
    bad = labels[(labels != ignore) & ((labels < 0) | (labels >= classes))]
    if len(bad):
        raise UserError(
            f"label {int(bad[0])} is neither one of the model's {classes} classes nor {ignore} (ignored); "
            "map the labels to the model's class indices"
        )


def _map(what: str, value: Any, images: Tensor, size: tuple[int, int], dtype: torch.dtype, fix: str) -> None:
    shape = (len(images), *size)
    wanted = f"{what} must be {str(dtype).removeprefix('torch.')} (B,H,W) = {shape}"
    if not isinstance(value, Tensor):
        raise UserError(f"{wanted}, got {type(value).__name__}; give a torch tensor")
    if tuple(value.shape) != shape:
        one = size != tuple(images.shape[2:])
        why = "a classifier has one label an image" if one else f"images and {what} must have one size"
        raise UserError(f"{wanted}, got {tuple(value.shape)}; {why}")
    if value.dtype != dtype:
        raise UserError(f"{wanted}, got {value.dtype}; use {fix}")
