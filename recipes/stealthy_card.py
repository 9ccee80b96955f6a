"""The card of a generator: what it does, what it was trained on, what it reached there, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from recipes.stealthy import Plan, Pool

DOES = {"vanish": "hides", "embed": "shows", "displace": "moves"}
SHOWN = "street:runs/street-train"  # the folder of the data as a card names it


def card(plan: Plan, made: torch.nn.Module, step: int, cpu: float, data: Pool, curve: Path) -> str:
    """Markdown; `curve`: the log of the training, whose last look at the windows held out is told."""
    rows = [json.loads(line) for line in curve.read_text().splitlines()]
    reached = next(row for row in reversed(rows) if "val_success" in row)
    number = sum(p.numel() for p in made.parameters())
    start = f", from the weights of `{plan.start}`" if plan.start else ""
    height, width = plan.size
    return f"""# {plan.name}

A generator of the attack `stealthy` that {DOES[plan.kind]} the class `{plan.moved}`: {number / 1e6:.2f} M parameters,
weights in half precision, changes of at most {round(plan.radius * 255)}/255 a pixel.
Used as `stealthy:kind={plan.kind},mode=generator`; how it works: docs/stealthy.md.

**Licence of the weights:** Apache-2.0.

## Training

Command: `python recipes/train_stealthy.py {plan.name} --data {SHOWN}`
(plan in `recipes/stealthy.py`, seed {plan.seed}).

Data: {len(data.images)} windows of {height}x{width} from rendered scenes (`robustseg scenes render --split train`),
at their own scale and at half of it; those of {plan.held_out} more scenes were held out. No label of the data is used:
goals come from the prediction of the victim, `{plan.victim}`.

{step} steps of {plan.batch} windows, Adam, lr {plan.rate:g} falling to 0{start};
{cpu / 60:.1f} CPU-minutes on one thread, float32, torch {torch.__version__}. The weights are those of the last step.

## What it reaches

On the {len(data.held_images)} windows held out, means over windows: **{reached["val_success"]:.3f}** of the pixels to
change take the label wanted, **{reached["val_kept"]:.3f}** of the others keep theirs.
On `street:val`, and on a model it was not trained against: docs/stealthy.md.

## Limits

It knows one class, rendered streets and one victim. It exists to be measured, and is no use on a photograph.
"""
