"""Every hyper-parameter of the zoo's models: one frozen `Recipe` per model, nothing hidden elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from robustseg.data.dsb2018 import DETECTIONS

# fmt: off
STREET = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)
CROPS = (
    "building", "vegetation", "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "motorcycle",
    "bicycle",
)
CAMVID = (
    "sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)
# fmt: on


@dataclass(frozen=True)
class Stage:
    """A run of steps at one crop size. `zoom` is crop pixels per original pixel, drawn log-uniformly."""

    steps: int
    crop: tuple[int, int]
    batch: int
    zoom: tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """What rebuilds a model: network, data, schedule, loss, augmentation, seed."""

    name: str
    library: str  # "smp" | "hf" | "timm" | "maskrcnn"
    network: tuple[tuple[str, object], ...]  # keyword arguments of the library's constructor
    data: str  # "street" | "street-crops" | "camvid" | "dsb2018"
    classes: tuple[str, ...]
    stages: tuple[Stage, ...]
    size: tuple[int, int]  # (H, W) at which the model is measured
    folder: str  # where the export goes, relative to the repository
    licence: str
    multiple: int = 4  # image sides are padded to it
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 150
    poly: float = 0.9
    clip: float = 1.0
    ema: float = 0.998
    balance: float = 0.5  # class weight = (median frequency / frequency) ** balance
    heaviest: float = 4.0  # no class weighs more
    dice: float = 1.0  # weight of the soft Dice term
    aware: float = 0.0  # share of crops placed on a class drawn uniformly, so that rare ones are seen
    jitter: float = 0.3
    stretch: float = 0.15
    stain: float | None = None  # images of cells: share that is printed dark on bright
    composed: int = 0  # images of cells: pictures composed of the training nuclei, beside the images themselves
    seed: int = 0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    ignore: int = 255
    validate_every: int = 200
    task: str = "semantic"  # "semantic" | "universal" | "instance" | "classification"
    things: tuple[str, ...] = ()  # the countable classes
    smooth: float = 0.1  # label smoothing of classifiers
    no_object: float = 0.1  # weight of "no object" in the classification of queries
    smallest: int = 6  # objects of fewer pixels in a crop are no targets
    detections: int = 100  # judged an image: what the reader of the data says (COCO's 100 unless images hold more)
    tiles: tuple[int, ...] = ()  # side, stride, queries kept: the model sees images in tiles like its crops
    outside: float = 0.0  # pixels outside a mask weigh at most so many times those inside; 0: see `universal.reach`
    place: float = 0.0  # what the matching adds for each step (of the queries' places) that an object lies away
    dense: float = 4.0  # weight of linear heads on the pixel features, which are not exported: classes and
    centres: float = 1.0  # where the middle of the object is

    @cached_property
    def is_thing(self) -> list[bool]:
        """Per class: is it countable?"""
        return [name in self.things for name in self.classes]

    @property
    def tiling(self) -> dict[str, int]:
        """The arguments of `robustseg.models.tiles.Tiled.of`; empty where the model sees whole images."""
        return dict(zip(("side", "stride", "kept"), self.tiles))

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that step number `step` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError(f"{self.name} has {self.steps} steps")


def _segformer(*widths: int, depth: int = 2, decoder: int = 128) -> tuple[tuple[str, object], ...]:
    return (
        ("depths", (depth,) * 4),
        ("hidden_sizes", widths),
        ("num_attention_heads", (1, 2, 4, 8)),
        ("decoder_hidden_size", decoder),
        ("drop_path_rate", 0.0),
        ("classifier_dropout_prob", 0.1),
    )


_CAMVID = {
    "data": "camvid", "classes": CAMVID, "size": (360, 480),
    "licence": "CC BY-NC 4.0 (trained on CamVid: non-commercial, research use)",
}  # fmt: skip
_STREET = {"aware": 0.5, "data": "street", "classes": STREET, "size": (256, 512), "licence": "Apache-2.0"}

CAMVID_DEEPLAB = Recipe(
    name="camvid-deeplab",
    library="smp",
    network=(
        ("arch", "deeplabv3plus"),
        ("encoder_name", "tu-regnetx_002"),
        ("encoder_output_stride", 16),
        ("decoder_channels", 64),
    ),
    stages=(
        Stage(3200, (192, 256), 8, (0.4, 1.0)),
        Stage(172, (272, 368), 8, (0.6, 1.5)),
        Stage(1600, (272, 368), 4, (0.6, 1.5)),
    ),
    folder="weights-nc/camvid-deeplab",
    multiple=16,
    **_CAMVID,
)
CAMVID_SEGFORMER = Recipe(
    name="camvid-segformer",
    library="hf",
    network=_segformer(32, 64, 160, 256),
    stages=(Stage(1200, (192, 256), 4, (0.4, 1.0)), Stage(3200, (272, 368), 4, (0.6, 1.5))),
    folder="weights-nc/camvid-segformer",
    aware=0.5,
    lr=1e-3,
    **_CAMVID,
)
STREET_UNET = Recipe(
    name="street-unet",
    library="smp",
    network=(
        ("arch", "unet"),
        ("encoder_name", "tu-regnetx_002"),
        ("decoder_channels", (128, 64, 48, 32, 16)),
    ),
    stages=(
        Stage(1200, (128, 256), 8, (0.5, 1.25)),
        Stage(2000, (128, 256), 4, (0.5, 1.25)),
        Stage(2400, (192, 384), 4, (0.6, 1.4)),
        Stage(1700, (192, 384), 4, (0.9, 1.5)),
    ),
    folder="src/robustseg/zoo/street-unet",
    multiple=32,
    **_STREET,
)
STREET_SEGFORMER = Recipe(
    name="street-segformer",
    library="hf",
    network=_segformer(32, 64, 128, 192),
    stages=(
        Stage(2600, (128, 256), 4, (0.5, 1.25)),
        Stage(7700, (192, 384), 4, (0.6, 1.4)),
        Stage(2700, (192, 384), 4, (0.9, 1.5)),
    ),
    folder="src/robustseg/zoo/street-segformer",
    lr=1e-3,
    **_STREET,
)
# A plain transformer: patches of 16 pixels, one resolution throughout, and the DPT decoder on four of its layers.
STREET_VIT = Recipe(
    name="street-vit",
    library="smp",
    network=(
        ("arch", "dpt"),
        ("encoder_name", "tu-vit_tiny_patch16_224"),
        ("embed_dim", 128),
        ("num_heads", 4),
        ("mlp_ratio", 2.0),
        ("img_size", (256, 512)),
        ("dynamic_img_size", True),
        ("encoder_depth", 4),
        ("decoder_intermediate_channels", (48, 64, 96, 128)),
        ("decoder_fusion_channels", 64),
    ),
    stages=(
        Stage(3200, (128, 256), 4, (0.5, 1.0)),
        Stage(1500, (192, 384), 4, (0.75, 1.3)),
    ),
    folder="src/robustseg/zoo/street-vit",
    multiple=32,  # patches of 16, and the decoder halves their grid once
    lr=1e-3,
    **_STREET,
)
# Crops of 80 pixels show the object with some surroundings; windows of 53 to 71 pixels become 64.
_CROPS = {
    "data": "street-crops", "classes": CROPS, "size": (64, 64), "licence": "Apache-2.0", "task": "classification",
    "multiple": 1, "aware": 0.5, "stretch": 0.1, "validate_every": 200, "warmup": 100,
}  # fmt: skip
STREET_CNN_CLASSIFIER = Recipe(
    name="street-cnn-classifier",
    library="timm",
    network=(("architecture", "resnet10t"), ("channels", (24, 48, 96, 160))),
    stages=(Stage(900, (64, 64), 32, (0.9, 1.2)),),
    folder="src/robustseg/zoo/street-cnn-classifier",
    **_CROPS,
)
STREET_VIT_CLASSIFIER = Recipe(
    name="street-vit-classifier",
    library="hf",
    network=(
        ("hidden_size", 128),
        ("num_hidden_layers", 4),
        ("num_attention_heads", 4),
        ("intermediate_size", 256),
        ("image_size", 64),
        ("patch_size", 8),
    ),
    stages=(Stage(3600, (64, 64), 32, (0.9, 1.3)),),
    folder="src/robustseg/zoo/street-vit-classifier",
    lr=1e-3,
    **_CROPS,
)


def _mask2former(width: int, heads: int, queries: int, **backbone: object) -> tuple[tuple[str, object], ...]:
    return (
        ("backbone_config", tuple(backbone.items())),
        ("feature_size", width),
        ("mask_feature_size", width),
        ("hidden_dim", width),
        ("num_attention_heads", heads),
        ("encoder_layers", 2),
        ("encoder_feedforward_dim", 2 * width),
        ("decoder_layers", 4),  # three, and the prediction before the first
        ("dim_feedforward", 3 * width),
        ("num_queries", queries),
        ("dropout", 0.0),
        ("common_stride", 4),
    )


_STREET_STAGES = (
    Stage(3000, (128, 256), 4, (0.5, 1.0)),
    Stage(1800, (192, 384), 4, (0.75, 1.25)),
    Stage(900, (256, 512), 3, (0.9, 1.4)),
)
_STREET_SEGMENTS = {
    "library": "hf", "task": "universal", "lr": 1e-3, "multiple": 32, "validate_every": 1000, "smallest": 16,
    "things": ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    "stages": _STREET_STAGES,
}  # fmt: skip
STREET_MASK2FORMER = Recipe(
    name="street-mask2former",
    # windows of 4, one block in the last stage: from 128x256 on no window is cut, and nothing depends on the size
    network=_mask2former(
        96, 6, 60, model_type="swin", image_size=256, patch_size=4, embed_dim=36, depths=(2, 2, 2, 1),
        num_heads=(2, 4, 8, 16), window_size=4, drop_path_rate=0.0,
    ),
    folder="src/robustseg/zoo/street-mask2former",
    **{**_STREET_SEGMENTS, "stages": (*_STREET_STAGES[:2], Stage(1500, (256, 512), 3, (0.9, 1.4)))}, **_STREET,
)  # fmt: skip
STREET_MASK2FORMER_CNN = Recipe(
    name="street-mask2former-cnn",
    network=_mask2former(
        96, 6, 60, model_type="resnet", embedding_size=32, hidden_sizes=(48, 96, 144, 192), depths=(1, 2, 2, 1),
        layer_type="basic",
    ),
    folder="src/robustseg/zoo/street-mask2former-cnn",
    **_STREET_SEGMENTS, **_STREET,
)  # fmt: skip
_NUCLEI = {
    "data": "dsb2018", "classes": ("background", "nucleus"), "things": ("nucleus",), "size": (256, 256),
    "licence": "Apache-2.0 (trained on images in the public domain, CC0)", "stain": 0.4, "jitter": 0.2,
    "composed": 500, "validate_every": 500, "detections": DETECTIONS,
}  # fmt: skip
NUCLEI_MASKRCNN = Recipe(
    name="nuclei-maskrcnn",
    library="maskrcnn",
    task="instance",
    network=(
        ("widths", (24, 48, 96, 128)),
        ("depths", (1, 2, 2, 1)),
        ("channels", 48),
        ("anchors", (8, 16, 32, 64)),
        ("ratios", (0.6, 1.0, 1.7)),
        ("hidden", 256),
        ("rpn_pre_nms_top_n_train", 400),
        ("rpn_pre_nms_top_n_test", 1000),
        ("rpn_post_nms_top_n_train", 300),
        ("rpn_post_nms_top_n_test", 800),  # the test images hold up to 329 nuclei
        ("rpn_batch_size_per_image", 128),
        ("box_batch_size_per_image", 64),
        ("box_detections_per_img", 400),
    ),
    stages=(Stage(1600, (128, 128), 6, (0.6, 2.4)), Stage(800, (192, 192), 4, (0.5, 2.0))),
    folder="src/robustseg/zoo/nuclei-maskrcnn",
    multiple=32,
    **_NUCLEI,
)
NUCLEI_MASK2FORMER = Recipe(
    name="nuclei-mask2former",
    library="hf",
    task="universal",
    network=_mask2former(
        96, 6, 101, model_type="swin", image_size=128, patch_size=4, embed_dim=36, depths=(2, 2, 2, 1),
        num_heads=(2, 4, 8, 16), window_size=4, drop_path_rate=0.0, use_absolute_embeddings=True,
    ),
    stages=(Stage(9000, (128, 128), 4, (0.7, 2.4)), Stage(9000, (128, 128), 4, (0.7, 2.4))),  # two goes: see the card
    tiles=(128, 96, 400),
    place=1.0,
    outside=3.0,
    folder="src/robustseg/zoo/nuclei-mask2former",
    multiple=32,
    lr=1e-3,
    **{**_NUCLEI, "composed": 1500},
)  # fmt: skip
RECIPES = {
    r.name: r
    for r in (
        STREET_UNET, STREET_SEGFORMER, STREET_VIT, STREET_MASK2FORMER, STREET_MASK2FORMER_CNN, CAMVID_DEEPLAB,
        CAMVID_SEGFORMER, NUCLEI_MASKRCNN, NUCLEI_MASK2FORMER, STREET_CNN_CLASSIFIER, STREET_VIT_CLASSIFIER,
    )
}  # fmt: skip
