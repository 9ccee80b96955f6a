"""From a trained network to a folder of the zoo: weights, facts, measured scores, card, curve."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.card import card
from recipes.data import read
from recipes.export import describe, export
from recipes.measure import exported, measure_task, summary
from recipes.networks import bare
from recipes.recipes import Recipe
from robustseg.defenses.training.curve import plot_curve, read_curve

ROOT = Path(__file__).resolve().parents[1]


def publish(
    recipe: Recipe,
    network: nn.Module,
    step: int,
    *,
    root: Path,
    log: Path,
    out: Path | None,
    note: str = "",
    precision: str = "bfloat16 autocast",
) -> dict:
    """Export to the zoo (or `out`), measure what was exported, write robustseg.json, card and curve; the scores."""
    folder = out or ROOT / recipe.folder
    curve = folder / "curve.jsonl" if out else ROOT / "recipes" / "curves" / f"{recipe.name}.jsonl"
    network = bare(network)
    export(network, recipe, folder)
    ours = recipe.data.startswith("street")
    ref = f"{recipe.data}:val" if ours else f"{recipe.data}:{root}:test"
    images, labels = read(ref, objects=recipe.task in ("universal", "instance"))
    describe(network, recipe, folder, {})
    scores = measure_task(exported(recipe, folder), images, labels, recipe)
    command = f"python recipes/train.py {recipe.name}" + (" --float32" if precision == "float32" else "")
    clean = summary(scores) | {"measured": f"{command} (last lines)"}
    describe(network, recipe, folder, clean)
    curve.parent.mkdir(parents=True, exist_ok=True)
    curve.write_text(log.read_text())
    rows = read_curve(log)
    plot_curve(rows, recipe.name, curve.with_suffix(".png"))
    facts = {
        "data": ref if ours else f"{recipe.data}:PATH:test",
        "images": len(images),
        "size": sizes(images),
        "steps": step,
        "cpu_minutes": rows[-1]["cpu_s"] / 60,
        "hardware": hardware(),
        "precision": precision,
        "versions": f"torch {torch.__version__.split('+')[0]}",
        "command": command,
        "note": note,
    }
    parameters = sum(p.numel() for p in network.parameters())
    (folder / "README.md").write_text(card(recipe, clean, scores, parameters, facts))
    return scores


def sizes(images: Sequence[Tensor]) -> str:
    """What a card says of the size of images `(3,H,W)`: HEIGHTxWIDTH, or the smallest and the largest of several."""
    found = sorted({(int(i.shape[-2]), int(i.shape[-1])) for i in images}, key=lambda hw: (hw[0] * hw[1], hw))
    (h, w), (H, W) = found[0], found[-1]
    return f"{h}x{w}" if len(found) == 1 else f"{len(found)} sizes, {h}x{w} to {H}x{W}"


def hardware() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name")) + " CPU"
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
