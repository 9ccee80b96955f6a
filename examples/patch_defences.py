"""What Z-Mask and demasked smoothing are worth: the tables of docs/patch-defences.md.

    python examples/patch_defences.py runs/patch-defences 2 128x256        # OUT, images, size

Writes OUT/tables.md. Three parts, each for a CNN and a transformer of the zoo on street:val:

* ``hiding``: one patch fitted on other images, made on the bare model and made against Z-Mask, beside noise;
* ``certificates``: what no patch of 0.5 % and of 1 % of the image can change, by detection and by recovery;
* ``falling``: a patch of 1 % for each image, which follows the gradient through the votes: no certified pixel may fall.

The runs continue where they stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import robustseg as rs
from robustseg.data.resize import parse_size
from robustseg.defenses.defended import defended
from robustseg.defenses.demasked import certified
from robustseg.defenses.masking import layout, read_patch
from robustseg.evaluation.certify import certify
from robustseg.evaluation.matching import Mapped
from robustseg.ops.place import read
from robustseg.report.certificates import HEAD, lines
from robustseg.report.text import percent

MODELS = ("zoo:street-unet", "zoo:street-segformer")
DATA = "street:val"
AVOID = ("0", "1")
FIT = "images=2,batch=2,steps=8,vary=none"
PLACE = "0.4/0.6"
STEPS = 5


def hiding(out: Path, images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, defence, clean, random patch, patch that does not know of it, patches that do by their ``avoid``."""
    h, w = parse_size(size)
    patch = f"patch:size={h // 4}x{w // 4},{FIT}"
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
        made.append(
            (model, "none", pair(bare["clean"]), *filled(bare), pair(only(bare)[0]), pair(only(bare)[0]), *dash)
        )
        made.append((model, "Z-Mask", pair(auto["clean"]), *filled(auto), pair(only(off)[0]), *map(pair, only(auto))))
    return made


def filled(found: dict[str, Any]) -> tuple[str, ...]:
    """The random patch."""
    return tuple(pair(e) for s, e in found["attacks"].items() if "fill=random" in s)


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
        made += [(model, *row) for row in lines(found)]
    return made


def falling(images: int, size: str) -> list[tuple[str, ...]]:
    """Rows: model, how many certified pixels fell, and the share of the others whose class changed."""
    shape = parse_size(size)
    sides = read_patch("1%").size(shape)
    votes = layout("columns", "recovery", sides, shape)
    made = []
    for ref in MODELS:
        model = rs.load_model(ref)
        data = Mapped.of(rs.load_data(DATA, resize=shape), model.spec)
        attack = rs.attack(f"pgd:eps=1,step_size=1/8,steps={STEPS},reference=pred")
        count = {"certified": 0, "fallen": 0, "open": 0, "changed": 0}
        for i in range(min(images, len(data))):
            x = data[i].image[None]
            before = certified(model, x, votes, "recovery")
            inside = read(f"{sides[0]}x{sides[1]}@{PLACE}").mask(shape)[None]
            found = attack(defended(model, "demask=1%"), x, None, region=inside, seed=i).images
            moved = certified(model, found, votes, "recovery").labels != before.labels
            count["certified"] += int(before.sure.sum())
            count["fallen"] += int((moved & before.sure).sum())
            count["open"] += int((~before.sure).sum())
            count["changed"] += int((moved & ~before.sure).sum())
        if count["fallen"]:
            raise SystemExit(f"{ref}: {count['fallen']} certified pixels fell; the certificate is wrong")
        shares = f"{count['fallen']} of {count['certified']}", percent(count["changed"] / max(count["open"], 1))
        made.append((ref, *shares))
    return made


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, ("---",) * len(head), *rows)) + "\n"


def main(out: str = "runs/patch-defences", images: str = "2", size: str = "128x256") -> None:
    """All parts."""
    folder, n = Path(out), int(images)
    knowing = tuple(f"knows, avoid={a}" for a in AVOID)
    parts = [
        table(("model", "certified fell", "of the others changed, %"), falling(n, size)),
        table(("model", *HEAD), certificates(folder, n, size)),
        table(("model", "defence", "clean", "random patch", "does not know", *knowing), hiding(folder, n, size)),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.md").write_text("\n".join(parts), encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main(*sys.argv[1:])
