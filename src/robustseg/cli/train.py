"""The command that trains: adversarial training and other defences by training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import Device, Json, app
from robustseg.terminal import bar, emit


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file; see examples/train and docs/train.md.")],
    out: Annotated[Path, typer.Option(help="Folder of model, card, curve and checkpoint.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0, help="Pause after so many minutes.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; several times.")] = None,
    data: Annotated[str | None, typer.Option(help="Data reference instead of the recipe's.")] = None,
    float32: Annotated[bool, typer.Option("--float32", help="No bfloat16, whatever the recipe says.")] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train a model to withstand attacks (or to fool you: distillation) as a recipe says.

    Example: `robustseg train examples/train/street-segformer-pgd.yaml --out runs/robust --set steps=200`
    """
    with bar("loading", unit="steps") as progress:
        from robustseg.defenses.training.run import train_recipe
        from robustseg.errors import UserError
        from robustseg.evaluation.device import choose

        changes: dict[str, str] = {}
        for given in set_ or ():
            key, _, value = given.partition("=")
            if not key or not value:
                raise UserError(f"--set {given}: wanted KEY=VALUE, such as --set steps=200")
            changes[key] = value
        changes |= {"data": data} if data else {}
        changes |= {"precision": "float32"} if float32 else {}
        told = train_recipe(
            recipe, out=out, changes=changes, resume=resume, device=choose(device),
            minutes=float("inf") if minutes is None else minutes, progress=progress,
            command=["robustseg", *sys.argv[1:]],
        )  # fmt: skip
    if json:
        emit(told)
    elif "scores" in told:  # of several processes the first one speaks
        values = " ".join(f"{name} {value:.3f}" for name, value in told["scores"].items())
        print(f"step {told['step']} of {told['steps']}: {values}; {told['model']}")
        for caution in told["cautions"]:
            print(f"warning: {caution}", file=sys.stderr)
        if told["step"] < told["steps"]:
            print("paused; the same command with --resume goes on")
