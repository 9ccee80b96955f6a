"""The command that makes attacks on every model and scores them on every other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import DataRef, Device, Eot, EotSamples, Json, Seed, Window, app
from robustseg.terminal import bar, emit


@app.command()
def transfer(
    model: Annotated[list[str], typer.Option("--model", help="As for `evaluate`; two times or more.")],
    data: DataRef,
    attack: Annotated[list[str], typer.Option(help="NAME[:key=value,…]; several times. See `list attacks`.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs. The same command continues what is there.")],
    eps: Annotated[str | None, typer.Option(help="Radii for all attacks, e.g. 2/255,8/255.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N images.")] = None,
    seed: Seed = 0,
    batch_size: Annotated[str, typer.Option(help="auto (shrinks when memory runs out) or a number.")] = "auto",
    device: Device = "auto",
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of image and truth before the attack.")] = None,
    fit_data: Annotated[str | None, typer.Option(help="Data for what an attack must learn first.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Store pictures of the N worst images of every pair.")] = 0,
    window: Window = None,
    task: Annotated[str | None, typer.Option(help="As for `evaluate`.")] = None,
    eot: Eot = None,
    eot_samples: EotSamples = None,
    json: Json = False,
) -> int:
    """Attack every model, score the images on all of them: OUT/transfer.json, .md and .html, surrogate by victim.

    Example: `robustseg transfer --model zoo:street-unet --model zoo:street-segformer --data street:val
    --attack mi-fgsm:steps=10 --eps 8/255 --limit 8 --out runs/carried`
    """
    with bar("starting", unit="done") as progress:
        from robustseg.evaluation.transfer import transfer as go

        found = go(
            model, data, list(attack), out=out, eps=eps, limit=limit, seed=seed, batch_size=batch_size, device=device,
            resize=resize, fit_data=fit_data, keep=keep, window=window, task=task, eot=eot, eot_samples=eot_samples,
            progress=progress, command=["robustseg", *sys.argv[1:]],
        )  # fmt: skip
    from robustseg.report.transfer import markdown, pages

    made = pages(out, found)
    emit(found) if json else print(markdown(found) + "\n" + str(made[-1]))
    for caution in found["cautions"]:
        print(f"warning: {caution}", file=sys.stderr)
    return 1 if found["failed"] + found["violations"] else 0
