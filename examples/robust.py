"""What adversarial training is worth: every attack against normal and trained twins: makes docs/results/robust.md.

    python examples/robust.py [--images 6] [--resize 128x256] [--seed 0]

A killed run goes on where it stopped; models that the zoo does not have are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import robustseg as rs
from robustseg.models import zoo
from robustseg.ops.memory import keep_freed
from robustseg.terminal import bar

FAMILIES = {
    "CNN": ("street-unet", "street-unet-robust", "street-unet-mixed"),
    "transformer": ("street-segformer", "street-segformer-robust", "street-segformer-mixed"),
    "Mask2Former": ("street-mask2former", "street-mask2former-robust"),
}
RADIUS = "4/255"
BALL = (
    "fgsm", "mi-fgsm:steps=20", "pgd:steps=20", "segpgd:steps=20", "cospgd:steps=20", "margin:steps=20",
    "tsallis:steps=20", "universal:images=8,steps=20", "hide:class=person,steps=40", "stealthy:steps=40", "strong",
)  # fmt: skip
SEGMENTS = ("mask-break:steps=20", "training-loss:steps=20", "pq-price:steps=20")  # where the model has queries
FREE = ("dag:steps=40", "fashion:steps=40", "cw-linf:descents=8")  # no radius; each a run of its own, and so
PATCH = "patch:images=8,steps=60"  # is this: pixels under the patch count for nobody
PAGE = Path("docs/results/robust.md")

TEXT = """# What adversarial training is worth

Every attack against models of the [zoo](../zoo.md) and their twins after [adversarial training](../train.md): the
first {images} images of `street:val`{size}, seed {seed}, ε = {radius} where an attack has a ball, 20 gradients an
image (40 where it has a goal, 200 for `strong`, whose members stand beside it). The twins called robust were attacked
in training by PGD of 3 steps, those called mixed by PGD, SegPGD, CosPGD or MI-FGSM of 3 steps or by nothing, drawn
for every batch, at the same radius; no other attack of these tables was seen in training. mIoU in %, from five images
on with the 95 % interval over images; *goal*: share of the pixels aimed at that took the label wanted; *radius*: the
median L∞ distance, in 1/255, at which 99 % of the pixels are wrong. A patch covers 64x128 pixels and is scored outside.
Made by

```bash
{command}
```

{tables}

## What follows

{verdict}

`hide` attacks a Mask2Former through its queries, `stealthy` through its semantic scores: hence what each reaches of the
same goal there. The patch found nothing on the normal Mask2Former: with the places and sizes that it must survive its
240 gradients leave more right than random colours do. In a place that never changes they work (four images, pixels
right outside: random 86.9 %, `patch:images=8,steps=60` 88.1 %, the same with `vary=none` 80.9 %).
"""


def main() -> None:
    """Evaluate what is not yet in the store, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resize", default="128x256")
    parser.add_argument("--only", help="run this model alone, then write the page of all that is there")
    parser.add_argument("--page", action="store_true", help="write the page of the runs that are there")
    parser.add_argument("--out", type=Path, default=Path("runs/robust"))
    chosen = parser.parse_args()
    keep_freed()
    there = zoo.folders()
    families = {kind: [n for n in names if n in there] for kind, names in FAMILIES.items()}
    for kind, names in families.items():
        for name in names:
            if not chosen.page and chosen.only in (None, name):
                attack(name, chosen, kind == "Mask2Former")
    found = {
        kind: {n: entries(n, chosen.out) for n in names if entries(n, chosen.out)} for kind, names in families.items()
    }
    command = f"python examples/robust.py --images {chosen.images} --resize {chosen.resize} --seed {chosen.seed}"
    PAGE.write_text(
        TEXT.format(images=chosen.images, size=f" at {chosen.resize}", seed=chosen.seed, radius=RADIUS, command=command,
                    tables="\n\n".join(table(kind, one) for kind, one in found.items() if one), verdict=verdict(found)),
        encoding="utf-8",
    )  # fmt: skip
    print(PAGE)


def attack(name: str, chosen: argparse.Namespace, queries: bool) -> None:
    """One model under all attacks: those with a ball together, every other one alone (of queries, the patch)."""
    groups = [
        (BALL + SEGMENTS if queries else BALL, RADIUS),
        *(((s,), None) for s in (*(() if queries else FREE), PATCH)),
    ]
    for specs, eps in groups:
        out = chosen.out / name / ("ball" if eps else specs[0].partition(":")[0])
        with bar(f"{name}: {out.name}") as progress:
            rs.evaluate(
                f"zoo:{name}", "street:val", list(specs), eps=eps, limit=chosen.images, seed=chosen.seed, out=out,
                resize=chosen.resize, progress=progress,
            )  # fmt: skip


def entries(name: str, out: Path) -> dict[str, dict[str, Any]]:
    """What every attack did to a model, by what the table calls it."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((out / name).glob("*/summary.json")):
        summary = json.loads(file.read_text())
        outside = file.parent.name == "patch"
        found["clean, outside the patch" if outside else "clean"] = summary["clean"]
        for spec, entry in summary["attacks"].items():
            if outside:
                found[{"patch:fill=random": "patch of noise", "patch:fill=grey": "grey patch"}.get(spec, "patch")] = (
                    entry
                )
            elif entry["name"] != "noise" or file.parent.name == "ball":
                found[entry["name"]] = entry
    return found


def cell(entry: Mapping[str, Any] | None) -> str:
    """What a table says about one attack on one model."""
    if entry is None:
        return ""
    text, extra = scored(entry, "mIoU"), entry.get("extra") or {}
    if entry.get("PQ") is not None:
        text += f", PQ {scored(entry, 'PQ')}"
    if isinstance(extra.get("goal_reached"), float):
        text += f"; goal {100 * extra['goal_reached']:.0f}"
    if entry.get("distance"):
        middle = entry["distance"]["median"]["linf"]
        text += "; radius " + (f"{255 * middle:.2f}" if middle is not None else "not found")
    return text


def scored(entry: Mapping[str, Any], name: str) -> str:
    """A score in %, with its interval over images where there are enough of them for one."""
    ends = (entry.get("ci95") or {}).get(name)
    return f"{100 * entry[name]:.1f}" + (f" ({100 * ends[0]:.0f}–{100 * ends[1]:.0f})" if ends else "")


def table(kind: str, models: Mapping[str, Mapping[str, Any]]) -> str:
    """Attacks down, models across; the order is that of the first model's runs, the clean image first."""
    first = next(iter(models.values()))
    names = sorted(first, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))
    lines = [f"## {kind}", "", "| attack | " + " | ".join(f"`{m}`" for m in models) + " |"]
    lines.append("|---" * (len(models) + 1) + "|")
    lines += [f"| {n} | " + " | ".join(cell(found.get(n)) for found in models.values()) + " |" for n in names]
    return "\n".join(lines)


def verdict(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """What is left of each model under the attack that leaves least, and what its training cost on clean images."""
    lines = []
    for models in found.values():
        for name, one in models.items():
            hit = {
                a: e["mIoU"]
                for a, e in one.items()
                if e.get("eps") == RADIUS and a not in ("noise", "hide", "stealthy")
            }
            if hit:
                worst = min(hit, key=lambda a: hit[a])
                before, after = scored(one["clean"], "mIoU"), scored(one[worst], "mIoU")
                lines.append(f"- `{name}`: clean {before}, {after} under the attack that leaves least (`{worst}`).")
    return "\n".join(lines)


ORDER = [
    "clean", "noise", *(s.partition(":")[0] for s in BALL), "js", "masked-ce", "padam-cos",
    *(s.partition(":")[0] for s in (*SEGMENTS, *FREE)), "clean, outside the patch",
    "grey patch", "patch of noise", "patch",
]  # fmt: skip


if __name__ == "__main__":
    main()
