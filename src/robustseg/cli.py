"""The command line: parse, call, print. Every heavy import stands inside its command, so that ``--help`` is quick.

Exit codes: 0 done; 1 done, but some rows failed (or the doctor found a fault); 2 a mistake of the user; 3 one of ours;
130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from robustseg.ops.memory import keep_freed
from robustseg.terminal import bar, emit, explained, guarded, listed, scored, tabled

__all__ = ["app", "main"]

OPTIONS: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": "markdown", "pretty_exceptions_enable": False}
app = typer.Typer(add_completion=False, help="Measure how easily a segmentation model can be fooled.", **OPTIONS)
scenes = typer.Typer(help="Procedural street scenes with exact ground truth.", **OPTIONS)
app.add_typer(scenes, name="scenes")

ModelRef = Annotated[str, typer.Option("--model", help="zoo:NAME, hf:PATH, smp:PATH, torchvision:NAME?weights=FILE, "
                                       "timm:NAME?weights=FILE, py:FILE.py:FACTORY")]  # fmt: skip
ModelRefs = Annotated[list[str], typer.Option("--model", help="As elsewhere; several times: one attack on all.")]
DataRef = Annotated[str, typer.Option("--data", help="street:val, camvid:PATH:test, folder:PATH …; see `list data`")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random draws.")]
Eot = Annotated[str | None, typer.Option(help="What attacks must survive: noise=0.02,jpeg=30-90 … (docs/eot.md).")]
EotSamples = Annotated[int | None, typer.Option(min=1, help="Draws of these a step; default 1.")]
Window = Annotated[int | None, typer.Option(help="Side of a sliding window for large images, in pixels.")]


@app.callback(invoke_without_command=True)
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Measure how easily a segmentation model can be fooled."""
    if version:
        from robustseg import __version__

        print(__version__)
        raise typer.Exit()


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
        str | None, typer.Option(help="Model the attacks are made on; --model is scored (transfer).")
    ] = None,
    eot: Eot = None,
    eot_samples: EotSamples = None,
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
            task=task, source=source, eot=eot, eot_samples=eot_samples, progress=progress, dry_run=dry_run,
            command=["robustseg", *sys.argv[1:]],
        )  # fmt: skip
    if dry_run:
        from robustseg.evaluation.plan import describe

        emit(summary) if json else print(describe(summary))
        return 0
    return scored(summary, out, json)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of the shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the whole run.")],
    json: Json = False,
) -> int:
    """Join the shards of a run into exactly the rows of one run.

    Example: `robustseg merge runs/part1 runs/part2 --out runs/whole`
    """
    from robustseg.evaluation.merge import merge as go
    from robustseg.evaluation.merge import without_pictures

    code = scored(go(folders, out=out), out, json)
    print("\n".join(without_pictures(folders, out)), end="", file=sys.stderr)
    return code


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown instead.")] = False,
) -> None:
    """Write FOLDER/report.html, one self-contained page.

    Example: `robustseg report runs/first`
    """
    if markdown:
        from robustseg.report.page import markdown as text

        print(text(folder), end="")
        return
    from robustseg.report.page import report as go

    print(go(folder))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of two or more runs.")],
    out: Annotated[Path | None, typer.Option(help="File or folder for the page.")] = None,
) -> None:
    """Put runs side by side on one page, with a warning where they are not comparable.

    Example: `robustseg compare runs/unet runs/segformer --out compare.html`
    """
    from robustseg.report.compare import compare as go

    print(go(folders, out))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    to: Annotated[str, typer.Option(help="csv or parquet.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
) -> None:
    """Write every row of a run as a table.

    Example: `robustseg export runs/first --to parquet`
    """
    from robustseg.report.export import export as go

    print(go(folder, to, out))  # type: ignore[arg-type]


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
    json: Json = False,
) -> None:
    """Attack your own pictures; what the model sees in the clean picture is the reference.

    Example: `robustseg attack photo.jpg --model zoo:street-unet --attack pgd:eps=4/255 --out attacked`
    """
    with bar("loading", unit="pictures") as progress:
        from robustseg.evaluation.single import attack_images

        found = attack_images(
            images, model, attack, out=out, seed=seed, device=device, window=window, eot=eot,
            eot_samples=eot_samples, progress=progress,
        )  # fmt: skip
    if json:
        emit(found)
    else:
        for one in found:
            what = f"{one['changed']:.1%} of pixels changed class"
            if "after" in one:
                what = f"{one['before']} became {one['after']}" if one["changed"] else f"still {one['after']}"
            print(f"{one['image']}, {one['attack']}: {what} -> {one['folder']}")


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
    name: Annotated[str, typer.Argument(help="Name of an attack, as `robustseg list attacks` shows them.")],
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
        found = examine(model, data, limit=limit, device=device, resize=size, class_map=class_map)
    emit([{**asdict(f), "page": f.page} for f in found]) if json else print("\n".join(check.render(found)))
    return 1 if check.failed(found) else 0


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


def main() -> NoReturn:
    """The entry point of the ``robustseg`` command."""
    keep_freed()
    guarded(app, sys.argv[1:], (typer.Abort,))


if __name__ == "__main__":
    main()
