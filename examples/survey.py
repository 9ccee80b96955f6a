"""Every method of the survey, run on a CNN and on a transformer: makes docs/results/survey.md.

    python examples/survey.py [--images 6] [--resize 128x256] [--seed 0] [--only NAME]

A killed run goes on where it stopped; `--only` makes the runs of one method and then the page of all that is there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import robustseg as rs
from robustseg.evaluation.transfer import transfer
from robustseg.models import zoo
from robustseg.ops.memory import keep_freed
from robustseg.report.charts import NORMS
from robustseg.report.distances import size
from robustseg.report.transfer import markdown
from robustseg.survey.methods import DEFENCES, METHODS, SEGMENTERS, Defence, Method
from robustseg.survey.panels import Tile, sheet
from robustseg.terminal import bar

PAGE, PICTURES = Path("docs/results/survey.md"), Path("docs/images/survey")
TEXT = """# The survey, method by method

What every method of the survey does to a CNN and to a transformer of the [zoo](../zoo.md), measured on the first
{images} images of `street:val` at {resize}, seed {seed}; on classifiers the first {crops} crops of
`street-crops:val`. The defaults of the catalog hold where the row does not say otherwise. Scores in %: mIoU
(classifiers: accuracy), clean → attacked (95 % interval over images); of so few images they say what a method does, not
how robust a network is. Gradients are those spent on an image (*once*: on other images, for all of these); seconds are
wall time an image on a machine that did other work beside it: upper bounds, no more. `TARGET` is the label map of the
image behind the scored ones. Made by

```bash
{command}
```

{table}

{missing}{noise}*goal reached*: pixels to change that took the label wanted; *background kept*: other pixels that kept
theirs; *noise goal reached*: the first under noise of the same L2 length. A patch is scored outside its place, *random
patch* is what one of random colours leaves there. *Persons found*: share of their pixels, SSIM that of the clothing.
What the survey claims in general is judged on [a page of its own](claims.md).

## Defences

The same model without and with the defence, under an attack that knows of it. Of a defence put before the network
(`--defense`) the attack that does *not* know of it stands beside it: what one would have believed.

{defences}

Defensive distillation has [a page of its own](distillation.md): it hides the gradient of the cross-entropy (FGSM fools
54 % of the crops before and 6 % after), and the margin, which C&W follow, is no weaker for it (C&W: 100 % before and
after). Against patches: [Z-Mask and demasked smoothing](../patch-defences.md).

## Carried over, CNN to transformer and back

Attacks made on one model and scored on another, 10 steps at 8/255; [what helps to carry](../transfer.md).

{matrix}

## SAGA against a plain ensemble

One perturbation for a CNN and a transformer, a SegFormer or a plain ViT, 20 steps on both at 8/255: 40 gradients an
image for each. PGD follows the mean of the two losses. Classifiers: [their own table](saga.md); the method:
[several models](../several-models.md).

{ensemble}

## A CNN, a SegFormer and a plain ViT

The same attack on each, white-box, 20 gradients an image; behind the interval the share of the clean score that is
left. The three differ in what they score on clean images, so compare the shares.

{architectures}

## Pictures

Of every method one image on the CNN, before and after, with what the model sees in it: the image of the run that lost
most of its mIoU (of crops: the first whose label fell), so a bad case and no typical one.

{pictures}
"""
CARRIERS = ("mi-fgsm:steps=10,eps=8/255", "mi-fgsm:steps=10,eps=8/255,eot=scale:0.9-1+shift:0.05")
TOGETHER = {
    "pgd:eps=8/255,steps=20": "PGD on the mean loss",
    "saga:eps=8/255,steps=20,rollout=none": "gradients balanced, no attention",
    "saga:eps=8/255,steps=20": "SAGA",
}
VIT = "zoo:street-vit"
PAIRS = (SEGMENTERS, (SEGMENTERS[0], VIT))
SMALL, RADII = "pgd:steps=20", ("1/255", "2/255", "4/255", "8/255")


def main() -> None:
    """Evaluate what is not yet in the store, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--resize", default="128x256", help="size of the street images, HxW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="NAME", choices=[m.name for m in METHODS], help="a method of the table")
    parser.add_argument("--page", action="store_true", help="write the page of the runs that are there")
    parser.add_argument("--out", type=Path, default=Path("runs/survey"))
    chosen = parser.parse_args()
    keep_freed()
    for method in METHODS:
        if not chosen.page and chosen.only in (None, method.name):
            run(method, chosen)
    if not chosen.page and chosen.only is None:
        for defence in DEFENCES:
            defend(defence, chosen)
    rows, pictures = [], []
    for method in METHODS:
        found = [json.loads(f.read_text()) for f in summaries(method, chosen.out)]
        if found:
            rows.append(row(method, found))
            picture = shown(method, chosen.out)
            pictures += [f"**{method.name}**", f"![{method.name}: {method.attack}](../images/survey/{picture})"] * bool(
                picture
            )
    head = (
        "| method | the survey says | attack | CNN | transformer | gradients | s/img | source |\n" + "|---" * 8 + "|\n"
    )
    absent = ", ".join(f"{m.name} (`{m.attack}`)" for m in METHODS if not summaries(m, chosen.out))
    missing = f"Not run yet: {absent}.\n\n" if absent else ""
    plain = [json.loads(f.read_text()) for m in METHODS if m.name == "PGD" for f in summaries(m, chosen.out)]
    noise = [scored(s, one, "mIoU") for s in plain for one in s["attacks"].values() if one["name"] == "noise"]
    noise = f"Noise of 8/255 alone: CNN {noise[0]}, transformer {noise[1]}.\n\n" if noise else ""
    command = f"python examples/survey.py --images {chosen.images} --resize {chosen.resize} --seed {chosen.seed}"
    PAGE.write_text(
        TEXT.format(missing=missing, noise=noise, command=command, images=chosen.images, resize=chosen.resize,
                    seed=chosen.seed,
                    crops=", ".join(f"{m.images} ({m.attack.partition(':')[0]})" for m in METHODS if m.on_crops),
                    table=head + "\n".join(rows), pictures="\n\n".join(pictures), defences=defences(chosen),
                    matrix=matrix(chosen), architectures=architectures(chosen),
                    ensemble="\n\n".join(ensemble(pair, chosen) for pair in PAIRS)),
        encoding="utf-8",
    )  # fmt: skip
    print(PAGE)


def target(chosen: argparse.Namespace) -> Path:
    """The label map that static targets show: that of an image behind those which are scored."""
    path = chosen.out / "target.png"
    if not path.exists():
        sample = rs.load_data("street:val", resize=chosen.resize)[chosen.images]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.labels.numpy().astype(np.uint8)).save(path)
    return path


def defend(defence: Defence, chosen: argparse.Namespace) -> None:
    """Every model of the row, plain, defended, and, behind what is put before it, by an attack that does not know."""
    for plain, better in defence.models:
        cases = {"plain": (plain, {}), "defended": (better, {})}
        if defence.defense:
            hidden = {"defense": defence.defense, "adaptive": "off"}
            cases = {
                "plain": (plain, {}),
                "unaware": (plain, hidden),
                "defended": (plain, {"defense": defence.defense}),
            }
        for case, (model, options) in cases.items():
            if model.removeprefix("zoo:") not in zoo.folders():
                continue
            with bar(f"{defence.name}: {model}, {case}") as progress:
                rs.evaluate(
                    model, "street:val", defence.attack, out=place(defence, plain, chosen.out) / case, seed=chosen.seed,
                    limit=chosen.images, resize=chosen.resize, progress=progress, **options,
                )  # fmt: skip


def place(defence: Defence, model: str, out: Path) -> Path:
    """Where the runs of a defence on a model are kept."""
    return out / "defences" / defence.name.lower().replace(" ", "-") / model.removeprefix("zoo:")


def defences(chosen: argparse.Namespace) -> str:
    """The table of defences, of those whose runs are there."""
    lines = [
        "| defence | the survey says | attack | model | without | with it | unaware attack | source |",
        "|---" * 8 + "|",
    ]
    for defence in DEFENCES:
        for plain, better in defence.models:
            base = place(defence, plain, chosen.out)
            found = {f.parent.name: json.loads(f.read_text()) for f in base.glob("*/summary.json")}
            if {"plain", "defended"} <= found.keys():
                model = f"`{(plain if defence.defense else better).removeprefix('zoo:')}`"
                cells = [scored(found[c], attacked(found[c]), "mIoU") if c in found else "–"
                         for c in ("plain", "defended", "unaware")]  # fmt: skip
                what = f"`{defence.attack}`" + (f" behind `{defence.defense}`" if defence.defense else "")
                name = f"[{defence.name}]({defence.page})"
                lines.append(f"| {' | '.join((name, defence.says, what, model, *cells, defence.source))} |")
    return "\n".join(lines)


def matrix(chosen: argparse.Namespace) -> str:
    """Surrogate by victim: a table for each attack."""
    out = chosen.out / "transfer"
    if chosen.only is None and not chosen.page:
        with bar("transfer") as progress:
            transfer(
                SEGMENTERS, "street:val", list(CARRIERS), out=out, resize=chosen.resize, limit=chosen.images,
                seed=chosen.seed, progress=progress,
            )  # fmt: skip
    file = out / "transfer.json"
    return markdown(json.loads(file.read_text())).strip() if file.exists() else "Not run yet."


def architectures(chosen: argparse.Namespace) -> str:
    """Three architectures under one attack, radius by radius."""
    lines = [f"| model | clean | {' | '.join(f'`{SMALL}`, ε = {e}' for e in RADII)} |", "|---" * (len(RADII) + 2) + "|"]
    for model in (*SEGMENTERS, VIT):
        out = chosen.out / "architectures" / model.removeprefix("zoo:")
        if chosen.only is None and not chosen.page:
            with bar(f"architectures: {model}") as progress:
                rs.evaluate(
                    model, "street:val", SMALL, eps=list(RADII), out=out, resize=chosen.resize, limit=chosen.images,
                    seed=chosen.seed, progress=progress,
                )  # fmt: skip
        if not (out / "summary.json").exists():
            continue
        one = json.loads((out / "summary.json").read_text())
        hit = {e["eps"]: e for e in one["attacks"].values() if e["name"] != "noise"}
        clean = one["clean"]["mIoU"]
        cells = [f"{value(hit[e], 'mIoU')}, {hit[e]['mIoU'] / clean:.0%}" for e in RADII]
        lines.append(f"| `{model}` | {value(one['clean'], 'mIoU')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ensemble(pair: Sequence[str], chosen: argparse.Namespace) -> str:
    """Both models under one perturbation, by three ways to join their gradients."""
    out = chosen.out / ("ensemble" if pair == SEGMENTERS else "ensemble-vit")
    if chosen.only is None and not chosen.page:
        with bar(out.name) as progress:
            rs.evaluate(
                list(pair), "street:val", list(TOGETHER), out=out, resize=chosen.resize, limit=chosen.images,
                seed=chosen.seed, progress=progress,
            )  # fmt: skip
    files = sorted(out.glob("members/*/summary.json"))
    if not files:
        return "Not run yet."
    members = [json.loads(f.read_text()) for f in files]
    lines = [f"| attack | {' | '.join(m['model'] for m in members)} | gradients |", "|---" * (len(members) + 2) + "|"]
    for spec, one in members[0]["attacks"].items():
        name = next((f"`{asked}`: {says}" for asked, says in TOGETHER.items() if same(asked, spec)), f"`{spec}`")
        cells = [scored(m, m["attacks"][spec], "mIoU") for m in members]
        lines.append(f"| {name} | {' | '.join(cells)} | {one['backwards']:.0f} |")
    return "\n".join(lines)


def same(asked: str, spec: str) -> bool:
    """Whether a spec of a summary is what was asked for, in whatever order its options stand."""
    name, _, options = spec.partition(":")
    wanted, _, given = asked.partition(":")
    asks = {o for o in given.split(",") if not o.startswith("steps")}
    return name == wanted and asks <= set(options.split(",")) and ("rollout=none" in spec) == ("rollout=none" in asked)


def scored(summary: Mapping[str, Any], one: Mapping[str, Any], score: str) -> str:
    """Clean → attacked, with the interval over images."""
    return f"{100 * summary['clean'][score]:.1f} → {value(one, score)}"


def value(one: Mapping[str, Any], score: str) -> str:
    """A score in %, with the interval over images where there is one."""
    ends = (one.get("ci95") or {}).get(score)
    return f"{100 * one[score]:.1f}" + (f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else "")


def folder(method: Method, out: Path) -> Path:
    """Where the runs of a method are kept."""
    return out / re.sub("[,&:]", "", method.name.lower()).replace("∞", "inf").replace(" ", "-")


def run(method: Method, chosen: argparse.Namespace) -> None:
    """The method on both models, or on both at once."""
    groups = [list(method.models)] if method.joint else [[m] for m in method.models]
    for models in groups:
        out = folder(method, chosen.out)
        out = out if method.joint else out / models[0].removeprefix("zoo:")
        with bar(f"{method.name}: {', '.join(models)}") as progress:
            rs.evaluate(
                models if method.joint else models[0], method.data,
                [method.attack.replace("TARGET", str(target(chosen)))], out=out, seed=chosen.seed,
                limit=method.images or chosen.images, keep=1, progress=progress,
                resize=None if method.on_crops else chosen.resize,
            )  # fmt: skip


def summaries(method: Method, out: Path) -> list[Path]:
    """One summary a model, where they are all there."""
    base = folder(method, out)
    names = [m.removeprefix("zoo:") for m in method.models]
    places = (
        [base / "members" / f"{k}-zoo_{n}" for k, n in enumerate(names, 1)]
        if method.joint
        else [base / n for n in names]
    )
    files = [p / "summary.json" for p in places]
    return files if all(f.exists() for f in files) else []


def attacked(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own entry: the one that is not the baseline."""
    return next(v for v in reversed(summary["attacks"].values()) if v["name"] != "noise")


def row(method: Method, found: list[dict[str, Any]]) -> str:
    """One line of the table."""
    cells = []
    for summary in found:
        one, score = attacked(summary), "accuracy" if summary["task"] == "classification" else "mIoU"
        text = scored(summary, one, score)
        text += "".join(
            f"; random patch {100 * v[score]:.1f}" for k, v in summary["attacks"].items() if "fill=random" in k
        )
        if one.get("distance"):
            text = distance(one["distance"])
        extra = {**one, **one.get("extra", {})}
        text += "".join(
            f"; {n.replace('_', ' ')} {100 * extra[n]:.1f}" for n in method.shows if isinstance(extra.get(n), float)
        )
        cells.append(text + seen(one.get("natural")))
    gradients = " / ".join(spent(attacked(s)) for s in found)
    seconds = " / ".join(f"{attacked(s)['seconds_per_image']:.1f}" for s in found)
    name = f"[{method.name}]({method.page})" if method.page else method.name
    return f"| {' | '.join((name, method.says, f'`{method.attack}`', *cells, gradients, seconds, method.source))} |"


def spent(one: Mapping[str, Any]) -> str:
    """Gradients an image; of what is fitted on other images once, all of them."""
    fitted = one.get("fitted")
    return f"{fitted['backwards']} once" if fitted else f"{one['backwards']:.0f}"


def seen(natural: Mapping[str, Any] | None) -> str:
    """Of clothing: the share of the persons' pixels that are found, in the plain image and in a file of quality 80."""
    if not natural:
        return ""
    found = [
        " → ".join(f"{100 * natural['jpeg'][quality][image]['pixel_recall']:.1f}" for image in ("clean", "attacked"))
        for quality in ("none", "80")
    ]
    return f"; {natural['class']}s found {found[0]} (JPEG 80: {found[1]}); SSIM {natural['ssim']:.2f}"


def distance(found: Mapping[str, Any]) -> str:
    """How far it is, of an attack without a ball; images that were wrong as they are had no way to go."""
    norm, wrong = found["norm"], found["untouched"]
    middle = found["median_touched"][norm]
    length = f", median {NORMS[norm]} {size(middle, norm)}" if middle is not None else ""
    already = f" ({wrong} of {found['images']} as they are)" if wrong else ""
    return f"{100 * (found['fooled'] or 0):.0f} % of images fooled{already}{length}{' of the others' * bool(wrong)}"


def shown(method: Method, out: Path) -> str:
    """A strip of pictures of the method on the CNN: image, attacked image, prediction before and after."""
    base = summaries(method, out)[0].parent / "pictures"
    index = json.loads((base / "INDEX.json").read_text()) if (base / "INDEX.json").exists() else {"images": []}
    if not index["images"]:
        return ""
    entry = index["images"][0]
    made = next(a for a in reversed(entry["attacks"]) if not a["spec"].startswith("noise"))
    tiles = [
        Tile(Image.open(base / entry["clean"]), "image"),
        Tile(Image.open(base / made["adversarial"]), "attacked"),
        Tile(Image.open(base / entry["clean_prediction"]), entry.get("class", "prediction"), near=True),
        Tile(Image.open(base / made["prediction"]), made.get("class", "prediction, attacked"), near=True),
    ]
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = f"{folder(method, out).name}.webp"
    title = f"{method.name}: {made['spec']}".replace("∞", "inf")  # the font has no such letter
    sheet([tiles], title, [], PICTURES / name, width=240)
    return name


if __name__ == "__main__":
    main()
