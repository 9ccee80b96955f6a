"""The command behind `train.py`: options, data, progress, export, measurement."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.card import card
from recipes.data import read
from recipes.engine import train
from recipes.export import describe, export, reload
from recipes.measure import measure
from recipes.plot import plot_curve, read_curve
from recipes.recipes import RECIPES, Recipe

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = 40  # rendered training scenes kept back to draw the curve; street:val is measured once, at the end


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="recipes/train.py", description="Train one model of the zoo, export and measure it."
    )
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="training data; default data/street-train or data/camvid")
    parser.add_argument("--out", type=Path, help="where the export goes; default: the zoo's folder")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "runs" / "recipes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="pause after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--export", action="store_true", help="export even when the training is not finished")
    parser.add_argument("--threads", type=int, default=1, help="1 makes a resumed run bit-equal")
    return parser.parse_args(arguments)


def splits(recipe: Recipe, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """`train` and `val` of the recipe's data."""
    if recipe.data == "camvid":
        return {"train": read(f"camvid:{root}:train"), "val": read(f"camvid:{root}:val")}
    images, labels = read(f"street:{root}")
    return {
        "train": (images[:-HELD_OUT], labels[:-HELD_OUT]),
        "val": (images[-HELD_OUT:], labels[-HELD_OUT:]),
    }


def hardware() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name")) + " CPU"
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run_training(recipe: Recipe, chosen: argparse.Namespace, root: Path) -> tuple[nn.Module, int]:
    """The loop of `engine.train` behind a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    data = splits(recipe, root)

    def validate(network: nn.Module) -> dict:
        scores = measure(network, recipe, *data["val"], bfloat16=True)
        return {"val_mIoU": round(scores["mIoU"], 4), "val_aAcc": round(scores["aAcc"], 4)}

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task(recipe.name, total=recipe.steps)

        def report(row: dict) -> None:
            progress.update(task, completed=row["step"])
            if "loss" in row:
                progress.update(task, description=f"{recipe.name} loss {row['loss']:.3f}")
            else:
                progress.console.print(f"step {row['step']}: mIoU {row['val_mIoU']:.4f} aAcc {row['val_aAcc']:.4f}")

        folder = chosen.checkpoints / recipe.name
        return train(recipe, *data["train"], folder, minutes=chosen.minutes, validate=validate, report=report)


def publish(recipe: Recipe, network: nn.Module, step: int, chosen: argparse.Namespace, root: Path) -> dict:
    """Export, reload, measure what was exported, write robustseg.json, the card and the curve; returns the scores."""
    folder = chosen.out or ROOT / recipe.folder
    curve = ROOT / "recipes" / "curves" / f"{recipe.name}.jsonl" if chosen.out is None else folder / "curve.jsonl"
    export(network, recipe, folder)
    ref = f"camvid:{root}:test" if recipe.data == "camvid" else "street:val"
    images, labels = read(ref)
    exported = reload(recipe, folder)
    scores = measure(exported, recipe, images, labels)
    command = f"python recipes/train.py {recipe.name}"
    clean = {"aAcc": round(scores["aAcc"], 4), "mIoU": round(scores["mIoU"], 4), "measured": f"{command} (last line)"}
    describe(exported, recipe, folder, clean)
    curve.parent.mkdir(parents=True, exist_ok=True)
    log = chosen.checkpoints / recipe.name / "curve.jsonl"
    curve.write_text(log.read_text())
    rows = read_curve(log)
    plot_curve(rows, recipe.name, curve.with_suffix(".png"))
    facts = {
        "data": "camvid:PATH:test" if recipe.data == "camvid" else ref,
        "images": len(images),
        "steps": step,
        "cpu_minutes": rows[-1]["cpu_s"] / 60,
        "hardware": hardware(),
        "versions": f"torch {torch.__version__.split('+')[0]}",
        "command": command,
    }
    parameters = sum(p.numel() for p in exported.parameters())
    (folder / "README.md").write_text(card(recipe, clean, scores["IoU"], parameters, facts))
    return scores


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one line that says what is missing."""
    chosen = options(arguments)
    recipe = RECIPES[chosen.name]
    root = chosen.data or ROOT / "data" / ("camvid" if recipe.data == "camvid" else "street-train")
    state = chosen.checkpoints / recipe.name / "state.pt"
    if not root.is_dir():
        print(f"no training data in {root}; name its folder with --data (docs/zoo.md says where it comes from)")
        return 2
    if state.exists() and not chosen.resume:
        print(f"{state} exists; add --resume to go on with it, or delete it to start again")
        return 2
    torch.set_num_threads(chosen.threads)
    network, step = run_training(recipe, chosen, root)
    if step < recipe.steps and not chosen.export:
        print(f"paused at step {step} of {recipe.steps}; the same command with --resume goes on")
        return 0
    scores = publish(recipe, network, step, chosen, root)
    print(f"{recipe.name}: aAcc {scores['aAcc']:.4f} mIoU {scores['mIoU']:.4f}")
    print("  ".join(f"{name} {value:.3f}" for name, value in scores["IoU"].items() if value is not None))
    return 0
