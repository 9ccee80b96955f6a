"""The attacks of the literature by name."""

from __future__ import annotations

from robustseg.catalog.dag import DAG
from robustseg.catalog.entry import INSTANCE, SEA_RADII, Entry
from robustseg.catalog.fashion import FASHION
from robustseg.catalog.minimal import MINIMAL_ENTRIES
from robustseg.catalog.patch_entries import PATCH_ENTRIES
from robustseg.catalog.queries import QUERY_ENTRIES
from robustseg.catalog.regions import REGION_ENTRIES
from robustseg.catalog.stealthy import STEALTHY

__all__ = ["ENTRIES", "Entry"]

HIDE_OPTIONS = {
    "omega": "weight of the pixels to change, 0 to 1",
    "tau": "confidence above which a pixel rests, 0 to 1",
}

_ENTRIES = (
    Entry(
        "noise",
        "Uniform noise of the same radius: the baseline every attack must beat.",
        "baseline; no gradient",
        output=("dense", "region", "prompted"),
        steps=0,
        targeted=False,
        refused=("step_size", "steps", "update", "objective", "eot", "eot_samples"),
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
        spatial=True,
        steps=60,
        random_start=False,
        refused=("objective",),
        output=("dense", "query"),
        options={**HIDE_OPTIONS, "instance": INSTANCE},
        only={"instance": ("query",), "tau": ("dense",), "target": ("dense",)},
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
        spatial=True,
        steps=60,
        random_start=False,
        refused=("objective",),
        options=HIDE_OPTIONS,
        defaults={"reference": "pred", "omega": "0.5", "tau": "0.75"},
        paper={"eps": "10/255", "step_size": "1/255", "steps": "60"},
    ),
    Entry(
        "saga",
        "Several models at once: gradients balanced, a transformer's weighted by its attention rollout.",
        "Mahmood, Mahmood, van Dijk, ICCV 2021, arXiv 2104.02610; dense models and auto weights: reconstructed",
        rule="blended",
        random_start=False,
        options={
            "weights": "of the models in their order, e.g. 0.3/0.7, or auto: every gradient of the same L1 norm",
            "rollout": "auto: a transformer's gradient times its attention rollout; none: a weighted BIM",
        },
        defaults={"weights": "auto", "rollout": "auto"},
        paper={"eps": "0.031", "step_size": "eps/steps", "steps": "10"},
        errata="The rollout multiplies the gradient, not the image as printed. The authors' weights (a_ViT = 1 - 2e-4, "
        "a_BiT = 2e-4) belong to losses averaged over batches of 8 and 2; for losses of single images they are "
        "weights=1/0.0008, ViT first. The best iterate is returned; theirs is the last.",
        version=2,
    ),
    Entry(
        "universal",
        "One perturbation for all images, fitted on others beforehand: a tile, repeated over the image.",
        "Metzen et al., ICCV 2017, arXiv 1704.05712; untargeted: Moosavi-Dezfooli et al., CVPR 2017, arXiv 1610.08401",
        goal_loss="metzen",
        random_start=False,
        refused=("objective", "norm", "restarts"),
        fits="universal-tile",
        shared=True,
        options={
            **HIDE_OPTIONS,
            "tile": "of universal: HEIGHTxWIDTH of the tile; image: as large as the first image fitted on",
            "images": "of universal and patch: how many images it is fitted on",
            "file": "of universal and patch: a tile or patch that was fitted before, .safetensors",
        },
        defaults={"omega": "0.9", "tau": "0.75", "tile": "image", "images": "32"},
        paper={
            "eps": "10/255",
            "step_size": "1/255",
            "steps": "60",
            "omega": "0.9999",
            "images": "1600",
            "target": "nearest",
            "class": "person",
            "reference": "pred",
        },
        errata="Without target= it is untargeted, on the cross-entropy; target=nearest,class=NAME is the paper's "
        "dynamic, target=FILE.png its static target. As for `hide`, ω = 0.9 keeps the rest where 0.9999 does not, and "
        "the image stays in [0,1]. Of the iterates the one that does best on the images fitted on is kept.",
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

ENTRIES: dict[str, Entry] = {
    e.name: e
    for e in (*_ENTRIES, *MINIMAL_ENTRIES, DAG, STEALTHY, FASHION, *PATCH_ENTRIES, *QUERY_ENTRIES, *REGION_ENTRIES)
}
