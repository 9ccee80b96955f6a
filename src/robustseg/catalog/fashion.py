"""FashionAdv: what a person wears becomes a cloth in which nobody is seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from robustseg.catalog.entry import Entry
from robustseg.catalog.spec import COMMON, WEIGHTS, Params, near, number
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.objectives.fashion import Weights, fashionable
from robustseg.ops.cloth import PATTERNS, cloth
from robustseg.ops.style import Features
from robustseg.ops.tiling import tiled
from robustseg.types import Model

__all__ = ["FASHION", "check", "dressed", "looks_again", "wanted"]

FEATURES = "features"
OWN = "own"
SMALLEST = 16  # pixels of a pattern's repeat

FASHION = Entry(
    "fashion",
    "What persons wear becomes a cloth, natural to look at, in which the model sees nobody.",
    "Treu, Le, Nguyen, Yamagishi, Echizen, CVPR 2021 workshops, arXiv 2104.08422; on semantic and panoptic models: "
    "reconstructed",
    loss="metzen",
    update="adam",
    steps=40,
    random_start=False,
    targeted=False,
    natural=True,
    spatial=True,
    output=("dense", "query", "region"),
    refused=("objective", "norm", "restarts", "update"),
    options={
        "class": COMMON["class"],
        "omega": "weight of the pixels to change, 0 to 1",
        "tau": "confidence above which a pixel rests, 0 to 1",
        "fashion": "the cloth: auto (the pattern nearest to the garment), a pattern, or an image FILE",
        "features": "the network that sees texture: own (the attacked model's encoder), or a model reference",
        "adv": "weight of hiding",
        "texture": "weight of the cloth's style, and of the garment's own shapes",
        "variation": "weight of the total variation, a mean over the clothing",
        "likeness": "weight of 1 - MS-SSIM, in units of the clothing's share of the image",
    },
    defaults={
        "eps": "1", "step_size": "2/255", "reference": "pred", "target": "nearest", "class": "person",
        "region": "clothing", "omega": "0.9", "tau": "0.75", "fashion": "auto", "features": OWN,
        "adv": "10", "texture": "1", "variation": "75", "likeness": "50",
    },
    paper={
        "step_size": "0.0045", "steps": "200",
        "eot": "perspective:0.1+gain:0.8-1.2+blur:0-3+noise:0-0.006+jpeg:18-22",
    },
    errata="Adam's 0.02 is in pixels divided by ImageNet's deviations, 0.0045 here. Style, content, total variation "
    "and "
    "MS-SSIM are measured on the clothing, with weights that mean the same at the authors' 550x550 (TV: 2.5e-4 a "
    "pixel there), so that small persons are held as firmly as large ones. Their network is VGG-19: name its "
    "weights with features=; the encoder that stands in for it has its maps divided by their size. The loss of "
    "their detector becomes that of `hide`, for regions a class loss. Each transformation of @paper is drawn at "
    "every step, not with a probability; saturation, contrast and hue are left out. The last iterate becomes the "
    "one that hides most, the latest of equals. Their 140 photographs of cloth are six patterns of our own.",
)  # fmt: skip


def check(params: Params) -> None:
    """Raises UserError for a weight that is none, and for a cloth that does not exist."""
    for key in WEIGHTS:
        if number(params[key], key) < 0:
            raise UserError(f"attack fashion: {key}={params[key]} is negative; a weight is 0 or more")
    named = params["fashion"]
    if named != "auto" and named not in PATTERNS and not Path(named).expanduser().is_file():
        raise UserError(
            f"attack fashion: fashion={named} is neither auto, a pattern nor a file; {near(named, PATTERNS)}"
        )


def wanted(params: Params) -> frozenset[str]:
    """What the attacked model's outputs shall carry: its features, where it sees the plain image at every step."""
    return frozenset({FEATURES} if params[FEATURES] == OWN and "eot" not in params else ())


def looks_again(params: Params) -> bool:
    """The attacked model is shown the plain image besides, for its texture: one forward more a gradient, and one."""
    return params[FEATURES] == OWN and "eot" in params


def dressed(adversary: Objective, params: Params, model: Model, images: Tensor, look: str) -> Objective:
    """The objective that hides, held back by what makes a cloth; ``images (B,3,H,W)`` give size and device.

    Raises UserError for images that are not RGB and for a network without feature maps.
    """
    if images.shape[1] != 3:
        raise UserError(f"fashion dresses RGB images; these have {images.shape[1]} channels")
    network = model if params[FEATURES] == OWN else _network(params[FEATURES], str(images.device))

    def see(x: Tensor) -> Features:
        return network(x, want=frozenset({FEATURES})).extras[FEATURES]

    with torch.no_grad():
        seen = [see(t[None].to(images)) for t in _cloths(params["fashion"], tuple(images.shape[-2:]))]
    weights = Weights(*(number(params[key], key) for key in WEIGHTS))
    riding = bool(wanted(params))
    unit = type(network.module).__name__ != "VGG"
    return fashionable(adversary, None if riding else see, seen, weights, unit=unit, few=look == "dense")


@lru_cache(maxsize=2)
def _network(ref: str, device: str) -> Model:
    from robustseg.models import load_model

    model = load_model(ref, device=device)
    model.module.requires_grad_(False)
    return model


def _cloths(named: str, size: Sequence[int]) -> list[Tensor]:
    """The fashion images ``(3,H,W)`` to choose from, as large as the picture."""
    height, width = int(size[0]), int(size[1])
    if named == "auto" or named in PATTERNS:
        repeat = max(height // 8, SMALLEST)
        return [cloth(name, (height, width), repeat) for name in (PATTERNS if named == "auto" else (named,))]
    from robustseg.data.images import read_image

    return [tiled(read_image(Path(named).expanduser())[None], (height, width))[0]]
