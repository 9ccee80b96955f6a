"""The patch by name: its options, practical numbers and those of its authors."""

from __future__ import annotations

from robustseg.catalog.entry import Entry
from robustseg.catalog.patch import KIND

__all__ = ["PATCH_ENTRIES"]

OPTIONS = {
    "omega": "weight of the pixels to change, 0 to 1",
    "tau": "confidence above which a pixel rests, 0 to 1",
    "size": "of patch: HEIGHTxWIDTH in pixels",
    "at": "of patch: X/Y, its middle in shares of width and height of the image",
    "fill": "of patch: optimised; random or grey are the baselines that stand beside it by themselves",
    "images": "of universal and patch: how many images it is fitted on",
    "batch": "of patch: images a step",
    "file": "of universal and patch: a tile or patch that was fitted before, .safetensors",
    "vary": "of patch: what it must survive, e.g. scale:0.8-1.2+shift:0.5+noise:0.1, or none",
    "loss": "of patch: split (equation 7), a loss on pixels, or the objective of another attack, e.g. mask-break",
    "gamma": "of patch: weight of pixels that are still right, 0 to 1, or dynamic: their share",
    "counts": "of patch: outside: pixels under it are ignored by the loss; all: they are not",
    "smooth": "of patch: weight of its smoothness, 0 leaves it out",
    "nps": "of patch: weight of its printability, 0 leaves it out; needs colours=",
    "avoid": "of patch: weight of not being seen by a defence that watches for patches (zmask), 0 leaves it out",
    "colours": "of patch: FILE of printable colours, three numbers a line",
    "aim": "of patch: HEIGHTxWIDTH@X/Y, the place where the goal of target= shall appear; else everywhere",
}

PATCH_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "patch",
        "One patch for all images, fitted on others beforehand; scores are taken outside it, a random and a grey one "
        "stand beside it.",
        "Nesti et al., WACV 2022, arXiv 2108.06179; first patch: Brown et al., arXiv 1712.09665",
        goal_loss="metzen",
        update="adam",
        steps=100,
        free=True,
        refused=("eps", "objective", "norm", "restarts", "region"),
        fits=KIND,
        shared=True,
        output=("dense", "region"),
        options=OPTIONS,
        defaults={
            "step_size": "0.05",
            "size": "64x128",
            "at": "0.5/0.5",
            "fill": "optimised",
            "images": "16",
            "batch": "4",
            "vary": "scale:0.9-1.1+shift:0.1+brightness:0.1+contrast:0.1+noise:0.05",
            "loss": "split",
            "gamma": "1",
            "counts": "outside",
            "smooth": "0",
            "nps": "0",
            "avoid": "1",
            "omega": "0.9",
            "tau": "0.75",
        },
        paper={
            "size": "300x600",
            "images": "250",
            "batch": "10",
            "steps": "5000",
            "step_size": "0.11",
            "gamma": "1",
            "vary": "scale:0.8-1.2+shift:0.5+noise:0.1",
        },
        errata="γ = 1 as in the authors' released configurations; their -1 is gamma=dynamic, -2 loss=ce, -3 "
        "loss=ce,counts=all. γ belongs to an image, theirs to a batch; gradients are normalised per image, then "
        "averaged. Noise is 10 % as in the code (the paper says 5 %). Their Adam step of 0.5 in normalised units is "
        "0.11 in [0,1]; 200 epochs of 250 images in batches of 10 are 5000 steps. Their targeted templates ascend "
        "the wrong loss and are not followed: a goal is approached with the objective of `hide`. The mask is the "
        "patch's rectangle, never its colour.",
    ),
)
