"""Every method of the survey: what it is said to do, and which run of ours shows what it does here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]

SEGMENTERS = ("zoo:street-unet", "zoo:street-segformer")
GOALS = ("goal_reached", "background_kept")
CLASSIFIERS = ("zoo:street-cnn-classifier", "zoo:street-vit-classifier")


@dataclass(frozen=True)
class Method:
    """A row. ``models``: a CNN, then a transformer; ``joint``: both under one perturbation.

    ``shows``: names of scores beside the data set's own, looked up in the attack's summary and in its ``extra``.
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
        "Universal perturbation",
        "One perturbation, fitted on other images, misleads on all.",
        "universal:eps=8/255,images=8",
        "Metzen et al., ICCV 2017",
    ),
    Method(
        "DAG",
        "Every pixel is driven to a wrong class of its own, until all have it.",
        "dag:steps=60",
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
        shows=GOALS,
        page="../stealthy.md",
    ),
    Method(
        "Stealthy: embed",
        "A person who is not there.",
        "stealthy:kind=embed",
        "Chen et al., WACV 2022",
        shows=GOALS,
        page="../stealthy.md",
    ),
    Method(
        "Stealthy: displace",
        "People stand elsewhere.",
        "stealthy:kind=displace,dx=12",
        "Chen et al., WACV 2022",
        shows=GOALS,
        page="../stealthy.md",
    ),
    Method(
        "Patch with EOT",
        "One printed square misleads on what lies around it (eq. 7).",
        "patch:size=32x64,steps=60",
        "Nesti et al., WACV 2022; Brown et al. 2017",
        page="../patches.md",
    ),
)
