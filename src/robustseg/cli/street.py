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

        width, height = parse_size(size, "WIDTHxHEIGHT", "512x256")
        made = render_split(
            split, count, (width, height), out, spp=spp, workers=workers, start=start,
            progress=lambda done, total: progress(done, total, "rendering"),
        )  # fmt: skip
    print(made)


@scenes.command()
def preview(
    out: Annotated[Path, typer.Option(help="Folder for preview.png and preview.json.")],
    scene: Annotated[str, typer.Option(help="billboard or street.")] = "billboard",
    kind: Annotated[str, typer.Option(help="Of a billboard: wall, roadside, truck, shirt or all.")] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the billboard's street.")] = 0,
    poses: Annotated[int, typer.Option(min=1, help="Poses from far to near, or streets.")] = 4,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "256x128",
    texture: Annotated[Path | None, typer.Option(help="A picture to hang on the board.")] = None,
    path: Annotated[int, typer.Option(min=0, help="Another drive along the same street.")] = 0,
    weather: Annotated[str | None, typer.Option(help="clear, cloudy, overcast, haze or wet; by chance.")] = None,
    sun: Annotated[str | None, typer.Option(help="ELEVATION,AZIMUTH in degrees; by chance.")] = None,
    spp: Annotated[int, typer.Option(min=1, help="Samples a pixel.")] = 4,
) -> None:
    """A contact sheet: billboards from far to near with their visible pixels outlined, or streets; and their facts.

    Example: `robustseg scenes preview --scene billboard --kind roadside --weather clear --out runs/preview`
    """
    with bar("rendering", unit="rows") as progress:
        from robustseg.data.resize import parse_size
        from robustseg.scenes import preview as sheets
        from robustseg.scenes.trajectory import trajectory

        width, height = parse_size(size, "WIDTHxHEIGHT", "512x256")
        show = lambda done, total: progress(done, total, "rendering")  # noqa: E731
        kinds = sheets.kinds_of(scene, kind)
        if kinds:
            hung = sheets.read_texture(texture) if texture else None
            made = sheets.preview_billboards(
                lambda kind: trajectory(
                    kind, seed, poses=poses, size=(height, width), texture=hung, path=path, spp=spp, light=False,
                    weather=weather, sun=sheets.parse_sun(sun),
                ), kinds, out, show,
            )  # fmt: skip
        else:
            from robustseg.scenes.mitsuba import render as rendered
            from robustseg.scenes.street import street

            made = sheets.preview_streets(
                lambda k: rendered(street("preview", seed + k, (width, height)), spp=spp), poses, out, progress=show
            )
    print(made)
