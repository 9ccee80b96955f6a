"""Commands that tell what there is, what stands behind it, and whether it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import DataRef, Defense, Device, Json, ModelRef, app
from robustseg.terminal import bar, emit, explained, listed, tabled


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="attacks, models or data.")],
    json: Json = False,
) -> None:
    """Show the attacks, bundled models, or kinds of data that there are.

    Example: `robustseg list attacks`
    """
    (emit if json else tabled)(listed(what))


@app.command("explain")
def explain_(
    name: Annotated[
        str, typer.Argument(help="Name of an attack, as `robustseg list attacks` shows them, or a spec with options.")
    ],
    json: Json = False,
) -> None:
    """Show what stands behind an attack: formula, parts, defaults, the paper's numbers, source and errata.

    Example: `robustseg explain segpgd`
    """
    from robustseg.catalog.explain import explain, lines

    told = explain(name)
    emit(told) if json else print("\n".join(lines(told)))


@app.command()
def doctor(
    model: ModelRef,
    data: DataRef,
    limit: Annotated[int, typer.Option(min=1, help="How many images to look at.")] = 4,
    device: Device = "auto",
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH, as for `evaluate`.")] = None,
    class_map: Annotated[Path | None, typer.Option(help="As for `evaluate`.")] = None,
    defense: Defense = None,
    fit_data: Annotated[str | None, typer.Option(help="Data that zmask is calibrated on; never scored.")] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            callback=explained, is_eager=True, metavar="NAME", help="Print what a finding means and how to mend it."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Find out whether an attack on this model would mean anything; exit code 1 if not.

    Example: `robustseg doctor --model py:mine.py:build --data folder:photos`
    """
    with bar("examining"):
        from dataclasses import asdict

        from robustseg.data.resize import parse_size
        from robustseg.evaluation.examine import examine
        from robustseg.models import check

        size = parse_size(resize) if resize else None
        found = examine(
            model, data, limit=limit, device=device, resize=size, class_map=class_map, defense=defense,
            fit_data=fit_data,
        )  # fmt: skip
    emit([{**asdict(f), "page": f.page} for f in found]) if json else print("\n".join(check.render(found)))
    return 1 if check.failed(found) else 0
