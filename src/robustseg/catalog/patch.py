"""A patch in the image: where it lies, what it shows, its file; the fit is in ``patch_fit``.

It replaces pixels inside a stated rectangle and touches nothing else, so that it has no radius; scores are taken
outside the rectangle. Beside every optimised patch stand a random one, drawn anew for each image, and a grey one: what
a patch hides is no attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.catalog.numbers import fraction
from robustseg.catalog.spec import Params, near
from robustseg.catalog.vary import variation
from robustseg.errors import UserError
from robustseg.objectives.semantic import LOSSES
from robustseg.ops import place, seeds
from robustseg.physical.printable import read_colours

__all__ = ["FILLS", "KIND", "baselines", "check", "check_artefact", "filled", "load", "outside", "region", "start"]

KIND = "patch"
FILLS = ("optimised", "random", "grey")
LARGEST_FILE = 64 * 2**20


def where(params: Params) -> place.Place:
    """The rectangle of the options. Raises UserError where they name none."""
    return place.read(f"{params['size']}@{params['at']}")


def region(params: Params) -> str:
    """The pixels that a patch may write, in the words of ``region=``."""
    return f"box:{params['size']}@{params['at']}"


def outside(params: Params) -> str:
    """The pixels that its scores are taken from, in the words of ``count=``."""
    return f"not:{region(params)}"


def filled(params: Params) -> bool:
    """It shows something that needs no fit: noise or grey."""
    return params.get("fill", "optimised") != "optimised"


def baselines(params: Params) -> list[Params]:
    """Options of the patches that must stand beside this one: same place, random and grey."""
    same = {k: params[k] for k in ("size", "at", "reference")}
    return [{**same, "fill": fill} for fill in FILLS if fill not in ("optimised", params["fill"])]


def check(params: Params, known: Sequence[str]) -> None:
    """Raises UserError for options that cannot be used; ``known``: objectives of other attacks."""
    try:
        where(params)
        if "aim" in params:
            place.read(params["aim"])
    except UserError as e:
        raise UserError(f"patch: {e}; of the patch: size=64x128,at=0.5/0.5") from None
    if params["fill"] not in FILLS:
        raise UserError(f"patch: fill={params['fill']}; choose one of {', '.join(FILLS)}")
    if params["counts"] not in ("outside", "all"):
        raise UserError(f"patch: counts={params['counts']}; choose outside or all")
    losses = ["split", *(n for n in LOSSES if n != "balanced-masked-ce"), *known]
    if params["loss"] not in losses:
        raise UserError(f"patch: loss={params['loss']}; {near(params['loss'], losses)}")
    if params["gamma"] != "dynamic" and not 0 <= _number(params, "gamma", " or dynamic") <= 1:
        raise UserError(f"patch: gamma={params['gamma']} is a share; choose a number from 0 to 1, or dynamic")
    for key in ("smooth", "nps", "avoid"):
        if _number(params, key) < 0:
            raise UserError(f"patch: {key}={params[key]} is negative; 0 leaves the term out")
    if _number(params, "nps") > 0:
        if "colours" not in params:
            raise UserError("patch: nps= needs the printable colours: colours=FILE, a text with three numbers a line")
        read_colours(params["colours"])
    if "aim" in params and "target" not in params:
        raise UserError("patch: aim= says where a goal shall appear; say which, e.g. target=class:car")
    variation(params["vary"])


def _number(params: Params, key: str, more: str = "") -> float:
    try:
        return float(fraction(params[key]))
    except (ValueError, ZeroDivisionError):
        raise UserError(f"patch: {key}={params[key]} is not a number{more}; write e.g. {key}=0.5") from None


def load(params: Params) -> Artefact:
    """The patch of ``file=``, which a run, or ``Artefact.save``, has written. Raises UserError for any other file."""
    path = Path(params["file"])
    if not path.is_file():
        raise UserError(f"patch: file={path} is no file; a run leaves its patch in OUT/artefacts")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"patch: {path} is larger than {LARGEST_FILE >> 20} MiB; that is no patch")
    artefact = Artefact.load(path)
    check_artefact(artefact, params, str(path))
    return artefact


def check_artefact(artefact: Artefact, params: Params, name: str = "its patch") -> None:
    """Raises UserError unless the artefact is a patch of the size that the options say."""
    patch = artefact.tensors.get("patch")
    if artefact.kind != KIND or patch is None:
        raise UserError(f"patch: {name} holds {artefact.kind!r}, no patch; fit one, or name its file")
    if patch.dim() != 3 or patch.dtype != torch.float32 or not patch.numel():
        raise UserError(f"patch: {name} is {patch.dtype} {tuple(patch.shape)}; a patch is float32 (C,h,w)")
    if not bool(patch.isfinite().all()) or float(patch.min()) < 0 or float(patch.max()) > 1:
        raise UserError(f"patch: {name} holds values that are not in [0,1]; fit it again")
    if tuple(patch.shape[1:]) != where(params).size:
        h, w = patch.shape[1:]
        raise UserError(f"patch: {name} is {h}x{w}, and size={params['size']}; write size={h}x{w}")


def start(artefact: Artefact | None, params: Params, images: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """What the patch changes in ``images (B,C,H,W)``: exactly 0 outside its rectangle."""
    at = where(params)
    if params["fill"] == "grey":
        patches = images.new_full((len(images), images.shape[1], *at.size), 0.5)
    elif params["fill"] == "random":
        draws = [seeds.generator(seed, f"{i}/{KIND}") for i in ids]
        patches = torch.stack([torch.rand(images.shape[1], *at.size, generator=g) for g in draws]).to(images)
    else:
        assert artefact is not None
        patch = artefact.tensors["patch"]
        if patch.shape[0] != images.shape[1]:
            raise UserError(f"the patch has {patch.shape[0]} channels, the images {images.shape[1]}; fit it again")
        patches = patch[None].to(images).expand(len(images), -1, -1, -1)
    return laid(images, patches, at) - images


def laid(images: Tensor, patches: Tensor, at: place.Place) -> Tensor:
    """``images (B,C,H,W)`` with the part of ``patches (B or 1,C,h,w)`` that lies in them, copied to the bit.

    >>> laid(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), place.Place((2, 2), (1.0, 0.5)))[0, 0].tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    H, W = images.shape[-2:]
    (h, w), (top, left) = at.size, at.corner((H, W))
    rows, columns = (max(top, 0), min(top + h, H)), (max(left, 0), min(left + w, W))
    made = images.clone()
    part = patches[..., rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
    made[..., rows[0] : rows[1], columns[0] : columns[1]] = part
    return made
