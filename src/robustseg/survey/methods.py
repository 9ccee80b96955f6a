"""Every method of the survey: what it is said to do, and which run of ours shows what it does here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFENCES", "METHODS", "Defence", "Method"]

SEGMENTERS = ("zoo:street-unet", "zoo:street-segformer")
GOALS = ("goal_reached", "background_kept")
BESIDE_NOISE = (*GOALS, "noise_goal_reached")
CLASSIFIERS = ("zoo:street-cnn-classifier", "zoo:street-vit-classifier")


@dataclass(frozen=True)
class Method:
    """A row. ``models``: a CNN, then a transformer; ``joint``: both under one perturbation.

    ``shows``: names of scores beside the data set's own, looked up in the attack's summary and in its ``extra``.
    ``attack``: a spec; ``TARGET`` in it stands for the file of a label map, that of another image of the data.
    """

    name: str
    says: str
    attack: str
    source: str
    models: tuple[str, ...] = SEGMENTERS
    data: str = "street:val"
    joint: bool = False
    shows: tuple[str, ...] = ()
    images: int | None = None  # of the crops; otherwise as many as are asked for
    page: str = ""  # where more is told

    @property
    def on_crops(self) -> bool:
        """Whether classifiers are attacked, on crops of one size."""
        return self.data.startswith("street-crops")


METHODS: tuple[Method, ...] = (
    Method(
        "FGSM, on classifiers",
        "One step along the sign of the gradient changes the class (eq. 1).",
        "fgsm:eps=2/255",
        "Goodfellow et al., ICLR 2015",
        CLASSIFIERS,
        "street-crops:val",
        images=100,
        page="../classification.md",
    ),
    Method(
        "FGSM",
        "The same step, on every pixel of a label map.",
        "fgsm:eps=8/255",
        "Goodfellow et al., ICLR 2015",
    ),
    Method(
        "PGD",
        "Small steps find more than one step.",
        "pgd:eps=8/255",
        "Madry et al., ICLR 2018",
    ),
    Method(
        "C&W L2, on classifiers",
        "The smallest change that fools, by Adam and a search for c (eq. 2).",
        "cw-l2",
        "Carlini, Wagner, S&P 2017",
        CLASSIFIERS,
        "street-crops:val",
        images=10,
        page="../minimal-norm.md",
    ),
    Method(
        "C&W L∞, on classifiers",
        "The same with the largest change of a pixel, by a threshold that falls.",
        "cw-linf",
        "Carlini, Wagner, S&P 2017",
        CLASSIFIERS,
        "street-crops:val",
        images=10,
        page="../minimal-norm.md",
    ),
    Method(
        "C&W L0, on classifiers",
        "As few changed pixels as possible: those that matter least are given back.",
        "cw-l0",
        "Carlini, Wagner, S&P 2017",
        CLASSIFIERS,
        "street-crops:val",
        images=10,
        page="../minimal-norm.md",
    ),
    Method(
        "SAGA, on classifiers",
        "CNN and ViT fooled by one perturbation, the ViT's gradient weighted by its attention (eq. 3).",
        "saga:eps=2/255",
        "Mahmood et al., ICCV 2021",
        CLASSIFIERS,
        "street-crops:val",
        joint=True,
        images=50,
        page="../several-models.md",
    ),
    Method(
        "SAGA",
        "The same on segmenters: reconstructed, the survey has none.",
        "saga:eps=8/255",
        "Mahmood et al., ICCV 2021; dense form ours",
        joint=True,
        page="../several-models.md",
    ),
    Method(
        "Hiding a class",
        "People vanish from the prediction, everything else stays (eq. 4).",
        "hide:class=person",
        "Fischer et al. 2017, Metzen et al. 2017",
        shows=GOALS,
    ),
    Method(
        "Static target",
        "Every image shows the network one given scene.",
        "static:target=TARGET",
        "Metzen et al., ICCV 2017",
        shows=("goal_reached",),
        page="../attacks.md",
    ),
    Method(
        "Universal perturbation",
        "One perturbation, fitted on other images, misleads on all.",
        "universal:eps=8/255,images=8",
        "Metzen et al., ICCV 2017",
    ),
    Method(
        "DAG",
        "Every pixel is driven to a wrong class of its own, until all have it.",
        "dag",
        "Xie et al., ICCV 2017",
        shows=("goal_reached",),
        page="../attacks.md",
    ),
    Method(
        "FashionAdv",
        "Clothes with a natural pattern in which nobody is seen (eq. 5).",
        "fashion",
        "Treu et al., CVPR 2021 workshops",
        shows=GOALS,
        page="../fashion.md",
    ),
    Method(
        "Stealthy: vanish",
        "People melt into their surroundings in the label map (eq. 6).",
        "stealthy",
        "Chen et al., WACV 2022",
        shows=BESIDE_NOISE,
        page="../stealthy.md",
    ),
    Method(
        "Stealthy: embed",
        "A person who is not there.",
        "stealthy:kind=embed",
        "Chen et al., WACV 2022",
        shows=BESIDE_NOISE,
        page="../stealthy.md",
    ),
    Method(
        "Stealthy: displace",
        "People stand elsewhere.",
        "stealthy:kind=displace,dx=12",
        "Chen et al., WACV 2022",
        shows=BESIDE_NOISE,
        page="../stealthy.md",
    ),
    Method(
        "EOT",
        "The mean over transformations: what is found survives blur and noise, and is weaker for it.",
        "pgd:eps=8/255,steps=10,eot=noise:0.02+blur:0.5+brightness:0.1",
        "Athalye et al., ICML 2018",
        page="../eot.md",
    ),
    Method(
        "Patch with EOT",
        "One printed rectangle misleads on what lies around it (eq. 7).",
        "patch:size=32x64,steps=60",
        "Nesti et al., WACV 2022; Brown et al. 2017",
        page="../patches.md",
    ),
)


@dataclass(frozen=True)
class Defence:
    """A defence as models beside their undefended twins, under one attack that knows of it.

    ``models``: pairs of a plain and a defended model, a CNN's, then a transformer's; ``defense``: what is put before
    the plain model instead.
    """

    name: str
    says: str
    attack: str
    source: str
    page: str
    models: tuple[tuple[str, str], ...] = tuple((m, m) for m in SEGMENTERS)
    defense: str | None = None


DEFENCES: tuple[Defence, ...] = (
    Defence(
        "Adversarial training",
        "Shown attacked images in training, a network keeps more of its score.",
        "pgd:eps=4/255",
        "Madry et al., ICLR 2018",
        "robust.md",
        tuple((m, f"{m}-robust") for m in SEGMENTERS),
    ),
    Defence(
        "Training with a mixture of attacks",
        "What one attack does not show, another does.",
        "pgd:eps=4/255",
        "the survey's recommendation",
        "robust.md",
        tuple((m, f"{m}-mixed") for m in SEGMENTERS),
    ),
    Defence(
        "JPEG",
        "A file format destroys small perturbations; an attack that knows of it finds them all the same.",
        "pgd:eps=2/255,steps=10",
        "Athalye et al., ICML 2018",
        "../input-defences.md",
        defense="jpeg=50",
    ),
    Defence(
        "Bit depth",
        "So does rounding the colours.",
        "pgd:eps=2/255,steps=10",
        "Xu et al., NDSS 2018",
        "../input-defences.md",
        defense="bits=3",
    ),
)
