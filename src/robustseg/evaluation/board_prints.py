"""What ``patch optimise`` left in a folder, and the prints that stand beside its patch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.scenes.billboard import advert

__all__ = ["prints", "read_board", "seed_of"]

POSTER = 600  # texels of its longer side, at least


def read_board(folder: str | Path, kind: str = "scene") -> tuple[dict[str, Any], Tensor]:
    """``optimise.json`` and the texture ``(3,h,w)`` of a folder; ``kind``: what it was fitted on, scene or data.

    Raises UserError for a folder without a patch, and for one of another kind.
    """
    path = Path(folder)
    if not (path / "optimise.json").is_file() or not (path / "patch.safetensors").is_file():
        raise UserError(f"{folder} holds no patch; make one: robustseg patch optimise --out {folder}")
    try:
        about = json.loads((path / "optimise.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as problem:
        raise UserError(f"{path / 'optimise.json'} cannot be read ({problem}); optimise again") from None
    if not isinstance(about, dict) or kind not in about:
        wanted = {"scene": "no patch for a rendered scene", "data": "no patch for pictures of a folder"}[kind]
        raise UserError(f"{folder} holds {wanted}; see robustseg patch optimise --help")
    texture = Artefact.load(path / "patch.safetensors").tensors.get("patch")
    if texture is None or texture.dim() != 3:
        raise UserError(f"{path / 'patch.safetensors'} holds no patch; optimise again")
    return about, texture


def prints(texture: Tensor, seed: int, harmless: bool = False) -> dict[str, Tensor]:
    """The random and the grey control of a texture ``(3,h,w)``, and itself; the same for the same seed.

    ``harmless``: and a poster of the same shape that nobody has optimised, as ``clean``.
    """
    found = {
        "random": torch.rand(texture.shape, generator=seeds.generator(seed, "board/random")),
        "grey": torch.full_like(texture, 0.5),
        "optimised": texture,
    }
    if not harmless:
        return found
    h, w = (int(v) for v in texture.shape[1:])
    larger = -(-POSTER // max(h, w))
    poster = advert(w * larger, h * larger).transpose(2, 0, 1).copy()
    return {"clean": torch.from_numpy(poster).float() / 255, **found}


def seed_of(file: str | Path) -> int:
    """The seed that ``optimise.json`` beside a patch names, 0 where there is none."""
    try:
        return int(json.loads((Path(file).parent / "optimise.json").read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return 0
