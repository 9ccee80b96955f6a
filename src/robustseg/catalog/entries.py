"""The attacks of the literature by name: parts, practical defaults, the paper's numbers, source and errata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robustseg.catalog.spec import COMMON, Params

__all__ = ["ENTRIES", "Entry"]

SEA_RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
BASE = {"norm": "linf", "eps": "8/255", "reference": "gt"}
L2_EPS = "128/255"
HIDE_OPTIONS = {
    "omega": "weight of the pixels to change, 0 to 1",
    "tau": "confidence above which a pixel rests, 0 to 1",
}


@dataclass(frozen=True)
class Entry:
    """One named attack. ``defaults`` are practical; ``paper`` overrides them under ``NAME@paper``.

    ``loss``: a key of ``objectives.semantic.LOSSES`` or ``metzen``; attacks on segments have their objective under
    their own name; ``output``: what it looks at (``dense``, ``query``, ``region``, ``prompted``; universal models give
    dense scores too); ``needs_clean``: its objective starts from the clean output, one forward more;
    ``fits``: the artefact it cannot do without; ``radii``: (factor, share of steps) stages;
    ``track_ce``: APGD watches the mean cross-entropy; ``members``: names of an ensemble; ``refused``: options that
    would have no meaning here; ``version`` rises when the code changes what the attack computes.
    """

    name: str
    summary: str
    source: str
    loss: str = "ce"
    update: str = "sign"
    steps: int = 20
    random_start: bool = True
    radii: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    track_ce: bool = False
    targeted: bool = True
    members: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    paper: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    errata: str = ""
    output: tuple[str, ...] = ("dense",)
    needs_clean: bool = False
    fits: str = ""
    version: int = 1

    def known(self) -> tuple[str, ...]:
        """Names of the options it takes."""
        common = (k for k in COMMON if self.targeted or k not in ("target", "class"))
        return (*(k for k in common if k not in self.refused), *self.options)

    def params(self, given: Params, paper: bool) -> Params:
        """Defaults, the paper's numbers if asked for, then what was given; an ensemble leaves its members their own."""
        numbers = dict(self.paper) if paper else {}
        base = {**BASE, **self.defaults}
        if given.get("norm") == "l2":
            base["eps"] = L2_EPS
            numbers = {k: v for k, v in numbers.items() if k not in ("eps", "step_size")}  # lengths in linf
        if not self.members:
            update = given.get("update", self.update)
            step = "eps*2" if update == "apgd" else "eps/4"
            base = {"step_size": step, "steps": str(self.steps), "restarts": "1", "update": update, **base}
        merged = {**base, **numbers, **given}
        if merged.get("target") != "nearest" and "class" not in given:
            merged.pop("class", None)
        return merged


_ENTRIES = (
    Entry(
        "noise",
        "Uniform noise of the same radius: the baseline every attack must beat.",
        "baseline; no gradient",
        output=("dense", "region", "prompted"),
        steps=0,
        targeted=False,
        refused=("step_size", "steps", "update", "objective"),
    ),
    Entry(
        "fgsm",
        "One step along the sign of the gradient.",
        "Goodfellow, Shlens, Szegedy, ICLR 2015, arXiv 1412.6572, section 4",
        steps=1,
        random_start=False,
        defaults={"step_size": "eps"},
    ),
    Entry(
        "bim",
        "FGSM in small steps from the image itself.",
        "Kurakin, Goodfellow, Bengio, ICLR 2017 workshop, arXiv 1607.02533",
        random_start=False,
        paper={"step_size": "1/255", "steps": "10"},
        errata="The paper's step count min(ε+4, 1.25ε) is in grey levels: 10 at ε = 8.",
    ),
    Entry(
        "mi-fgsm",
        "BIM with momentum on the L1-normalised gradient.",
        "Dong et al., CVPR 2018, arXiv 1710.06081",
        update="momentum",
        random_start=False,
        options={"decay": "momentum factor μ, default 1"},
        defaults={"step_size": "eps/steps", "decay": "1"},
        paper={"eps": "16/255", "steps": "10"},
    ),
    Entry(
        "pgd",
        "Projected gradient ascent on the cross-entropy from a random start.",
        "Madry et al., ICLR 2018, arXiv 1706.06083",
        paper={"step_size": "2/255", "steps": "20"},
        errata="Madry's CIFAR-10 evaluation: ε 8/255, step 2/255, 20 steps.",
    ),
    Entry(
        "segpgd",
        "PGD whose weight moves from correct pixels to all pixels.",
        "Gu, Zhao, Tresp, Torr, ECCV 2022, arXiv 2207.12391, algorithm 1",
        loss="segpgd",
        track_ce=True,
        paper={"eps": "0.03", "step_size": "0.01", "steps": "100"},
        errata="λ_t = (t-1)/2T; a package uses iter/(2·iters), the same thing counted from 0.",
    ),
    Entry(
        "cospgd",
        "PGD weighted by the cosine between prediction and truth.",
        "Agnihotri, Jung, Keuper, ICML 2024, arXiv 2302.02213",
        loss="cospgd",
        track_ce=True,
        paper={"step_size": "0.01", "steps": "40"},
    ),
    Entry(
        "apgd",
        "Auto-PGD on the cross-entropy: step size halved where progress stalls.",
        "Croce, Hein, ICML 2020, arXiv 2003.01690",
        update="apgd",
        steps=50,
        paper={"steps": "100", "restarts": "5"},
    ),
    Entry(
        "masked-ce",
        "APGD on the cross-entropy of still-correct pixels, shrinking radii.",
        "Croce, Singh, Hein, ECCV 2024 (SEA), arXiv 2306.12941, L_MCE",
        loss="masked-ce",
        update="apgd",
        steps=50,
        radii=SEA_RADII,
        track_ce=True,
        paper={"steps": "300"},
    ),
    Entry(
        "balanced-masked-ce",
        "Masked CE weighted by 1/N_y, the training pixels of the class.",
        "Croce, Singh, Hein, ECCV 2024 (SEA), arXiv 2306.12941, L_MCE-Bal",
        loss="balanced-masked-ce",
        fits="class-pixels",
        update="apgd",
        steps=50,
        radii=SEA_RADII,
        track_ce=True,
        targeted=False,
        paper={"steps": "300"},
        errata="Class counts come from the fit split of the data (an artefact), not from constants.",
    ),
    Entry(
        "js",
        "APGD on the Jensen-Shannon divergence to the truth, shrinking radii.",
        "Croce, Singh, Hein, ECCV 2024 (SEA), arXiv 2306.12941, L_JS",
        loss="js",
        update="apgd",
        steps=50,
        radii=SEA_RADII,
        track_ce=True,
        paper={"steps": "300"},
    ),
    Entry(
        "tsallis",
        "APGD on the Tsallis loss, q rising from -2 to 1 in every radius stage.",
        "TsallisPGD, IJCNN 2026, arXiv 2605.03405",
        loss="tsallis",
        update="apgd",
        steps=50,
        radii=SEA_RADII,
        track_ce=True,
        paper={"steps": "300"},
    ),
    Entry(
        "padam-ce",
        "Projected Adam (AMSGrad) on the cross-entropy.",
        "Halmosi, Mohos, Jelasity, ECCV 2024, arXiv 2407.09150",
        update="adam",
        steps=50,
        paper={"steps": "200", "step_size": "2/255"},
        errata="The gradient is divided by its largest entry per image, so that Adam's 1e-8 cannot swamp it.",
    ),
    Entry(
        "padam-cos",
        "Projected Adam (AMSGrad) on 1 - cos(logits, one-hot truth).",
        "Halmosi, Mohos, Jelasity, ECCV 2024, arXiv 2407.09150",
        loss="cosine",
        update="adam",
        steps=50,
        paper={"steps": "200", "step_size": "2/255"},
    ),
    Entry(
        "margin",
        "PGD on the margin of every pixel: the best other logit less the true one.",
        "Carlini, Wagner, S&P 2017, arXiv 1608.04644, f_6; in PGD: Madry et al., ICLR 2018, arXiv 1706.06083",
        loss="margin",
        errata="Untargeted, per pixel, and cut at 0.1 past the decision (the paper's κ), so that wrong pixels rest.",
    ),
    Entry(
        "hide",
        "Hide a class: its pixels take the label of their surroundings, the rest is kept.",
        "Fischer et al., ICLR 2017 workshop, arXiv 1703.01101; Metzen et al., ICCV 2017, arXiv 1704.05712 (dynamic)",
        loss="metzen",
        steps=60,
        random_start=False,
        refused=("objective",),
        options=HIDE_OPTIONS,
        defaults={"target": "nearest", "class": "person", "reference": "pred", "omega": "0.9", "tau": "0.75"},
        paper={"eps": "10/255", "step_size": "1/255", "steps": "60", "omega": "0.9999"},
        errata="The authors' ω = 0.9999 all but ignores the pixels to keep; 0.9 does not. A public port's τ-test on "
        "min-max-normalised logits is not followed: τ is a softmax probability. The image stays in [0,1], which the "
        "paper's formula leaves open.",
    ),
    Entry(
        "static",
        "Show one given scene: every image is driven to the label map target=FILE.",
        "Fischer et al., ICLR 2017 workshop, arXiv 1703.01101; Metzen et al., ICCV 2017, arXiv 1704.05712 (static)",
        loss="metzen",
        steps=60,
        random_start=False,
        refused=("objective",),
        options=HIDE_OPTIONS,
        defaults={"reference": "pred", "omega": "0.5", "tau": "0.75"},
        paper={"eps": "10/255", "step_size": "1/255", "steps": "60"},
    ),
    Entry(
        "sea",
        "Segmentation Ensemble Attack: worst of masked CE, balanced masked CE and JS.",
        "Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941",
        targeted=False,
        refused=("objective",),
        members=("masked-ce", "balanced-masked-ce", "js"),
        errata="Reported as data-set worst case: per image for aAcc, by a joint choice for mIoU.",
    ),
    Entry(
        "strong",
        "The default ensemble: Tsallis, JS, masked CE (APGD) and PAdam-Cos, 200 gradients an image in all.",
        "members as cited there; the choice is ours: the strongest on robust and on normal models in their papers",
        targeted=False,
        refused=("objective",),
        members=("tsallis", "js", "masked-ce", "padam-cos"),
    ),
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
