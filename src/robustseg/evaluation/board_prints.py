"""What ``patch optimise`` left in a folder, and the prints that stand beside its patch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.data.resize import LARGEST
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.scenes.billboard import advert

__all__ = ["prints", "read_board", "seed_of"]

POSTER = 600  # texels of its longer side, at least
MOST = 512  # poses of a drive
NEEDED: dict[str, dict[str, type]] = {  # what optimise.json must hold, by what it was fitted on
    "scene": {"scene": str, "seed": int, "model": str, "given": str, "attack": str, "size": list, "texture": list,
              "board_m": list, "poses": int, "held_out": int, "backwards": int},
    "data": {"data": str, "seed": int, "model": str, "places": dict, "on": dict, "held_out": list, "longest": int,
             "board_m": list},
}  # fmt: skip


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
    fault = _fault(about, kind)
    if fault:
        raise UserError(f"{path / 'optimise.json'}: {fault}; optimise again")
    texture = Artefact.load(path / "patch.safetensors").tensors.get("patch")
    if texture is None or texture.dim() != 3:
        raise UserError(f"{path / 'patch.safetensors'} holds no patch; optimise again")
    return about, texture


def _fault(about: dict[str, Any], kind: str) -> str:
    """What is wrong with the record of a patch, in words; nothing where it can be used.

    >>> _fault({"data": "folder:x", "seed": True}, "data")
    'seed is missing or no int'
    """
    for name, wanted in NEEDED[kind].items():
        if not isinstance(about.get(name), wanted) or isinstance(about.get(name), bool):
            return f"{name} is missing or no {wanted.__name__}"
    for name in ("size", "texture", "board_m"):
        pair = about.get(name, [1, 1])
        whole = (int, float) if name == "board_m" else int
        if len(pair) != 2 or not all(isinstance(v, whole) and 0 < v <= LARGEST for v in pair):
            return f"{name} is no pair of sizes"
    if kind == "scene" and not 1 <= about["held_out"] <= MOST:
        return f"held_out is not from 1 to {MOST}"
    return ""


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
