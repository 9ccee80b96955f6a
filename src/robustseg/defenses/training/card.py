"""The card of a trained model: where it started, on what, how it was attacked, and what it reached."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from robustseg.defenses.training.recipe import DEFAULT, Recipe
from robustseg.models.base import Adapter

__all__ = ["card", "facts", "told"]

SETTINGS = (
    "batch", "crop", "zoom", "lr", "weight_decay", "warmup", "poly", "clip", "ema", "balance", "aware", "jitter",
    "stretch", "precision", "seed",
)  # fmt: skip


def told(recipe: Recipe) -> str:
    """The method in a sentence.

    >>> told(Recipe("zoo:street-unet", "street:val", attacks=("pgd:eps=4/255,steps=3",)))
    'adversarial training, every image attacked: pgd:eps=4/255,steps=3'
    >>> told(Recipe("zoo:street-unet", "street:val", attacks=("pgd", "mi-fgsm", "clean"), share=0.5))
    'adversarial training, 50% of the images attacked, every batch by one drawn from pgd, mi-fgsm or by nothing'
    """
    attacks = ", ".join(recipe.attacks) or ("none" if recipe.distill else DEFAULT)
    if len(recipe.attacks) > 1:
        drawn = [a for a in recipe.attacks if a != "clean"]
        attacks = f"every batch by one drawn from {', '.join(drawn)}" + " or by nothing" * ("clean" in recipe.attacks)
    if recipe.distill:
        to = f"soft labels of {recipe.distill.teacher}" if recipe.distill.teacher else "hard labels (a teacher)"
        return f"defensive distillation at temperature {recipe.distill.temperature:g}, {to}; attacks: {attacks}"
    if recipe.trades:
        return f"TRADES, beta {recipe.trades.beta:g}: {attacks}"
    share = "every image" if recipe.share == 1 else f"{recipe.share:.0%} of the images"
    return f"adversarial training, {share} attacked{',' if len(recipe.attacks) > 1 else ':'} {attacks}"


def facts(recipe: Recipe, done: Mapping[str, Any], scores: Mapping[str, float]) -> dict[str, Any]:
    """What robustseg.json says beyond the network itself."""
    return {
        "licence": recipe.licence or "as the data and the model it started from",
        "data": recipe.data,
        "training": {"method": told(recipe), **done, "recipe": recipe.table()},
        "held_out": dict(scores) | {"attack": recipe.validate_attack},
    }


def card(recipe: Recipe, model: Adapter, done: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """Markdown text; ``done``: steps and time; ``scores``: ``clean`` and ``attacked``, with IoU per class."""
    clean, attacked = scores["clean"], scores.get("attacked")
    state = "" if done["step"] == recipe.steps else f" of {recipe.steps} (the training is not finished)"
    begun = "new weights in the network of" if recipe.fresh else "the weights of"
    backbone = f", the backbone from `{recipe.backbone}`" if recipe.backbone else ""
    held = recipe.validation or f"{recipe.data}, {done['held_out']} images that were held out"
    listed = ", ".join(f"{n} {_text(getattr(recipe, n))}" for n in SETTINGS)
    names = [n for n in ("PQ", "aAcc", "mIoU") if clean.get(n) is not None]
    shown = {"clean": clean} | ({f"`{recipe.validate_attack}`": attacked} if attacked else {})
    rows = [f"| {what} | {' | '.join(f'{s[n]:.3f}' for n in names)} |" for what, s in shown.items()]
    return f"""# {recipe.name}

{told(recipe)[0].upper() + told(recipe)[1:]}. Started from {begun} `{recipe.start}`{backbone}.

**Licence of the weights:** {recipe.licence or "that of the data and of the model it started from"}.

## Scores on held-out images

| images | {" | ".join(names)} |
|---{"|---" * len(names)}|
{chr(10).join(rows)}

On {held}. One attack is no proof of robustness: measure with
`robustseg evaluate --model {model.spec.family.split("/")[0]}:FOLDER --attack strong …`.

{_classes(clean, attacked)}

## Training

Data: `{recipe.data}`, {done["images"]} images. {done["step"]} steps{state}; AdamW, {listed}.
The network answered the attack in eval mode and the training in train mode. The weights are the exponential moving
average at the last step, not the best of several, in {"half" if recipe.half else "single"} precision.
{done["cpu_s"] / 60:.0f} CPU-minutes in the first of {done["processes"]} processes, {platform.machine()}, torch \
{torch.__version__.split("+")[0]}. Curve: `curve.jsonl`, `curve.png`. Recipe: `robustseg.json`, `training`.
{recipe.note}{_masking(done)}
"""


def _masking(done: Mapping[str, Any]) -> str:
    found = done.get("masking")
    if not found:
        return ""
    numbers = ", ".join(f"{k} {v:.3g}" for k, v in found.items() if isinstance(v, float))
    return "\n".join(["\n## Gradient masking\n", f"On one held-out image: {numbers}.", *found["cautions"]])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ("x" if all(isinstance(v, int) for v in value) else " to ").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _classes(clean: Mapping[str, Any], attacked: Mapping[str, Any] | None) -> str:
    """IoU per class, worst first."""
    rows = sorted((v, n) for n, v in clean["IoU"].items() if v is not None)
    head = "| class | IoU | attacked |\n|---|---|---|" if attacked else "| class | IoU |\n|---|---|"

    def cell(name: str) -> str:
        value = attacked["IoU"].get(name) if attacked else None
        return "" if not attacked else f" {value:.3f} |" if value is not None else " |"

    return "\n".join([head, *(f"| {name} | {value:.3f} |{cell(name)}" for value, name in rows)])
