"""Commands for the patch of one billboard: fit it, judge it, print it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from robustseg.cli.app import Device, Json, ModelRef, Seed, group
from robustseg.terminal import bar, emit

patch = group("patch", "A patch for one billboard of a rendered street: fit it, judge it on another drive, print it.")

Fast = Annotated[bool, typer.Option("--fast", help="Few poses, small frames, few steps: minutes on two cores.")]


@patch.command()
def optimise(
    model: ModelRef,
    out: Annotated[Path, typer.Option(help="Folder for the patch.")],
    scene: Annotated[str | None, typer.Option(help="billboard (the default), wall, truck or shirt.")] = None,
    data: Annotated[str | None, typer.Option(help="Photographs instead, e.g. folder:PATH; labels not needed.")] = None,
    place: Annotated[str | None, typer.Option(help="Of --data: corners.json, or auto.")] = None,
    board: Annotated[str | None, typer.Option(help="Of --data: WIDTHxHEIGHT of the print in metres, 3x1.5.")] = None,
    longest: Annotated[int, typer.Option(help="Of --data: longer side in pixels; larger pictures shrink.")] = 1024,
    class_map: Annotated[Path | None, typer.Option(help="Of --data with labels: as in `evaluate`.")] = None,
    seed: Seed = 0,
    fast: Fast = False,
    attack: Annotated[str, typer.Option(help="Options of the patch, e.g. patch:gamma=dynamic,smooth=0.2")] = "patch",
    texels: Annotated[
        int, typer.Option(min=4, max=4096, help="Width of the texture; its height follows from the board.")
    ] = 128,
    device: Device = "auto",
) -> None:
    """Fit a patch for the billboard of a scene on a drive towards it, or for a flat place in your own photographs.

    Example: `robustseg patch optimise --scene billboard --model zoo:street-unet --seed 0 --out runs/board --fast`
    """
    from robustseg.errors import UserError

    if data is None and (place or board or class_map):
        raise UserError("--place, --board and --class-map belong to --data: name the photographs, e.g. folder:PATH")
    if data is not None:
        if scene is not None:
            raise UserError("--scene and --data are two ways to say where the patch hangs; give one of them")
        if place is None:
            raise UserError("--data needs --place: corners.json, the four corners in each picture, or auto")
        with bar("patch", unit="pictures") as progress:
            from robustseg.evaluation.board_patch import FAST, FULL
            from robustseg.evaluation.place_patch import optimise_placed

            about = optimise_placed(
                data, place, model, out, seed=seed, plan=FAST if fast else FULL, spec=attack, texels=texels,
                board=_metres(board), longest=longest, class_map=class_map, device=device, tick=progress,
            )  # fmt: skip
        print(f"fitted on {len(about['fit'])} pictures, {len(about['held_out'])} held out")
        if place == "auto":
            print(f"places that were found: {out / 'optimise.json'}, in the form of a corners.json")
        return _made(about, out)
    with bar("patch", unit="parts") as progress:
        from robustseg.evaluation.board_patch import FAST, FULL, optimise_board

        about = optimise_board(
            scene or "billboard", model, out, seed=seed, plan=FAST if fast else FULL, spec=attack, texels=texels,
            device=device, tick=progress,
        )  # fmt: skip
    _made(about, out)


def _made(about: dict[str, Any], out: Path) -> None:
    wide, high = about["board_m"]
    print(f"{out / 'patch.png'}: {wide:g} m x {high:g} m, after {about['backwards']} gradients")


def _metres(text: str | None) -> tuple[float, float] | None:
    """Width and height of ``3x1.5``."""
    from robustseg.errors import UserError

    if text is None:
        return None
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)[x×](\d+\.?\d*|\.\d+)", text.strip())
    sides = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not all(0.01 <= v <= 100 for v in sides) or not 0.1 <= sides[0] / sides[1] <= 10:
        raise UserError(f"--board {text} is no WIDTHxHEIGHT in metres of 0.01 to 100, e.g. 3x1.5")
    return sides


@patch.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that `patch optimise` has written.")],
    fast: Fast = False,
    model: Annotated[str | None, typer.Option(help="Another model than it was fitted on.")] = None,
    data: Annotated[str | None, typer.Option(help="Other photographs, for a patch of photographs.")] = None,
    place: Annotated[str | None, typer.Option(help="Of --data: corners.json, or auto.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is found (default: FOLDER).")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Judge a patch on a drive, or in photographs, that it was not fitted on; on a drive warped and rendered again.

    Example: `robustseg patch evaluate runs/board`
    """
    if data or place or _of_photographs(folder):
        with bar("patch", unit="pictures") as progress:
            from robustseg.evaluation.place_table import evaluate_placed

            found = evaluate_placed(folder, model=model, data=data, place=place, out=out, device=device, tick=progress)
        return _told(found, out or folder, json)
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


def _of_photographs(folder: Path) -> bool:
    """The patch of a folder was fitted on photographs."""
    import json

    try:
        return "data" in json.loads((folder / "optimise.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, TypeError):
        return False  # the command that follows says what is wrong


def _told(found: dict[str, Any], folder: Path, json: bool) -> None:
    """Print a summary of photographs, and write its page."""
    from robustseg.report.photos import lines, page

    html = page(folder)
    if json:
        return emit(found)
    for line in lines(found):
        print(line)
    print(f"{folder / 'summary.json'}; a page of it: {html}")
    for caution in found["cautions"]:
        print(f"warning: {caution}", file=sys.stderr)


@patch.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="patch.safetensors, or a patch of OUT/artefacts.")],
    width: Annotated[float, typer.Option(help="Width of the print in metres.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("patch.png"),
    dpi: Annotated[float, typer.Option(help="Pixels an inch, at least.")] = 10.0,
    controls: Annotated[bool, typer.Option("--controls", help="Beside it a harmless, a random, a grey board.")] = False,
) -> None:
    """Write a patch as a PNG that prints at its size; with the boards that a field test needs beside it.

    Example: `robustseg patch export runs/board/patch.safetensors --width 0.6 --out print.png --controls`
    """
    from robustseg.catalog.artefact import Artefact
    from robustseg.errors import UserError
    from robustseg.physical.export import save_print

    if not file.is_file():
        raise UserError(f"{file} is no file; name a patch.safetensors")
    found = Artefact.load(file)
    if "patch" not in found.tensors:
        raise UserError(f"{file} holds {found.kind!r}, no patch")
    boards = {"optimised": found.tensors["patch"]}
    if controls:
        from robustseg.evaluation.board_prints import prints, seed_of

        boards = prints(found.tensors["patch"], seed_of(file), harmless=True)
    for name, board in boards.items():
        path = out if name == "optimised" else out.with_name(f"{out.stem}_{name}{out.suffix}")
        high, wide = save_print(board, path, width, dpi)
        print(f"{path}: {wide} x {high} pixels, {width:g} m wide")


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
    _told(found, out or folder / "scored", json)


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
