"""The command that certifies pixels against patches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import DataRef, Device, Json, ModelRef, Window, app
from robustseg.terminal import bar, emit


@app.command()
def certify(
    model: ModelRef,
    data: DataRef,
    out: Annotated[Path, typer.Option(help="Folder of the results. The same command continues what is there.")],
    patch: Annotated[
        list[str] | None, typer.Option(help="Share of the image or pixels: 1% (default), 36, 24x48; several times.")
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help="recovery (default), detection; both: give it twice.")] = None,
    layout: Annotated[
        list[str] | None,
        typer.Option(help="How masks lie: columns (default), rows; recovery: three, four; detection: windows."),
    ] = None,
    masks: Annotated[int | None, typer.Option(min=1, help="How many; of windows, a direction.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N images.")] = None,
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of image and truth.")] = None,
    class_map: Annotated[Path | None, typer.Option(help="JSON: data class to model class or 'ignore'.")] = None,
    device: Device = "auto",
    window: Window = None,
    json: Json = False,
) -> None:
    """Which pixels no patch of a size can change, wherever it lies and whatever it shows (demasked smoothing).

    Example: `robustseg certify --model zoo:street-unet --data street:val --patch 1% --mode detection --limit 4
    --out runs/certified`
    """
    with bar("starting", unit="done") as progress:
        from robustseg.evaluation.certify import certify as go

        found = go(
            model, data, out=out, patch=patch or "1%", mode=mode or "recovery", layout=layout or "columns",
            masks=masks, limit=limit, resize=resize, class_map=class_map, device=device, window=window,
            progress=progress,
        )  # fmt: skip
    if json:
        emit(found)
        return
    from rich.console import Console

    from robustseg.report.certificates import table

    Console().print(table(found))
    print(out / "summary.json")
