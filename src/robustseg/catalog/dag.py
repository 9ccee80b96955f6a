"""Dense Adversary Generation by name: on pixels (``objectives.dag``) and on detections (``objectives.regions.dag``)."""

from __future__ import annotations

from robustseg.catalog.entry import Entry

__all__ = ["DAG"]

DAG = Entry(
    "dag",
    "Dense Adversary Generation: every pixel, or proposal, is pushed to a wrong class until it has it; no ball.",
    "Xie et al., ICCV 2017, arXiv 1703.08603, algorithm 1",
    loss="dag",
    update="normalised",
    steps=200,
    random_start=False,
    needs_clean=True,
    free=True,
    output=("dense", "region"),
    refused=("objective",),
    options={
        "rest": "of dag on pixels: goal, a pixel is pushed until it has its class (the code); wrong, until it has lost "
        "the true one (the paper)",
        "control": "none, or shuffled: the same perturbation with its pixels in random places, which should do nothing",
        "nms": "overlap above which the worse of two proposals goes",
        "top": "how many proposals stay",
    },
    defaults={
        "step_size": "1/510",
        "target": "permuted",
        "rest": "goal",
        "control": "none",
        "nms": "0.9",
        "top": "1000",
    },
    only={
        "nms": ("region",),
        "top": ("region",),
        "rest": ("dense",),
        "target": ("dense",),
        "class": ("dense",),
    },
    paper={"step_size": "1/510", "top": "3000"},
    errata="The paper has no ball, only steps of 0.5 grey levels (step_size=1/510; 0.5 itself would be 127 of them); "
    "the image stays in [0,1], which the code forgets. With eps= there is a ball and step_size is eps/4. Steps are "
    "200 as on segmentation; for detection the paper takes 150. It runs until no target is active; the code's "
    "segmentation stops at 1 %. Pixels: all that count but those of a class called background, each class towards "
    "another by a permutation drawn per image; the code's painted shapes are target=FILE.png. Detections: a proposal "
    "rests at its wrong class or the background, and its class of now is pushed down, as in the code, whose "
    "re-activation of weak false detections is left out; a single class of objects is driven to the background.",
    version=2,
)
