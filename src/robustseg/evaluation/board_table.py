"""The table of a billboard's patch: every texture warped into a drive that it was not fitted on, and rendered there.

Scores are taken outside the board, beside a harmless, a random and a grey texture, in all and pose by pose, with
distance and angle. How far the warp is from the render stands beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.errors import UserError
from robustseg.evaluation import referee
from robustseg.evaluation.board_frames import Shoot, Tick, View, loaded, photograph, shoot, usable, view
from robustseg.evaluation.board_patch import Plan
from robustseg.evaluation.colours import save_rgb
from robustseg.evaluation.files import write_json
from robustseg.ops import seeds
from robustseg.ops.state import frozen
from robustseg.tasks.scoring import mean_iou
from robustseg.tasks.semantic import statistics
from robustseg.types import Model

__all__ = ["evaluate_board"]


def evaluate_board(
    folder: str | Path,
    *,
    model: str | Model | None = None,
    plan: Plan | None = None,
    device: str = "auto",
    tick: Tick | None = None,
    shoot: Shoot = shoot,
) -> dict[str, Any]:
    """Judge the patch of ``folder`` on a drive that it was not fitted on; writes ``summary.json`` and pictures.

    Returns ``{"warp": {"clean"|"random"|"grey"|"optimised": scores}, "rerendered": {…}, "poses": […]}`` with scores
    ``mIoU`` (over all poses), ``aAcc`` and ``changed`` (share of pixels predicted otherwise than with the clean board),
    outside the board, in shares. ``model``: another one than it was fitted on. Raises UserError for a folder without a
    patch.
    """
    path, tell = Path(folder), tick or (lambda *_: None)
    if not (path / "optimise.json").is_file() or not (path / "patch.safetensors").is_file():
        raise UserError(f"{folder} holds no patch; make one: robustseg patch optimise --out {folder}")
    about = json.loads((path / "optimise.json").read_text(encoding="utf-8"))
    texture = Artefact.load(path / "patch.safetensors").tensors["patch"]
    size = tuple(plan.size) if plan else tuple(about["size"])
    where: dict[str, Any] = {"poses": plan.held_out if plan else about["held_out"], "size": size, "path": 1}
    network = loaded(model or about["model"], device)
    textures: dict[str, Tensor | None] = {
        "clean": None,
        "random": torch.rand(texture.shape, generator=seeds.generator(about["seed"], "board/random")),
        "grey": torch.full_like(texture, 0.5),
        "optimised": texture,
    }
    tell(0, len(textures), "rendering")
    frames = shoot(about["scene"], about["seed"], **where)
    views = [view(f, (texture.shape[1], texture.shape[2]), network, str(i)) for i, f in enumerate(frames)]
    usable(views)
    images: dict[str, dict[str, list[Tensor]]] = {"warp": {}, "rerendered": {}}
    for done, (name, one) in enumerate(textures.items(), 1):
        if one is None:
            images["warp"][name] = images["rerendered"][name] = [v.image for v in views]
        else:
            on = one[None].to(views[0].image)
            with torch.no_grad():
                images["warp"][name] = [v.lit.show(on) for v in views]
            again = shoot(about["scene"], about["seed"], texture=one.permute(1, 2, 0).numpy(), **where)
            images["rerendered"][name] = [photograph(f).to(v.image) for f, v in zip(again, views, strict=True)]
        tell(done, len(textures), "rendering")
    with frozen(network.module):
        rows = {d: {n: _rows(network, many, views) for n, many in found.items()} for d, found in images.items()}
    summary = {
        **{d: {n: _scores(r, rows[d]["clean"]) for n, r in found.items()} for d, found in rows.items()},
        "fidelity_dB": {n: _psnr(images["warp"][n], images["rerendered"][n], views) for n in textures if n != "clean"},
        "poses": [_pose(i, v, rows) for i, v in enumerate(views)],
        "model": network.spec.ref,
        "about": about,
    }
    write_json(path / "summary.json", summary)
    nearest = min(range(len(views)), key=lambda i: views[i].distance)
    for domain, found in images.items():
        for name, many in found.items():
            save_rgb(path / f"{domain}_{name}.png", many[nearest][0].cpu().numpy())
    return summary


def _rows(model: Model, images: Sequence[Tensor], views: Sequence[View]) -> list[dict[str, Any]]:
    found = []
    for image, v in zip(images, views, strict=True):
        labels = referee.predict(model, image)[0].labels
        assert labels is not None
        target = v.target.labels.cpu()
        row = statistics(labels.cpu(), target, classes=len(model.spec.classes), ignore=v.target.ignore)[0]
        found.append({**row, "labels": labels.cpu(), "counts": target != v.target.ignore})
    return found


def _scores(rows: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    inter, pred, target = (np.sum([r[k] for r in rows], 0) for k in ("inter", "pred", "target"))
    valid = sum(r["valid"] for r in rows)
    other = sum(int(((r["labels"] != c["labels"]) & r["counts"]).sum()) for r, c in zip(rows, clean, strict=True))
    right = sum(r["right"] for r in rows)
    return {"mIoU": float(mean_iou(inter, pred, target)), "aAcc": right / valid, "changed": other / valid}


def _psnr(first: Sequence[Tensor], second: Sequence[Tensor], views: Sequence[View]) -> float | None:
    """Of the board's pixels: how far the warp is from the render, in dB."""
    errors = [((a - b)[..., v.mask]).square().flatten() for a, b, v in zip(first, second, views, strict=True)]
    error = float(torch.cat(errors).mean())
    return None if error == 0 else float(-10 * np.log10(error))


def _pose(i: int, v: View, rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    scores = {d: {n: _scores([r[i]], [found["clean"][i]]) for n, r in found.items()} for d, found in rows.items()}
    return {"distance_m": round(v.distance, 2), "angle_deg": round(v.angle, 1), "board_pixels": v.pixels, **scores}
