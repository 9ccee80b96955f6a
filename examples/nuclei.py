"""Attacks on average precision: two networks that find cell nuclei, side by side: makes docs/results/nuclei.md.

    python examples/nuclei.py PATH/TO/dsb2018 [--images 16] [--eps 1/255,4/255] [--seeds 0,1,2] [--steps 20]

Only test images of 256x256 are attacked, in the order of their names: others are up to five times as dear. A killed
run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from panoptic import contest, table
from PIL import Image

import robustseg as rs
from robustseg.models import zoo
from robustseg.ops.memory import keep_freed
from robustseg.report.load import load
from robustseg.terminal import bar

MODELS = {"Mask R-CNN": "nuclei-maskrcnn", "Mask2Former": "nuclei-mask2former"}
CONTEST = {
    "Mask R-CNN": ("ap-rank", "training-loss", "dag", "rpn-objectness"),
    "Mask2Former": ("ap-rank", "training-loss", "flood"),
}
SHOWN = ("AP", "AP50", "mIoU")
SIZE = (256, 256)
PAGE = Path("docs/results/nuclei.md")

TEXT = """# Average precision under attack: cell nuclei

The nuclei models of the [zoo](../zoo.md) on the first {images} test images of {side}x{side} of DSB2018, L∞ balls,
{steps} gradients an image for every attack, seeds {seeds}. Scores in %, mean over the seeds and, for AP, its standard
deviation. Made by

```bash
{command}
```

{tables}

## The ranking attack against the others

{contest}

Negative: the ranking attack leaves less. What was tried for it, and on which images: [notes](panoptic_notes.md).
"""


def main() -> None:
    """Evaluate what is not yet in the store, then write the page."""
    chosen = options()
    keep_freed()
    names = {kind: name for kind, name in MODELS.items() if name in zoo.folders()}
    data, found = square(chosen.data, chosen.out / "data"), {}
    for kind, name in names.items():
        specs = [f"{attack}:steps={chosen.steps}" for attack in CONTEST[kind]]
        for seed in chosen.seeds:
            with bar(f"{name}, seed {seed}") as progress:
                rs.evaluate(
                    f"zoo:{name}", data, specs, eps=chosen.eps, limit=chosen.images, seed=seed, keep=0,
                    out=chosen.out / f"{name}-{seed}", early_stop=False, progress=progress,
                )  # fmt: skip
        found[kind] = [load(chosen.out / f"{name}-{seed}") for seed in chosen.seeds]
    command = f"python examples/nuclei.py PATH --images {chosen.images} --eps {','.join(chosen.eps)}"
    command += f" --seeds {','.join(map(str, chosen.seeds))} --steps {chosen.steps}"
    text = TEXT.format(
        images=chosen.images, side=SIZE[0], steps=chosen.steps, seeds=", ".join(map(str, chosen.seeds)),
        command=command,
        tables="\n\n".join(table(kind, runs, e, SHOWN, "AP") for e in chosen.eps for kind, runs in found.items()),
        contest=contest(chosen.eps, found, CONTEST, "AP"),
    )  # fmt: skip
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of DSB2018, with test/ inside")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--eps", type=lambda t: t.split(","), default=["1/255", "4/255"])
    parser.add_argument("--seeds", type=lambda t: [int(s) for s in t.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/nuclei"))
    return parser.parse_args()


def square(source: Path, folder: Path) -> str:
    """A data set of links to the test images of the one size."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "test").glob("*_inst.png")):
        photo = path.with_name(path.name.replace("_inst", ""))
        with Image.open(photo) as image:
            if image.size != SIZE:
                continue
        for file in (photo, path):
            link = folder / "test" / file.name
            if not link.exists():
                link.symlink_to(file.resolve())
    return f"dsb2018:{folder}:test"


if __name__ == "__main__":
    main()
