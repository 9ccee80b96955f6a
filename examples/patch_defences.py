"""Z-Mask and demasked smoothing, and what is left of them: the chapter on defences of docs/results/patches.md.

    python examples/patches.py --defences            # makes it, and puts it into the page
    python examples/patch_defences.py [--images 4] [--resize 128x256] [--out runs/patches/defences]

Four parts, each for a CNN and a transformer of the zoo on street:val:

* ``hiding``: one patch fitted on other images, made on the bare model and made against Z-Mask, beside noise and grey;
* ``single``: a patch for each image by itself, made on the bare model and through Z-Mask;
* ``certificates``: what no patch of 0.5 % and of 1 % of the image can change, by detection and by recovery;
* ``falling``: a patch of 1 % for each image, which follows the gradient through the votes: no certified pixel may fall.

The runs continue where they stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import robustseg as rs
from robustseg.data.resize import parse_size
from robustseg.defenses.defended import defended
from robustseg.defenses.demasked import certified
from robustseg.defenses.masking import layout, read_patch
from robustseg.errors import UserError
from robustseg.evaluation.certify import certify
from robustseg.evaluation.matching import Mapped
from robustseg.ops.place import read
from robustseg.report.certificates import HEAD, lines
from robustseg.report.text import percent

MODELS = ("zoo:street-unet", "zoo:street-segformer")
DATA = "street:val"
AVOID = ("0", "1")
FIT = "images=8,batch=2,steps=60,step_size=0.1,vary=none"
OWN = "masked-ce:eps=1,step_size=1/16,steps=24"
PLACE = "0.4/0.6"
STEPS = 5
IMAGES, SIZE = 4, "128x256"

CHAPTER = "## Defences, and what is left of them"
TEXT = """{chapter}

[What they do](../patch-defences.md), and what knows of them: on the first {images} images of `street:val` at {size},
seed 0, in %, outside the patch where there is one. Made by `python examples/patches.py --defences`, which the script
above runs too. Few images and few steps: figures of Z-Mask are upper bounds of what is left, of a row the least counts;
certificates are what they are.

### Z-Mask, one patch for all images

A patch of {patch} in the middle, a sixteenth of the image, fitted on other images in 120 looks at the model, whether it
knows of Z-Mask or not (`{fit}`). Pixels right / mIoU. With `avoid=1` the score
of the defence is kept low and what the patch would do unhidden is followed; with `avoid=0` the gradient through the
soft mask alone.

{hiding}

### Z-Mask, a patch for each image

The same rectangle, one texture an image (`{own}`, on the image itself).
Pixels right / mIoU.

{single}

### Certificates of demasked smoothing

What no patch of a size can change, wherever it lies. *right*: certified and right, of all pixels; *aAcc*: pixels right
without a patch.

{certificates}

### A patch against the votes

One of 1 % for each image at {place}, through the gradient of the votes behind `demask=1%` (`pgd`, eps=1, {steps} steps
of five passes): certified pixels that fell, and the share of the others whose class changed.

{falling}
"""


def sides(size: str) -> str:
    """Of the patch that is to be hidden, a quarter of either side."""
    h, w = parse_size(size)
    return f"{h // 4}x{w // 4}"


def hiding(out: Path, images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, defence, clean, random, grey, a patch that does not know of it, patches that do by ``avoid``."""
    patch = f"patch:size={sides(size)},{FIT}"
    made = []
    for model in MODELS:
        options: dict[str, Any] = {"limit": images, "resize": size}
        folder = out / "hiding" / model.split(":")[1]
        bare = rs.evaluate(model, DATA, patch, out=folder / "none", **options)
        (file,) = (folder / "none" / "artefacts").glob("patch-*.safetensors")
        options["out"] = folder / "zmask"
        off = rs.evaluate(model, DATA, f"{patch},file={file}", defense="zmask", adaptive="off", **options)
        auto = rs.evaluate(model, DATA, [f"{patch},avoid={a}" for a in AVOID], defense="zmask", **options)
        dash = ("–",) * (len(AVOID) - 1)
        made.append((f"`{model}`", "none", pair(bare["clean"]), *filled(bare), pair(only(bare)[0]), "–", *dash))
        made.append(("", "Z-Mask", pair(auto["clean"]), *filled(auto), pair(only(off)[0]), *map(pair, only(auto))))
    return made


def filled(found: dict[str, Any]) -> tuple[str, ...]:
    """The random and the grey patch."""
    return tuple(pair(e) for f in ("random", "grey") for s, e in found["attacks"].items() if f"fill={f}" in s)


def single(out: Path, images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, defence, clean, patches made on the bare model, patches that know of the defence."""
    box = f"box:{sides(size)}@0.5/0.5"
    options: dict[str, Any] = {"limit": images, "resize": size, "region": box, "count": f"not:{box}"}
    made = []
    for model in MODELS:
        folder = out / "single" / model.split(":")[1]
        bare = rs.evaluate(model, DATA, OWN, out=folder / "none", **options)
        # the calibration of the other part, so that both meet one defence
        (file,) = (out / "hiding" / model.split(":")[1] / "zmask" / "artefacts").glob("zmask-*.safetensors")
        options |= {"out": folder / "zmask", "defense": f"zmask={file}"}
        off, auto = (rs.evaluate(model, DATA, OWN, adaptive=a, **options) for a in ("off", "auto"))
        made.append((f"`{model}`", "none", pair(bare["clean"]), pair(*named(bare)), "–"))
        made.append(("", "Z-Mask", pair(auto["clean"]), pair(*named(off)), pair(*named(auto))))
        for key in ("out", "defense"):
            del options[key]
    return made


def named(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The one attack of a run that is no noise."""
    return [e for s, e in found["attacks"].items() if s.startswith(OWN.split(":")[0])]


def only(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The optimised patches, in the order in which they were asked for."""
    return [e for s, e in found["attacks"].items() if "fill" not in s]


def pair(scores: dict[str, Any]) -> str:
    """Pixels right and mIoU, in %."""
    return f"{percent(scores['aAcc'])} / {percent(scores['mIoU'])}"


def certificates(out: Path, images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, then those of the certificates."""
    made = []
    for model in MODELS:
        found = certify(
            model, DATA, out=out / "certificates" / model.split(":")[1], limit=images, resize=size,
            patch=("0.5%", "1%"), mode=("detection", "recovery"),
        )  # fmt: skip
        made += [(f"`{model}`" if n == 0 else "", *row) for n, row in enumerate(lines(found))]
    return made


def falling(images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, how many certified pixels fell, and the share of the others whose class changed."""
    shape = parse_size(size)
    small = read_patch("1%").size(shape)
    votes = layout("columns", "recovery", small, shape)
    made = []
    for ref in MODELS:
        model = rs.load_model(ref)
        data = Mapped.of(rs.load_data(DATA, resize=shape), model.spec)
        attack = rs.attack(f"pgd:eps=1,step_size=1/8,steps={STEPS},reference=pred")
        count = {"certified": 0, "fallen": 0, "open": 0, "changed": 0}
        for i in range(min(images, len(data))):
            x = data[i].image[None]
            before = certified(model, x, votes, "recovery")
            inside = read(f"{small[0]}x{small[1]}@{PLACE}").mask(shape)[None]
            found = attack(defended(model, "demask=1%"), x, None, region=inside, seed=i).images
            moved = certified(model, found, votes, "recovery").labels != before.labels
            count["certified"] += int(before.sure.sum())
            count["fallen"] += int((moved & before.sure).sum())
            count["open"] += int((~before.sure).sum())
            count["changed"] += int((moved & ~before.sure).sum())
        if count["fallen"]:
            raise SystemExit(f"{ref}: {count['fallen']} certified pixels fell; the certificate is wrong")
        shares = f"{count['fallen']} of {count['certified']}", percent(count["changed"] / max(count["open"], 1))
        made.append((f"`{ref}`", *shares))
    return made


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lines of Markdown; all columns but the first are set right."""
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, ("---", *("---:",) * (len(head) - 1)), *rows))


def chapter(out: Path, images: int = IMAGES, size: str = SIZE) -> str:
    """The chapter as Markdown, which is kept as ``OUT/chapter.md`` too."""
    knowing = tuple(f"knows, `avoid={a}`" for a in AVOID)
    known = ("model", "defence", "clean")
    text = TEXT.format(
        chapter=CHAPTER,
        images=images, size=size, patch=sides(size), fit=FIT, own=OWN, place=PLACE, steps=STEPS,
        hiding=table((*known, "random patch", "grey", "does not know of it", *knowing), hiding(out, images, size)),
        single=table((*known, "do not know of it", "know"), single(out, images, size)),
        certificates=table(("model", *HEAD), certificates(out, images, size)),
        falling=table(("model", "certified fell", "of the others changed"), falling(images, size)),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "chapter.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Make what is missing, and print the chapter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--resize", default=SIZE, help="HEIGHTxWIDTH")
    parser.add_argument("--out", type=Path, default=Path("runs/patches/defences"))
    chosen = parser.parse_args()
    if chosen.images < 1:
        raise UserError(f"--images {chosen.images}: at least one")
    print(chapter(chosen.out, chosen.images, chosen.resize))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
