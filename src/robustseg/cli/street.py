"""Commands on the procedural street."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import group
from robustseg.terminal import bar

scenes = group("scenes", "Procedural street scenes with exact ground truth.")


@scenes.command()
def render(
    out: Annotated[Path, typer.Option(help="Folder of the data set; a second call continues.")],
    split: Annotated[str, typer.Option(help="Name that the scenes are drawn from: train, val, fit …")] = "train",
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 8,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "512x256",
    start: Annotated[int, typer.Option(min=0, help="Index of the first scene.")] = 0,
    spp: Annotated[int, typer.Option(min=1, help="Samples a pixel.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Render street scenes: images, labels, instances and parts; the same index is the same scene.

    Example: `robustseg scenes render --split train --count 100 --size 512x256 --workers 2 --out data/street`
    """
    with bar("rendering", unit="scenes") as progress:
        from robustseg.data.resize import parse_size
        from robustseg.scenes.render import render_split

        width, height = parse_size(size)
        made = render_split(
            split, count, (width, height), out, spp=spp, workers=workers, start=start,
            progress=lambda done, total: progress(done, total, "rendering"),
        )  # fmt: skip
    print(made)
