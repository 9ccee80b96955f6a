"""The result of a training as a folder that its library, and a model reference, can read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.models import load_model
from robustseg.models.base import Adapter
from robustseg.models.huggingface import quiet
from robustseg.tasks.semantic import predict

__all__ = ["describe", "reference", "verify", "write"]


def reference(model: Adapter, folder: Path) -> str:
    """How the folder is called as a model: ``hf:FOLDER`` or ``smp:FOLDER``."""
    return f"{model.spec.family.split('/')[0]}:{folder}"


def write(model: Adapter, folder: Path, *, half: bool) -> None:
    """config.json and model.safetensors as the library writes them; ``half``: in half precision."""
    module: Any = copy.deepcopy(model.module)
    module = module.to("cpu", memory_format=torch.contiguous_format).eval()
    with quiet():
        (module.half() if half else module.float()).save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes files that only their owner may read


def describe(model: Adapter, folder: Path, more: dict[str, Any]) -> None:
    """robustseg.json: adapter, classes, preparation of the pixels, and ``more``: how it was trained and scored."""
    spec, prepare = model.spec, model.prepare
    resize = prepare.resize
    facts = {
        "adapter": spec.family.split("/")[0],
        "task": spec.task,
        "classes": list(spec.classes),
        **({"things": list(spec.things)} if spec.things else {}),
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        "ignore_index": 255,
        "multiple": prepare.multiple,
        **({"resize": [resize.height, resize.width]} if resize else {}),
        "parameters": sum(p.numel() for p in model.module.parameters()),
        **more,
    }
    draft = folder / "robustseg.tmp"
    draft.write_text(json.dumps(facts, indent=2) + "\n")
    draft.replace(folder / "robustseg.json")


def verify(model: Adapter, folder: Path, images: Tensor) -> Adapter:
    """The model as a user gets it from the folder. Raises UserError unless it predicts the same."""
    found: Any = load_model(reference(model, folder), device=model.device)
    size = (images.shape[-2], images.shape[-1])
    with torch.no_grad():
        same = (predict(found(images), size) == predict(model(images), size)).float().mean()
    if same < 0.99:  # rounding to half precision moves a border here and there
        raise UserError(f"{folder} was written, but predicts {1 - same:.1%} of the pixels otherwise than the network")
    return found
