"""The command behind `train.py`: options, data, progress, export, measurement."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.cells import pictures
from recipes.data import read, read_crops
from recipes.engine import begin, train
from recipes.measure import exported_weights, in_training, measure_task, summary
from recipes.publish import publish
from recipes.recipes import RECIPES, Recipe
from robustseg.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = {"street": 40, "street-crops": 150, "dsb2018": 10}  # training images kept back to draw the curve
FOLDERS = {"street": "street-train", "street-crops": "street-train", "camvid": "camvid", "dsb2018": "dsb2018"}


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="recipes/train.py", description="Train one model of the zoo, export and measure it."
    )
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="training data; default runs/street-train, camvid or dsb2018")
    parser.add_argument("--out", type=Path, help="where the export goes; default: the zoo's folder")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "runs" / "recipes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="pause after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--from-step", type=int, metavar="K", help="begin at step K with the weights of the zoo's folder"
    )
    parser.add_argument("--export", action="store_true", help="export even when the training is not finished")
    parser.add_argument("--note", default="", help="what the card should say about this very training")
    parser.add_argument("--threads", type=int, default=1, help="1 makes a resumed run bit-equal")
    parser.add_argument(
        "--float32", action="store_true", help="no bfloat16 autocast: without its instructions a CPU is 7 times slower"
    )
    return parser.parse_args(arguments)


def splits(recipe: Recipe, root: Path) -> dict[str, tuple[Sequence[Tensor], Sequence[Tensor]]]:
    """`train` and `val` of the recipe's data."""
    if recipe.data == "camvid":
        return {"train": read(f"camvid:{root}:train"), "val": read(f"camvid:{root}:val")}
    if recipe.data == "street-crops":
        images, labels = read_crops(str(root), margin=0.35, size=80)
        kept = min(HELD_OUT[recipe.data], len(images) // 8)
        scored = read(f"street-crops:{root}")  # the same crops as they are scored
        return {"train": (images[:-kept], labels[:-kept]), "val": (scored[0][-kept:], scored[1][-kept:])}
    split = ":train" if recipe.data == "dsb2018" else ""
    images, labels = read(f"{recipe.data}:{root}{split}", objects=recipe.task != "semantic")
    kept = max(1, min(HELD_OUT[recipe.data], len(images) // 8))
    train = images[:-kept], labels[:-kept]
    if recipe.composed:
        train = tuple(map(torch.cat, zip(train, pictures(*train, recipe.composed, recipe.seed))))
    return {"train": train, "val": (images[-kept:], labels[-kept:])}


def run_training(recipe: Recipe, chosen: argparse.Namespace, root: Path) -> tuple[nn.Module, int]:
    """The loop of `engine.train` behind a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    data = splits(recipe, root)

    def validate(network: nn.Module) -> dict:
        fast = not chosen.float32 and recipe.library != "maskrcnn"  # torchvision's region pooling has no bfloat16
        scores = measure_task(in_training(network, recipe), *data["val"], recipe, bfloat16=fast)
        return {f"val_{name}": value for name, value in summary(scores).items()}

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task(recipe.name, total=recipe.steps)

        def report(row: dict) -> None:
            progress.update(task, completed=row["step"])
            if "loss" in row:
                progress.update(task, description=f"{recipe.name} loss {row['loss']:.3f}")
            else:
                values = (f"{k.removeprefix('val_')} {v:.4f}" for k, v in row.items() if k.startswith("val_"))
                progress.console.print(f"step {row['step']}: {' '.join(values)}")

        folder = chosen.checkpoints / recipe.name
        return train(
            recipe, *data["train"], folder,
            minutes=chosen.minutes, validate=validate, validate_every=recipe.validate_every, report=report,
            bfloat16=not chosen.float32,
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one line that says what is missing."""
    chosen = options(arguments)
    recipe = RECIPES[chosen.name]
    root = chosen.data or ROOT / "runs" / FOLDERS[recipe.data]
    state = chosen.checkpoints / recipe.name / "state.pt"
    if not root.is_dir():
        print(f"no training data in {root}; name its folder with --data (docs/zoo.md says where it comes from)")
        return 2
    if chosen.from_step is not None and state.exists():
        print(f"{state} exists; --resume alone goes on with it, or delete it to begin at step {chosen.from_step}")
        return 2
    if state.exists() and not chosen.resume:
        print(f"{state} exists; add --resume to go on with it, or delete it to start again")
        return 2
    torch.set_num_threads(chosen.threads)
    try:
        if chosen.from_step is not None:
            begin(recipe, exported_weights(recipe, ROOT / recipe.folder), chosen.from_step, state.parent)
        network, step = run_training(recipe, chosen, root)
        if step < recipe.steps and not chosen.export:
            print(f"paused at step {step} of {recipe.steps}; the same command with --resume goes on")
            return 0
        scores = publish(
            recipe, network, step, root=root, log=state.with_name("curve.jsonl"), out=chosen.out, note=chosen.note,
            precision="float32" if chosen.float32 else "bfloat16 autocast",
        )  # fmt: skip
    except UserError as error:
        print(error)
        return 2
    print(f"{recipe.name}:", " ".join(f"{name} {value:.4f}" for name, value in summary(scores).items()))
    for group in ("IoU", "PQ_per_class", "accuracy_per_class"):
        per_class = (f"{name} {value:.3f}" for name, value in scores.get(group, {}).items() if value is not None)
        if scores.get(group):
            print(f"{group}: ", "  ".join(per_class))
    return 0
