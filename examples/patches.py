"""Patches on a billboard, warped and rendered again, on three models: makes docs/results/patches.md.

    python examples/patches.py [--fast] [--seeds 0,1] [--only zoo:street-unet]
    python examples/patches.py --defences            # the chapter on defences alone (examples/patch_defences.py)

Every model has a patch of its own, fitted on one drive of each street (a seed is a street) and judged on another. A run
that is finished is not made again; `--page` writes the page of what is there. The last chapter is on defences.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import patch_defences
from PIL import Image

from robustseg.errors import UserError
from robustseg.evaluation.board_patch import FAST, FULL, optimise_board
from robustseg.evaluation.board_table import evaluate_board
from robustseg.ops.memory import keep_freed
from robustseg.report import board
from robustseg.report.board import MEANS
from robustseg.report.text import percent
from robustseg.survey.panels import Tile, sheet
from robustseg.terminal import bar

MODELS = ("zoo:street-unet", "zoo:street-segformer", "zoo:street-mask2former")
PAGE, PICTURE = Path("docs/results/patches.md"), Path("docs/images/patches.webp")
TEXT = """# Patches on a billboard, rendered again

Does a patch that was fitted on a *warp* of the board still work when the renderer hangs it there? A board of
7.5 m x 3.75 m by the road ([how](../patches.md#a-billboard)), one patch a model and street, fitted on one drive
({poses} poses, {steps} steps of {batch}, frames of {wide}x{high}) and judged on {held} poses of another. Simulated: no
photograph. Scores are taken outside the board, in %; *changed*: pixels predicted otherwise than with the harmless
poster; brackets: 95 % intervals, paired bootstrap over poses. They say how steady an effect is along that drive, not
what other streets would give; where one holds zero, the patch is not shown to do more than noise. Made by

```bash
{command}
```

## Warped and rendered again

{table}

## Optimised minus random

{gaps}

## By distance from the board in the picture

Changed pixels, rendered again: optimised (random). Networks look at a neighbourhood, and the effect fades with it.

{rings}

## By distance to the board

Changed pixels, rendered again: optimised (random), nearest pose last.

{metres}

![The nearest pose of each model, simulated: own poster, random texture, optimised patch](../images/{picture})

{defences}"""


def main() -> None:
    """Make the runs that are missing, then the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="few poses, small frames, few steps")
    parser.add_argument("--seeds", default="0", help="streets, e.g. 0,1,2")
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--page", action="store_true", help="write the page of the runs that are there")
    parser.add_argument("--out", type=Path, default=Path("runs/patches"))
    parser.add_argument("--defences", action="store_true", help="make the chapter on defences, leave the others")
    chosen = parser.parse_args()
    keep_freed()
    if chosen.defences:
        renew(patch_defences.chapter(chosen.out / "defences"))
        return print(PAGE)
    try:
        seeds = [int(s) for s in chosen.seeds.split(",")]
    except ValueError:
        raise UserError(f"--seeds {chosen.seeds}: write numbers with commas between them, e.g. 0,1") from None
    places = {(m, s): chosen.out / ("fast" if chosen.fast else "full") / f"{m.removeprefix('zoo:')}-{s}"
              for s in seeds for m in MODELS}  # fmt: skip
    for (model, seed), out in places.items():
        if not chosen.page and chosen.only in (None, model):
            run(model, seed, out, chosen.fast)
    found = {k: json.loads((out / "summary.json").read_text()) for k, out in places.items() if done(out, "summary")}
    if not found:
        raise UserError(f"{chosen.out} holds no finished run; leave --page out")
    again = chosen.page or chosen.only
    PAGE.write_text(
        page(found, chosen, standing() if again else patch_defences.chapter(chosen.out / "defences")), "utf-8"
    )
    strip(places, found)
    print(PAGE)


def done(out: Path, name: str) -> bool:
    """Whether a file, which is written last and in one go, is there."""
    return (out / f"{name}.json").is_file()


def run(model: str, seed: int, out: Path, fast: bool) -> None:
    """Fits and judges one patch, as far as that is not done."""
    plan = FAST if fast else FULL
    with bar(f"{model}, street {seed}") as progress:
        if not done(out, "optimise"):
            optimise_board("billboard", model, out, seed=seed, plan=plan, tick=progress)
        if not done(out, "summary"):
            evaluate_board(out, plan=plan, tick=progress)
            board.page(out)


Found = Mapping[tuple[str, int], dict[str, Any]]


def standing() -> str:
    """The chapter on defences as it stands in the page."""
    _, mark, text = PAGE.read_text(encoding="utf-8").partition(patch_defences.CHAPTER)
    return mark + text


def renew(chapter: str) -> None:
    """Put the chapter on defences into the page, in the place of the one that stands there."""
    before = PAGE.read_text(encoding="utf-8").partition(patch_defences.CHAPTER)[0]
    PAGE.write_text(before.rstrip() + "\n\n" + chapter, encoding="utf-8")


def page(found: Found, chosen: argparse.Namespace, defences: str) -> str:
    """The page as Markdown."""
    plan = FAST if chosen.fast else FULL
    options = "".join([" --fast" * chosen.fast, f" --seeds {chosen.seeds}" * (chosen.seeds != "0")])
    return TEXT.format(
        poses=plan.poses, steps=plan.steps, batch=plan.batch, wide=plan.size[1], high=plan.size[0], held=plan.held_out,
        command=f"python examples/patches.py{options}", table=scores(found), gaps=gaps(found), rings=rings(found),
        metres=metres(found), picture=PICTURE.name, defences=defences,
    )  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def name(key: tuple[str, int]) -> str:
    return f"`{key[0]}`, street {key[1]}"


def scores(found: Found) -> str:
    """Every texture, warped and rendered."""
    rows = []
    for key, one in found.items():
        for texture, means in MEANS.items():
            cells = [percent(one[d][texture].get(s)) for d in ("warp", "rerendered") for s in ("mIoU", "changed", "PQ")]
            rows.append([name(key) if texture == "clean" else "", means, *cells])
    head = [f"{s}, {d}" for d in ("warped", "rendered") for s in ("mIoU", "changed", "PQ")]
    return table(["model", "texture", *head], rows)


def gaps(found: Found) -> str:
    """What the patch does beyond noise."""
    rows = []
    for key, one in found.items():
        pairs = [one["difference"][d] for d in ("warp", "rerendered")]
        rows.append([name(key), *(ranged(p, s) for s in ("changed", "mIoU", "PQ") for p in pairs)])
    head = [f"{s}, {d}" for s in ("changed", "mIoU", "PQ") for d in ("warped", "rendered")]
    return table(["model", *head], rows)


def ranged(gap: Mapping[str, Any], score: str) -> str:
    """A difference in points with its interval."""
    if gap.get(score) is None:
        return "–"
    pair = (gap.get("ci95") or {}).get(score)
    text = f" ({board.signed(pair[0])} to {board.signed(pair[1])})" if pair else ""
    return board.signed(gap[score]) + text


def beside(scored: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{percent(scored['optimised']['changed'])} ({percent(scored['random']['changed'])})"


def rings(found: Found) -> str:
    """Changed pixels by distance in the picture."""
    one = next(iter(found.values()))["rerendered"]["clean"]["rings"]
    head = [f"{r['from']}–{r['to']} px" if r["to"] else f"over {r['from']} px" for r in one]
    rows = []
    for key, f in found.items():
        by = [{t: f["rerendered"][t]["rings"][i] for t in ("optimised", "random")} for i in range(len(head))]
        rows.append([name(key), *map(beside, by)])
    return table(["model", *head], rows)


def metres(found: Found) -> str:
    """Changed pixels pose by pose."""
    most = max(len(f["poses"]) for f in found.values())
    rows = [
        [name(k), *(f"{p['distance_m']:.0f} m: {beside(p['rerendered'])}" for p in f["poses"])]
        for k, f in found.items()
    ]
    return table(["model", *[f"pose {i + 1}" for i in range(most)]], rows)


def strip(places: Mapping[tuple[str, int], Path], found: Found) -> None:
    """The last frame of every model's drive over what it sees, as one still picture."""
    rows = []
    for key in found:
        with Image.open(places[key] / "drive.webp") as drive:
            drive.seek(getattr(drive, "n_frames", 1) - 1)
            rows.append([Tile(drive.convert("RGB"), f"{key[0]}, street {key[1]}: nearest pose, simulated")])
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, "Own poster, random texture, optimised patch", [], PICTURE, width=900)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
