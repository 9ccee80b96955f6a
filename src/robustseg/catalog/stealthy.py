"""`stealthy`: a class vanishes, appears or moves in the label map, and every other pixel keeps its label.

Optimised per image (``mode=direct``) through the one loop, or made in one forward pass by a generator that was trained
beforehand (``mode=generator``), whose perturbation is then the start of a search without steps.
Source: Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732; loss and displacement reconstructed, since the layers that
hold them are not released.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.catalog.entry import Entry
from robustseg.catalog.generators import rebuilt
from robustseg.catalog.spec import COMMON, Params, canonical, number
from robustseg.errors import UserError
from robustseg.objectives.goals import displaced, embedded, hide_nearest
from robustseg.ops.silhouette import person
from robustseg.types import SemanticTarget

if TYPE_CHECKING:
    from robustseg.catalog.running import Side

__all__ = ["STEALTHY", "cue", "goal", "learned", "load", "may_change", "ready", "start"]

GENERATORS = "stealthy-"  # kinds of artefact and folders of the zoo: stealthy-vanish …
ZOO = Path(__file__).resolve().parents[1] / "zoo"
LARGEST_FILE = 256 * 2**20  # bytes
TOLERANCE = 1e-6

OPTIONS = {
    "kind": "of stealthy: vanish (class=NAME goes, its surroundings come), embed (a silhouette of class=NAME appears), "
    "or displace (class=NAME moves by dx, dy)",
    "class": COMMON["class"],
    "keep": "of stealthy: weight of a pixel to keep, a_n; one to change weighs 1",
    "mode": "of stealthy: direct (steps on every image) or generator (one forward of a trained network)",
    "generator": "of stealthy: auto (the zoo's for this kind), zoo:NAME or a .safetensors file",
    "mask": "of stealthy: share of the pixels that may change, drawn for every image",
    "dx": "pixels to the right",
    "dy": "pixels down",
    "height": "of stealthy, kind=embed: height of the silhouette as a share of the image's",
    "place": "of stealthy, kind=embed: random (drawn for every image) or X/Y, its feet as shares of width and height",
}
OF_KIND = {"dx": "displace", "dy": "displace", "height": "embed", "place": "embed"}

STEALTHY = Entry(
    "stealthy",
    "Semantically stealthy: a class vanishes, appears or moves in the label map; every other pixel keeps its label.",
    "Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732; loss and displacement reconstructed",
    loss="stealthy",
    spatial=True,
    equal_noise=True,
    steps=60,
    random_start=False,
    targeted=False,
    refused=("objective", "target"),
    options=OPTIONS,
    defaults={
        "reference": "pred", "kind": "vanish", "class": "person", "keep": "0.05", "mode": "direct",
        "generator": "auto", "mask": "1", "dx": "16", "dy": "0", "height": "0.4", "place": "random",
    },
    paper={"eps": "1", "step_size": "1/255", "steps": "100", "update": "adam"},
    errata="The paper has no ball and trains a generator of its own for every kind; the default here is eps=8/255, "
    "comparable to all other attacks, and direct; a generator brings its own radius; @paper takes eps=1, which is no "
    "bound but the box. The paper's silhouette has a fixed place, ours another on every image. Our generators are told "
    "where a label shall change.",
)  # fmt: skip


def ready(params: Params, given: Params, paper: bool) -> tuple[Params, Artefact | None]:
    """The options, checked, and the generator where one is asked for; its radius is ε where none was given.

    Raises UserError for what cannot be meant, and for a generator that is not there or changes pixels by more than ε.
    """
    _check(params, given)
    if not learned(params):
        return params, None
    made, radius = load(params)
    if "eps" not in given and not paper and params["norm"] == "linf":
        return {**params, "eps": canonical("eps", f"{radius * 255:.4g}/255")}, made
    if params["norm"] == "linf" and radius > number(params["eps"], "eps") + TOLERANCE:
        raise UserError(
            f"attack stealthy: generator={params['generator']} changes pixels by {radius * 255:.3g}/255, more than "
            f"eps={params['eps']}; give its eps, or none"
        )
    return params, made


def _check(params: Params, given: Params) -> None:
    """Raises UserError for options that contradict each other or the kind."""
    kind = params["kind"]
    for name, owner in OF_KIND.items():
        if name in given and kind != owner:
            raise UserError(f"attack stealthy: {name}={given[name]} belongs to kind={owner}; this is kind={kind}")
    if "generator" in given and params["mode"] != "generator":
        raise UserError(f"attack stealthy: generator={given['generator']} belongs to mode=generator; say so too")
    for name in ("mask", "height"):
        if number(params[name], name) <= 0:
            raise UserError(f"attack stealthy: {name}={params[name]} leaves no pixel; choose a share above 0")
    if kind == "displace" and _shift(params) == (0, 0):
        raise UserError("attack stealthy: dx=0,dy=0 moves nothing; give a number of pixels, e.g. dx=16")
    _place(params)


def _shift(params: Params) -> tuple[int, int]:
    try:
        return int(params["dx"]), int(params["dy"])
    except ValueError:
        raise UserError(
            f"attack stealthy: dx={params['dx']},dy={params['dy']} are no whole numbers of pixels"
        ) from None


def _place(params: Params) -> tuple[float, float] | None:
    text = params["place"]
    if text == "random":
        return None
    try:
        x, y = (float(part) for part in text.split("/"))
    except ValueError:
        x = y = -1.0
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UserError(f"attack stealthy: place={text} is neither random nor X/Y in shares, e.g. place=0.5/0.9")
    return x, y


def goal(params: Params, moved: int, reference: SemanticTarget, draws: Sequence[torch.Generator]) -> Tensor:
    """The label map ``(B,H,W)`` that the kind asks for; ``draws``: one generator an image, for its silhouette."""
    labels = reference.labels
    if params["kind"] == "vanish":
        return hide_nearest(labels, moved, reference.valid)[0]
    if params["kind"] == "displace":
        return displaced(labels, moved, *_shift(params), reference.valid)
    size, height = (int(labels.shape[-2]), int(labels.shape[-1])), number(params["height"], "height")
    masks = [person(size, height, at=_place(params), generator=g) for g in draws]
    return embedded(labels, moved, torch.stack(masks).to(labels.device))


def may_change(params: Params, images: Tensor, draws: Sequence[torch.Generator]) -> Tensor | None:
    """The random mask m of ``x + m ⊙ θ``, ``(B,H,W)`` bool, every pixel by itself; None where all may change."""
    share = number(params.get("mask", "1"), "mask")
    if share >= 1:
        return None
    return torch.stack([torch.rand(images.shape[-2:], generator=g) < share for g in draws]).to(images.device)


def learned(params: Params) -> bool:
    """The perturbation comes from a generator: no step is taken on the image."""
    return params.get("mode") == "generator"


def load(params: Params) -> tuple[Artefact, float]:
    """The generator that the options name, and its radius. Raises UserError where there is none."""
    text = params["generator"]
    name = f"{GENERATORS}{params['kind']}" if text == "auto" else text.removeprefix("zoo:")
    zoo = text == "auto" or text.startswith("zoo:")
    path = ZOO / name / "generator.safetensors" if zoo else Path(text)
    if zoo and (name != Path(name).name or not path.is_file()):
        there = ", ".join(f"zoo:{p.parent.name}" for p in sorted(ZOO.glob(f"{GENERATORS}*/generator.safetensors")))
        raise UserError(f"attack stealthy: the zoo has no generator {name}; it has {there or 'none'}")
    if not path.is_file():
        raise UserError(f"attack stealthy: generator={text} is no file; give zoo:NAME or a .safetensors file")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"attack stealthy: {path} is larger than {LARGEST_FILE >> 20} MiB; that is no generator")
    made = Artefact.load(path)
    return made, float(rebuilt(made.tensors, str(path)).radius)


def cue(side: Side, moved: int) -> Tensor:
    """What a generator is told, ``(B,1,H,W)``: 1 where the class shall appear, -1 where it shall go."""
    sign = torch.where(side.target.labels == moved, 1.0, -1.0)
    return torch.where(side.state["aimed"] & side.target.valid, sign, 0.0).unsqueeze(1)


def start(artefact: Artefact, side: Side, moved: int) -> Tensor:
    """The perturbation of the images of ``side``, made by the generator."""
    images = side.images
    network = rebuilt(artefact.tensors, "the generator")
    known = network.out.out_channels
    if known != images.shape[1]:
        raise UserError(f"stealthy: the generator makes {known} channels, the images have {images.shape[1]}")
    with torch.no_grad():
        return network.to(images.device)(images, cue(side, moved).to(images))
