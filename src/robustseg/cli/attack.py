"""Commands that attack: a data set, pictures, one row again; and what it costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import (
    Adaptive,
    DataRef,
    Defense,
    Device,
    Eot,
    EotSamples,
    Json,
    ModelRef,
    ModelRefs,
    Seed,
    Window,
    app,
)  # fmt: skip
from robustseg.terminal import bar, emit, scored


@app.command()
def evaluate(
    model: ModelRefs,
    data: DataRef,
    attack: Annotated[list[str], typer.Option(help="NAME[:key=value,…]; give it several times. See `list attacks`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run. The same command continues what is there.")],
    eps: Annotated[str | None, typer.Option(help="Radii for all attacks, e.g. 2/255,4/255,8/255.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N images.")] = None,
    seed: Seed = 0,
    batch_size: Annotated[str, typer.Option(help="auto (shrinks when memory runs out) or a number.")] = "auto",
    device: Device = "auto",
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of image and truth before the attack.")] = None,
    fit_data: Annotated[str | None, typer.Option(help="Data for what an attack must learn first.")] = None,
    region: Annotated[str | None, typer.Option(help="Where may be written: FILE, DIR, clothing, class:NAME …")] = None,
    count: Annotated[str | None, typer.Option(help="Which pixels count; as --region, or not:REGION.")] = None,
    class_map: Annotated[Path | None, typer.Option(help="JSON: data class to model class or 'ignore'.")] = None,
    eight_bit: Annotated[bool, typer.Option("--eight-bit", help="Score images rounded to 8 bits.")] = False,
    shard: Annotated[str | None, typer.Option(help="I/N: do the I-th of N parts; see `merge`.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Store pictures of the N worst images.")] = 0,
    early_stop: Annotated[bool, typer.Option(help="Images that are fully solved leave the batch.")] = True,
    window: Window = None,
    task: Annotated[
        str | None, typer.Option(help="semantic, instance, panoptic, classification, several with commas; default all.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", "--surrogate", help="Model the attacks are made on; --model is scored (transfer)."),
    ] = None,
    eot: Eot = None,
    eot_samples: EotSamples = None,
    defense: Defense = None,
    adaptive: Adaptive = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure a step and say what the run would cost.")] = False,
    json: Json = False,
) -> int:
    """Attack a model on a data set; scores, worst case and intervals go to OUT/summary.json.

    Example: `robustseg evaluate --model zoo:street-unet --data street:val --attack pgd --attack segpgd
    --eps 2/255,8/255 --limit 8 --keep 4 --out runs/first`
    """
    with bar("starting", unit="done") as progress:
        from robustseg.evaluation.run import evaluate as go

        summary = go(
            model if len(model) > 1 else model[0], data, list(attack), out=out, eps=eps, limit=limit, seed=seed,
            batch_size=batch_size, device=device, resize=resize, fit_data=fit_data, region=region, count=count,
            class_map=class_map, eight_bit=eight_bit, shard=shard, keep=keep, early_stop=early_stop, window=window,
            task=task, source=source, eot=eot, eot_samples=eot_samples, defense=defense, adaptive=adaptive,
            progress=progress, dry_run=dry_run, command=["robustseg", *sys.argv[1:]],
        )  # fmt: skip
    if dry_run:
        from robustseg.evaluation.plan import describe

        emit(summary) if json else print(describe(summary))
        return 0
    return scored(summary, out, json)


@app.command()
def attack(
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    model: ModelRef,
    attack: Annotated[list[str], typer.Option(help="NAME[:key=value,…]; several times: a folder for each attack.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    seed: Seed = 0,
    device: Device = "auto",
    window: Window = None,
    eot: Eot = None,
    eot_samples: EotSamples = None,
    defense: Defense = None,
    adaptive: Adaptive = "auto",
    json: Json = False,
) -> None:
    """Attack your own pictures; what the model sees in the clean picture is the reference.

    Example: `robustseg attack photo.jpg --model zoo:street-unet --attack pgd:eps=4/255 --out attacked`
    """
    with bar("loading", unit="pictures") as progress:
        from robustseg.evaluation.single import attack_images

        found = attack_images(
            images, model, attack, out=out, seed=seed, device=device, window=window, eot=eot,
            eot_samples=eot_samples, defense=defense, adaptive=adaptive, progress=progress,
        )  # fmt: skip
    if json:
        emit(found)
    else:
        for one in found:
            what = f"{one['changed']:.1%} of pixels changed class"
            if "after" in one:
                what = f"{one['before']} became {one['after']}" if one["changed"] else f"still {one['after']}"
            print(f"{one['image']}, {one['attack']}: {what} -> {one['folder']}")
        for caution in dict.fromkeys(c for one in found for c in one.get("cautions", ())):
            print(f"warning: {caution}", file=sys.stderr)


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    image: Annotated[str, typer.Argument(help="Id of the image.")],
    attack: Annotated[str, typer.Argument(help="Spec of the attack as in the table, or its beginning.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures (default: FOLDER/replay).")] = None,
    device: Device = "auto",
) -> int:
    """Make one adversarial image again, check it against its row, and write its pictures.

    Example: `robustseg replay runs/first 000003 pgd:eps=8/255`
    """
    with bar("replaying"):
        from robustseg.evaluation.replay import replay as go

        found = go(folder, image, attack, out=out, device=device)
    print(f"{'equal to its row' if found['equal'] else 'DIFFERS from its row'}; pictures in {found['pictures']}")
    for line in found["differences"]:
        print(f"  {line}")
    return 0 if found["equal"] else 1


@app.command()
def bench(
    model: ModelRef,
    attack: Annotated[list[str] | None, typer.Option(help="Attacks to measure; several times.")] = None,
    data: Annotated[str | None, typer.Option(help="Images to measure on (default: noise).")] = None,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the noise.")] = "256x512",
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    rounds: Annotated[int, typer.Option(min=3, help="Interleaved rounds.")] = 7,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure what attacks cost beyond the model's own forwards and backwards.

    Example: `robustseg bench --model zoo:street-unet --attack pgd --attack segpgd`
    """
    with bar("measuring") as progress:
        from robustseg.data import load_data
        from robustseg.data.resize import parse_size
        from robustseg.evaluation import bench as module
        from robustseg.evaluation.device import choose
        from robustseg.models import load_model

        found = module.bench(
            load_model(model, device=str(choose(device))), attack or module.ATTACKS, batch=batch, rounds=rounds,
            data=load_data(data) if data else None, size=parse_size(size), progress=lambda text: progress(0, 0, text),
        )  # fmt: skip
    emit(found) if json else print(module.render(found))
