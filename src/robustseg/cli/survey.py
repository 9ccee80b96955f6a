"""Commands that remake the survey behind this library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import Json, Seed, group
from robustseg.terminal import bar, emit

survey = group("survey", "The survey behind this library, remade with its models.")


@survey.command()
def figure(
    number: Annotated[int, typer.Argument(help="Number of the figure.")],
    image: Annotated[Path | None, typer.Option(help="Your own picture (default: a bundled scene).")] = None,
    region: Annotated[Path | None, typer.Option(help="Mask of the clothes in your picture (figure 2).")] = None,
    model: Annotated[str, typer.Option(help="As for `evaluate`.")] = "zoo:street-unet",
    out: Annotated[Path, typer.Option(help="Folder for the figure and the runs behind it.")] = Path("runs/survey"),
    fast: Annotated[bool, typer.Option("--fast", help="Fewer steps.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Remake a figure of the survey: OUT/figure-N.png and OUT/figure-N.json.

    Example: `robustseg survey figure 1`
    """
    with bar(f"figure {number}") as progress:
        from robustseg.survey.figure import figure as go

        told = go(
            number, out=out, model=model, image=image, region=region, fast=fast, seed=seed, progress=progress,
            command=["robustseg", *sys.argv[1:]],
        )  # fmt: skip
    emit(told) if json else print(told["picture"])
