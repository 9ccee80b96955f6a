"""Commands for the patch of one billboard: fit it, judge it, print it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import Device, Json, ModelRef, Seed, group
from robustseg.terminal import bar, emit

patch = group("patch", "A patch for one billboard of a rendered street: fit it, judge it on another drive, print it.")

Fast = Annotated[bool, typer.Option("--fast", help="Few poses, small frames, few steps: minutes on two cores.")]


@patch.command()
def optimise(
    model: ModelRef,
    out: Annotated[Path, typer.Option(help="Folder for the patch.")],
    scene: Annotated[str, typer.Option(help="billboard (by the road), wall, truck or shirt.")] = "billboard",
    seed: Seed = 0,
    fast: Fast = False,
    attack: Annotated[str, typer.Option(help="Options of the patch, e.g. patch:gamma=dynamic,smooth=0.2")] = "patch",
    texels: Annotated[int, typer.Option(min=4, help="Width of the texture; its height follows from the board.")] = 128,
    device: Device = "auto",
) -> None:
    """Fit a patch for the billboard of a scene on a drive towards it.

    Example: `robustseg patch optimise --scene billboard --model zoo:street-unet --seed 0 --out runs/board --fast`
    """
    with bar("patch", unit="parts") as progress:
        from robustseg.evaluation.board_patch import FAST, FULL, optimise_board

        about = optimise_board(
            scene, model, out, seed=seed, plan=FAST if fast else FULL, spec=attack, texels=texels, device=device,
            tick=progress,
        )  # fmt: skip
    wide, high = about["board_m"]
    print(f"{out / 'patch.png'}: {wide:g} m x {high:g} m, after {about['backwards']} gradients")


@patch.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that `patch optimise` has written.")],
    fast: Fast = False,
    model: Annotated[str | None, typer.Option(help="Another model than it was fitted on.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is found (default: FOLDER).")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Judge a patch on a drive that it was not fitted on: warped into the frames, and rendered again.

    Example: `robustseg patch evaluate runs/board`
    """
    with bar("patch", unit="textures") as progress:
        from robustseg.evaluation.board_patch import FAST
        from robustseg.evaluation.board_table import evaluate_board

        found = evaluate_board(folder, model=model, plan=FAST if fast else None, out=out, device=device, tick=progress)
    from robustseg.report.board import lines, page

    html = page(out or folder)
    if json:
        emit(found)
        return
    for line in lines(found):
        print(line)
    print(f"{(out or folder) / 'summary.json'}; a page of it: {html}")
    for caution in found["cautions"]:
        print(f"warning: {caution}", file=sys.stderr)


@patch.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="patch.safetensors, or a patch of OUT/artefacts.")],
    width: Annotated[float, typer.Option(help="Width of the print in metres.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("patch.png"),
    dpi: Annotated[float, typer.Option(help="Pixels an inch, at least.")] = 10.0,
) -> None:
    """Write a patch as a PNG that prints at its size.

    Example: `robustseg patch export runs/board/patch.safetensors --width 0.6 --out print.png`
    """
    from robustseg.catalog.artefact import Artefact
    from robustseg.errors import UserError
    from robustseg.physical.export import save_print

    if not file.is_file():
        raise UserError(f"{file} is no file; name a patch.safetensors")
    found = Artefact.load(file)
    if "patch" not in found.tensors:
        raise UserError(f"{file} holds {found.kind!r}, no patch")
    high, wide = save_print(found.tensors["patch"], out, width, dpi)
    print(f"{out}: {wide} x {high} pixels, {width:g} m wide")


@patch.command()
def photos(
    folder: Annotated[Path, typer.Argument(help="Folder with clean/, random/ and optimised/ photographs.")],
    model: Annotated[str | None, typer.Option(help="Model that looks at them.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the scores (default: FOLDER/scored).")] = None,
    longest: Annotated[int, typer.Option(help="Longer side in pixels that the model sees; larger ones shrink.")] = 1024,
    tolerance: Annotated[int, typer.Option(help="Pixels around class borders that do not count.")] = 2,
    template: Annotated[bool, typer.Option("--template", help="Write FOLDER/photos.csv to fill in, and stop.")] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Score photographs of a real board: clean, random and optimised print, against the clean prediction.

    Example: `robustseg patch photos field/ --model zoo:street-unet`
    """
    from robustseg.errors import UserError

    if template:
        from robustseg.data.photos import write_template

        print(f"{write_template(folder)}: fill in metres, degrees and corners of every photograph (docs/patches.md)")
        return
    if model is None:
        raise UserError("--model is missing: the model that looks at the photographs, e.g. zoo:street-unet")
    with bar("photographs", unit="places") as progress:
        from robustseg.evaluation.board_photos import score_photos

        found = score_photos(folder, model, out=out, longest=longest, tolerance=tolerance, device=device, tick=progress)
    from robustseg.report.photos import lines, page

    target = out or folder / "scored"
    html = page(target)
    if json:
        emit(found)
        return
    for line in lines(found):
        print(line)
    print(f"{target / 'summary.json'}; a page of it: {html}")
    for caution in found["cautions"]:
        print(f"warning: {caution}", file=sys.stderr)


@patch.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder that `patch optimise --scene` has written.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the photographs (default: FOLDER/photos).")] = None,
    fast: Fast = False,
    places: Annotated[int | None, typer.Option(min=1, help="Places to photograph from.")] = None,
) -> None:
    """Make photographs of a rendered board by formula (print, hand, sensor, JPEG): a rehearsal, never a result.

    Example: `robustseg patch simulate runs/board`
    """
    with bar("photographs", unit="prints") as progress:
        from robustseg.evaluation.board_patch import FAST
        from robustseg.evaluation.board_simulated import simulate_photos

        target = out or folder / "photos"
        found = simulate_photos(folder, target, plan=FAST if fast else None, places=places, tick=progress)
    number = sum("/" not in name for name in found["photos"])
    print(
        f"{target}: SIMULATED photographs from {number} places; score them: robustseg patch photos {target} --model …"
    )
