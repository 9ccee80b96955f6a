"""One perturbation for all images: a tile, fitted on images that are not scored, kept in a file, fitting any size.

Fitted by the one loop: its images are the looks of a step, so that a gradient is the mean over them,
``grad_D(ξ) = 1/m Σ_k ∇ J(f(x_k + tile(ξ)), y*_k)``, and the iterate that does best on them is kept.
Source: Metzen et al., ICCV 2017, arXiv 1704.05712, section 3 (periodic tiling: section 3.3), reconstructed; images are
clamped to [0,1], which the paper leaves open. Untargeted after Moosavi-Dezfooli et al., CVPR 2017, arXiv 1610.08401.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.attacks.constraints import Ball
from robustseg.attacks.looks import Apply, Draws, Look
from robustseg.attacks.loop import BROKEN, ZERO, Problem
from robustseg.catalog import build, outputs
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.spec import Params, number
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.ops.tiling import tiled
from robustseg.types import DataSet, Model, Output, SemanticTarget, State

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack
    from robustseg.catalog.running import Side

__all__ = ["KIND", "check_tile", "fit_tile", "load_tile", "start", "tile_size"]

KIND = "universal-tile"
LARGEST_FILE = 256 * 2**20  # bytes; a tile of 4096×4096 has 192 MiB
TOLERANCE = 1e-6


def tile_size(params: Params) -> tuple[int, int] | None:
    """What ``tile=HxW`` says; None for ``tile=image``, the size of the first image fitted on."""
    text = params["tile"]
    if text == "image":
        return None
    read = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if read is None:
        raise UserError(f"attack universal: tile={text} is neither image nor HEIGHTxWIDTH, e.g. tile=64x64")
    return int(read[1]), int(read[2])


def fit_tile(attack: Attack, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
    """Fit the tile on the first ``images`` of the data on which there is something to do; gradients are counted.

    ``dataset`` yields samples in the model's class indices. Raises UserError where there is no such image, and where
    the gradient leads nowhere.
    """
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    shown, names, spent = _images(attack, model, dataset, device)
    height, width = tile_size(attack.params) or tuple(shown[0].images.shape[-2:])
    tile = torch.zeros(1, shown[0].images.shape[1], height, width, device=device)

    def looks(draws: Draws, restart: int, step: int, last: bool) -> Iterable[Look]:
        for one, name in zip(shown, names, strict=True):
            yield Look(_added(one), not last, True, lambda *draw, name=name: [seeds.generator(seed, name, *draw)])

    def forward(x: Tensor, target: SemanticTarget, state: State) -> Output:
        return outputs.forward(model, "dense", _size(x))(x, target, state)

    one = shown[0]
    own = outputs.draws(model, "eot" in attack.params)
    search = build.search(attack.entry, attack.params, one.objective, one.score, one.track, fit=looks, own=own)
    nothing = SemanticTarget(torch.zeros_like(tile[:, 0], dtype=torch.int64))
    problem = Problem(forward, tile, nothing, {}, lambda *draw: [seeds.generator(seed, KIND, *draw)], early_stop=False)
    found = search(problem, Ball("linf", number(attack.params["eps"], "eps"), box=False), None, 0)
    fault = int(found.fault[0])
    if fault in (BROKEN, ZERO) and float(found.score[0]) < 1:
        what = "not finite" if fault == BROKEN else "exactly zero at every step"
        raise UserError(f"{attack.name}: the gradient on {dataset.ref} is {what}; look with: robustseg doctor")
    forwards, backwards = spent + int(found.forwards[0]), int(found.backwards[0])
    return Artefact(KIND, {"tile": found.theta[0].detach().cpu()}, dataset.ref, forwards, backwards)


def _images(attack: Attack, model: Model, dataset: DataSet, device: torch.device) -> tuple[list[Side], list[str], int]:
    """The images to fit on, made ready one by one; their names; the forwards that this took."""
    from robustseg.catalog.running import side

    shown, names, spent = [], [], 0
    for i in range(len(dataset)):
        sample = dataset[i]
        truth = None if sample.labels is None else SemanticTarget(sample.labels[None], dataset.ignore).to(device)
        one = side(attack, model, sample.image[None].to(device), truth)
        spent += int(attack.needs_clean)
        if bool(one.applicable[0]):
            shown.append(one)
            names += seeds.content_ids(sample.image[None])
        if len(shown) == int(attack.params["images"]):
            break
    if not shown:
        raise UserError(
            f"{attack.name}: no image of {dataset.ref} has anything to do for {attack.spec}; name other data with "
            "--fit-data, or another class or target"
        )
    return shown, names, spent


def _size(x: Tensor) -> tuple[int, int]:
    return int(x.shape[-2]), int(x.shape[-1])


def _added(one: Side) -> Apply:
    def apply(
        images: Tensor, theta: Tensor, target: SemanticTarget, state: State
    ) -> tuple[Tensor, SemanticTarget, State]:
        return (one.images + tiled(theta, _size(one.images))).clamp(0, 1), one.target, one.state

    return apply


def start(artefact: Artefact, images: Tensor) -> Tensor:
    """The perturbation of ``images (B,C,H,W)``: the tile, repeated over each."""
    tile = artefact.tensors["tile"]
    if tile.shape[0] != images.shape[1]:
        raise UserError(f"the universal tile has {tile.shape[0]} channels, the images {images.shape[1]}; fit it again")
    return tiled(tile[None].to(images), _size(images)).expand_as(images)


def load_tile(path: str, eps: str) -> Artefact:
    """The tile of a file that a run, or ``Artefact.save``, has written. Raises UserError for any other file."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"universal: file={path} is no file; a run leaves its tile in OUT/artefacts")
    if file.stat().st_size > LARGEST_FILE:
        raise UserError(f"universal: {path} is larger than {LARGEST_FILE >> 20} MiB; that is no tile")
    artefact = Artefact.load(file)
    check_tile(artefact, eps, path)
    return artefact


def check_tile(artefact: Artefact, eps: str, where: str = "its tile") -> None:
    """Raises UserError unless the artefact is a tile inside the ball of ``eps``."""
    tile = artefact.tensors.get("tile")
    if artefact.kind != KIND or tile is None:
        raise UserError(f"universal: {where} holds {artefact.kind!r}, no universal tile; fit one, or name its file")
    if tile.dim() != 3 or tile.dtype != torch.float32 or not tile.numel():
        raise UserError(f"universal: {where} is {tile.dtype} {tuple(tile.shape)}; a tile is float32 (C,h,w)")
    if not bool(tile.isfinite().all()):
        raise UserError(f"universal: {where} holds NaN or infinity; fit it again")
    size, radius = float(tile.abs().max()), number(eps, "eps")
    if size > radius + TOLERANCE:
        raise UserError(f"universal: {where} changes pixels by {size * 255:.3g}/255, more than eps={eps}; give its eps")
