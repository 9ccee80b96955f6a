"""SAGA's table for classifiers, a CNN and a ViT fooled by one perturbation: makes docs/results/saga.md.

    python examples/saga.py [--model REF --model REF] [--images 33] [--eps 2/255] [--steps 10] [--seeds 0,1,2]

A killed run goes on where it stopped. Any two or more classifiers of the same classes can be given.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

import robustseg as rs
from robustseg.data.labelled import LabelledSet
from robustseg.evaluation.store import read
from robustseg.ops.memory import keep_freed
from robustseg.terminal import bar

MODELS = ("zoo:street-cnn-classifier", "zoo:street-vit-classifier")
JOINT = {  # attack on all models -> what it is
    "pgd:steps={n}": "PGD on the mean loss, random start",
    "bim:steps={n}": "PGD on the mean loss, from the image",
    "saga:rollout=none,steps={n}": "SAGA without rollout: gradients balanced",
    "saga:steps={n}": "SAGA",
}
PAGE = Path("docs/results/saga.md")

TEXT = """# SAGA on classifiers: one perturbation against a CNN and a ViT

After Mahmood, Mahmood, van Dijk, *On the Robustness of Vision Transformers to Adversarial Examples*, ICCV 2021
([how it works here](../several-models.md)). As there, only images that every model labels correctly are attacked, so
that attack success (ASR) is one minus robust accuracy; {images} of `{data}`, as even over the classes as they come,
drawn anew for each seed ({seeds}). L∞ ball of ε = {eps}, steps of ε/4. Per cent, mean over the seeds ± their standard
deviation; one image of one seed is {one:.1f}. "All": images on which every model is wrong at once. Every attack spends
{gradients} gradients an image: {steps} steps on {number} models, or {gradients} on one. {clean}
Made by

```bash
{command}
```

{tables}

{verdict}"""


def main() -> None:
    """Evaluate what is not yet in the stores, then write the page."""
    asked = options()
    keep_freed()
    models = [rs.load_model(ref) for ref in asked.model]
    data: Any = rs.load_data(asked.data)
    right = torch.stack([labelled_right(m, data) for m in models])
    tables, figures = [], {}
    for eps in asked.eps.split(","):
        lines: dict[str, list[list[float]]] = {}
        for seed in map(int, asked.seeds.split(",")):
            chosen = choose(data, right.all(0), asked.images, seed)
            with bar(f"seed {seed}, ε = {eps}") as progress:
                out = asked.out / f"{eps.replace('/', '_')}-{seed}"
                found = of_seed(models, chosen, eps, asked.steps, seed, out, progress)
            for name, values in found.items():
                lines.setdefault(name, []).append(values)
        tables.append(table(eps, asked.model, lines))
        figures[eps] = lines
    count = len(asked.model)
    known = ", ".join(f"`{r}` {100 * float(k.float().mean()):.1f} %" for r, k in zip(asked.model, right, strict=True))
    text = TEXT.format(
        images=asked.images, one=100 / asked.images, data=asked.data, seeds=asked.seeds.replace(",", ", "),
        eps=asked.eps.replace(",", ", "), steps=asked.steps, number=count, gradients=count * asked.steps,
        command=command(asked), tables="\n\n".join(tables),
        clean=f"Accuracy on all {len(data)} images: {known}.",
        verdict="\n".join(verdict(eps, lines) for eps, lines in figures.items()),
    )  # fmt: skip
    asked.page.write_text(text, encoding="utf-8")
    print(asked.page)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append")
    parser.add_argument("--data", default="street-crops:val")
    parser.add_argument("--images", type=int, default=33)
    parser.add_argument("--eps", default="2/255")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/saga"))
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    asked.model = asked.model or list(MODELS)
    return asked


def command(asked: argparse.Namespace) -> str:
    """What makes the page again."""
    models = "" if asked.model == list(MODELS) else "".join(f" --model {ref}" for ref in asked.model)
    return (
        f"python examples/saga.py{models} --data {asked.data} --images {asked.images} --eps {asked.eps} "
        f"--steps {asked.steps} --seeds {asked.seeds}"
    )


def labelled_right(model: Any, data: LabelledSet) -> torch.Tensor:
    """Which images the model labels correctly, ``(N,)`` bool; classes are matched by name."""
    names, found = [c.lower() for c in model.spec.classes], []
    with torch.no_grad():
        for at in range(0, len(data), 32):
            samples = [data[i] for i in range(at, min(at + 32, len(data)))]
            said = model(torch.stack([s.image for s in samples])).scores.flatten(1).argmax(1)
            true = [names.index(data.classes[int(s.labels)].lower()) for s in samples]  # type: ignore[arg-type]
            found.append(said.cpu() == torch.tensor(true))
    return torch.cat(found)


def choose(data: LabelledSet, usable: torch.Tensor, number: int, seed: int) -> LabelledSet:
    """``number`` usable images: one of each class in turn, in an order that the seed draws, until there are enough."""
    order = np.random.default_rng(seed).permutation(len(data))
    classes: dict[int, list[int]] = {}
    for i in order.tolist():
        if usable[i]:
            classes.setdefault(data.pairs[i].label, []).append(i)
    turns = [i for turn in zip_longest(*(classes[c] for c in sorted(classes))) for i in turn if i is not None]
    return replace(data, pairs=tuple(data.pairs[i] for i in sorted(turns[:number])))


def of_seed(
    models: Sequence[Any], data: LabelledSet, eps: str, steps: int, seed: int, out: Path, progress: Any
) -> dict[str, list[float]]:
    """Shares fooled by every attack: of each model, and of all at once."""
    shared: dict[str, Any] = {"eps": eps, "seed": seed, "progress": progress}
    rs.evaluate(list(models), data, [a.format(n=steps) for a in JOINT], out=out / "together", **shared)
    folders = sorted((out / "together" / "members").iterdir())
    lines = {}
    noise = fooled(folders, "noise")
    lines["noise"] = noise
    for source in models:
        attack, parts = f"pgd:steps={steps * len(models)}", []
        for victim in models:
            part = out / f"{source.spec.digest}-{victim.spec.digest}"
            other = {} if victim is source else {"source": source}
            rs.evaluate(victim, data, attack, out=part, **shared, **other)
            parts.append(part)
        lines[f"PGD on {source.spec.ref.removeprefix('zoo:')} alone"] = fooled(parts, "pgd:")
    for attack, name in JOINT.items():
        spec = attack.format(n=steps)
        lines[name] = fooled(folders, spec.partition(":")[0] + ":", "rollout=none" in spec)
    return lines


def fooled(folders: Sequence[Path], begins: str, plain: bool = False) -> list[float]:
    """Of the attack whose spec begins so: the share of images that each model gets wrong, then all of them."""
    wrong = []
    for folder in folders:
        held = read(folder)
        run = held.runs[-1]
        (key,) = [k for s, k in run.attacks.items() if s.startswith(begins) and ("rollout=none" in s) == plain]
        wrong.append([not held.rows[key][i].stats["right"] for i in run.images])  # type: ignore[index]
    each = np.array(wrong)
    return [*each.mean(1).tolist(), float(each.all(0).mean())]


def table(eps: str, refs: Sequence[str], lines: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """A Markdown table: the attacks by line, the models by column."""
    names = [f"`{ref.removeprefix('zoo:')}`" for ref in refs]
    head = [f"attack, ε = {eps}", *(f"ASR {name}" for name in names), "all"]
    rows = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, values in lines.items():
        rows.append(f"| {name} | " + " | ".join(cell(v) for v in zip(*values, strict=True)) + " |")
    return "\n".join(rows)


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds, in per cent.

    >>> cell([0.5, 0.6]), cell([0.5])
    ('55.0 ± 7.1', '50.0')
    """
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def verdict(eps: str, lines: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """SAGA against the plain mean, seed by seed: on the same images, from the same start, with the same gradients."""
    mean_loss, balanced, whole = (list(JOINT.values())[i] for i in (1, 2, 3))

    def against(a: str, b: str) -> str:
        gaps = [100 * (x[-1] - y[-1]) for x, y in zip(lines[a], lines[b], strict=True)]
        return f"{mean(gaps):+.1f} points (by seed: {', '.join(f'{g:+.1f}' for g in gaps)})"

    return (
        f"At ε = {eps}, images that fool all models, SAGA less\n\n"
        f"- PGD on the mean loss, from the image, {against(whole, mean_loss)}\n"
        f"- SAGA without rollout, {against(whole, balanced)}\n"
    )


if __name__ == "__main__":
    main()
