"""Attacks on panoptic quality, CNN and transformer side by side: makes docs/results/panoptic.md.

    python examples/panoptic.py [--images 16] [--eps 1/255,4/255] [--seeds 0,1,2] [--steps 20]

A killed run goes on where it stopped. Where there is a GPU: `--images 48 --eps 0.5/255,1/255,2/255,4/255,8/255`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

import robustseg as rs
from robustseg.evaluation.bootstrap import interval, resamples
from robustseg.models import zoo
from robustseg.ops.memory import keep_freed
from robustseg.report.load import Run, load
from robustseg.report.paired import resampled
from robustseg.terminal import bar

MODELS = {"CNN": "street-mask2former-cnn", "transformer": "street-mask2former"}
ATTACKS = (
    "pq-price", "training-loss", "flood", "squeeze", "mask-break", "mask-split", "class-flip", "phantom",
    "semantic-ce", "pgd", "hide:class=car",
)  # fmt: skip
CONTEST = ("pq-price", "training-loss", "flood")  # the claim rests on these: made for every seed before the others
CARRIED = ("pq-price", "pgd")  # also made on the other model
SHOWN = ("PQ", "SQ", "RQ", "PQ_th", "PQ_st", "AP", "mIoU")
JUDGED = {"semantic": "mIoU", "panoptic": "PQ", "instance": "AP"}
PAGE = Path("docs/results/panoptic.md")

TEXT = """# Panoptic quality under attack: a CNN and a transformer

The two `street-mask2former` models differ in the backbone only ([zoo](../zoo.md)). {images} image(s) of
`street:val`{size}, L∞ balls, {steps} gradients an image for every attack, seeds ({seeds}; where no deviation is
given: the first one only); class prices fitted on `street:fit`. Scores in %, mean over the seeds and, for PQ, its
standard deviation. What was tried, and on which images it was chosen: [notes](panoptic_notes.md). Made by

```bash
{command}
```

{tables}

## The PQ price against the usual attacks

{contest}

## Are transformers harder to attack?

Share of the clean score that is left under the worst of the attacks above for each image (seed {first}), and under
attacks made on the other model (`--source`). Difference: transformer less CNN, with its 95 % interval over images (both
models are resampled together). This is one pair of small networks trained from scratch; the transformer is also the
less accurate of the two on clean images.

{verdict}
"""


def main() -> None:
    """Evaluate what is not yet in the store, then write the page."""
    chosen = options()
    keep_freed()
    names = {kind: name for kind, name in MODELS.items() if name in zoo.folders()}
    if not chosen.page:
        attack_all(chosen, names)
    found = {kind: [load(f) for s in chosen.seeds if (f := folder(chosen, name, s)).joinpath("summary.json").exists()]
             for kind, name in names.items()}  # fmt: skip
    PAGE.write_text(page(chosen, found, names), encoding="utf-8")
    print(PAGE)


def attack_all(chosen: argparse.Namespace, names: Mapping[str, str]) -> None:
    """Every run, the ones that the claims rest on first."""
    first, *others = chosen.seeds
    for name in names.values():
        run(chosen, name, first, ATTACKS)
        for source in (n for n in names.values() if n != name):
            run(chosen, name, first, CARRIED, source)
    for attacks in (CONTEST, ATTACKS)[: 1 if chosen.quick else 2]:
        for name in names.values():
            for seed in others:
                run(chosen, name, seed, attacks)


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--eps", type=lambda t: t.split(","), default=["1/255", "4/255"])
    parser.add_argument("--seeds", type=lambda t: [int(s) for s in t.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--resize", help="HEIGHTxWIDTH: four times cheaper at 128x256")
    parser.add_argument(
        "--quick", action="store_true", help="seeds after the first for the attacks of the contest only"
    )
    parser.add_argument("--page", action="store_true", help="write the page of the runs that are there")
    parser.add_argument("--keep", type=int, default=0, help="pictures of so many images; a resumed run attacks again")
    parser.add_argument("--out", type=Path, default=Path("runs/panoptic"))
    return parser.parse_args()


def folder(chosen: argparse.Namespace, name: str, seed: int, source: str | None = None) -> Path:
    """Where a run is kept."""
    return chosen.out / (f"{name}-{seed}" if source is None else f"{name}-from-{source}-{seed}")


def run(chosen: argparse.Namespace, name: str, seed: int, attacks: Any, source: str | None = None) -> dict[str, Any]:
    """One model, one seed, all attacks at one budget."""
    specs = [f"{a}{',' if ':' in a else ':'}steps={chosen.steps}" for a in attacks]
    out = folder(chosen, name, seed, source)
    with bar(f"{out.name}") as progress:
        return rs.evaluate(
            f"zoo:{name}", "street:val", specs, eps=list(chosen.eps), limit=chosen.images, seed=seed, out=out,
            keep=chosen.keep,
            early_stop=False, resize=chosen.resize, source=f"zoo:{source}" if source else None, progress=progress,
        )  # fmt: skip


def page(chosen: argparse.Namespace, found: dict[str, list[Run]], names: dict[str, str]) -> str:
    """The whole text."""
    command = "python examples/panoptic.py"
    usual = (("images", 16), ("eps", ["1/255", "4/255"]), ("seeds", [0, 1, 2]), ("steps", 20), ("resize", None))
    for key, plain in usual:
        value = getattr(chosen, key)
        if value != plain:
            command += f" --{key} " + (",".join(map(str, value)) if isinstance(value, list) else str(value))
    tables = [table(kind, runs, eps) for eps in chosen.eps for kind, runs in found.items()]
    if chosen.quick:
        command += " --quick"
    return TEXT.format(
        images=chosen.images,
        size=f" at {chosen.resize}" if chosen.resize else "",
        steps=chosen.steps,
        seeds="; ".join(f"{kind}: {', '.join(map(str, chosen.seeds[: len(runs)]))}" for kind, runs in found.items()),
        first=chosen.seeds[0],
        command=command,
        tables="\n\n".join(tables),
        contest=contest(chosen.eps, found, dict.fromkeys(found, CONTEST), "PQ"),
        verdict=verdict(chosen, found, names),
    )


def scores(runs: list[Run], spec: str | None, score: str) -> list[float]:
    """A score of every seed, in %; ``spec`` None: the clean one."""
    entries = [r.summary["clean"] if spec is None else r.summary["attacks"].get(spec, {}) for r in runs]
    return [100 * e[score] for e in entries if e.get(score) is not None]


def table(kind: str, runs: list[Run], eps: str, shown: Sequence[str] = SHOWN, leading: str = "PQ") -> str:
    """All attacks of one model at one radius, the lowest ``leading`` score first."""
    specs = [s for s, e in runs[0].summary["attacks"].items() if e["eps"] == eps]
    specs.sort(key=lambda s: mean(scores(runs, s, leading)))
    lines = [f"### {kind}, ε = {eps}", "", f"| attack | {' | '.join(shown)} |", "| --- |" + " ---: |" * len(shown)]
    for spec in [None, *specs]:
        cells = []
        for score in shown:
            values = scores(runs, spec, score)
            spread = f" ± {stdev(values):.1f}" if score == leading and spec and len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "")
        name = "clean" if spec is None else runs[0].summary["attacks"][spec]["name"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contest(
    radii: Sequence[str], found: Mapping[str, list[Run]], attacks: Mapping[str, Sequence[str]], score: str
) -> str:
    """The first of each model's attacks against the others, seed by seed."""
    lines = [
        f"| model | ε | against | difference of {score}, seed by seed | mean |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for kind, runs in found.items():
        first, *others = attacks[kind]
        for eps in radii:
            named = {e["name"]: s for s, e in runs[0].summary["attacks"].items() if e["eps"] == eps}
            ours = scores(runs, named[first], score)
            for other in others:
                gaps = [a - b for a, b in zip(ours, scores(runs, named[other], score), strict=True)]
                each = ", ".join(f"{g:+.1f}" for g in gaps)
                lines.append(f"| {kind} | {eps} | {other} | {each} | {mean(gaps):+.1f} |")
    return "\n".join(lines)


def verdict(chosen: argparse.Namespace, found: dict[str, list[Run]], names: dict[str, str]) -> str:
    """Shares of the clean score that are left, per task and radius, white-box and carried over."""
    if len(found) < 2:
        return "One of the two models is not there yet."
    white = {kind: runs[0] for kind, runs in found.items()}
    carried = {
        kind: load(folder(chosen, name, chosen.seeds[0], next(n for n in names.values() if n != name)))
        for kind, name in names.items()
    }
    lines = ["| attack | ε | task | CNN | transformer | difference |", "| --- | --- | --- | ---: | ---: | ---: |"]
    said: dict[str, list[str]] = {"easier": [], "harder": [], "neither, as far as these images tell": []}
    for label, runs in (("white-box", white), ("carried over", carried)):
        for eps in chosen.eps:
            for task, score in JUDGED.items():
                kept = {kind: share(one, eps, score, label != "white-box") for kind, one in runs.items()}
                gap = kept["transformer"] - kept["CNN"]
                low, high = interval(gap[1:]) or (float("nan"),) * 2
                cells = " | ".join(f"{100 * kept[kind][0]:.0f} %" for kind in ("CNN", "transformer"))
                ends = f"{100 * gap[0]:+.0f} points ({100 * low:+.0f} to {100 * high:+.0f})"
                lines.append(f"| {label} | {eps} | {task}, {score} | {cells} | {ends} |")
                easier, harder, neither = said.values()
                (easier if high < 0 else harder if low > 0 else neither).append(f"{label} {eps} {task}")
    spoken = (f"{word}: {', '.join(cases)}" for word, cases in said.items() if cases)
    return "\n".join([*lines, "", f"**The transformer is** {'; '.join(spoken)}."])


def share(one: Run, eps: str, score: str, carried: bool) -> np.ndarray:
    """Score under the worst attack for each image ÷ clean score, first of all images, then of 1000 resamples.

    The worst attack for an image is the one that leaves the lowest score of that image alone.
    """
    specs = [s for s, e in one.summary["attacks"].items() if e["eps"] == eps and e["name"] != "noise"]
    specs = [s for s in specs if ("source=" in s) == carried]
    images = [r.image for r in one.rows[""]]
    rows = {s: {r.image: r.stats or {} for r in one.rows[s] if r.status == "ok"} for s in specs}
    clean = {r.image: r.stats or {} for r in one.rows[""]}
    classes, alone = one.summary["classes"], np.ones((1, 1))
    worst = []
    for image in images:
        parts = [rows[s][image] for s in specs if image in rows[s]]
        each = [resampled(one, [p], classes, alone, score) for p in parts]
        values = [np.inf if v is None or np.isnan(v[0]) else v[0] for v in each]
        worst.append(parts[int(np.argmin(values))])
    rounds = 200 if score == "AP" else 1000
    weights = np.vstack([np.ones((1, len(images))), resamples(len(images), rounds=rounds)])
    after = resampled(one, worst, classes, weights, score)
    before = resampled(one, [clean[i] for i in images], classes, weights, score)
    assert after is not None
    assert before is not None
    return after / before


if __name__ == "__main__":
    main()
