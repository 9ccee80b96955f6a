"""Defensive distillation of a real classifier, and what still sees through it: makes docs/results/distillation.md.

    python examples/distillation.py [--model REF] [--temperature 100] [--steps 200] [--images 50] [--eps 2/255]

Teacher and student start from the zoo's network, its last layer times the temperature, and are trained on the bundled
crops of `street:fit`; a killed training goes on where it stopped. The attacks are made on crops of `street:val` that
both networks, before and after, label correctly.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import robustseg as rs
from robustseg.defenses.training.loop import Plan, train
from robustseg.defenses.training.losses import cross_entropy, soft_cross_entropy
from robustseg.defenses.training.masking import cautions, masking_report
from robustseg.objectives import semantic
from robustseg.ops.memory import keep_freed
from robustseg.terminal import bar
from robustseg.types import DenseOutput, SemanticTarget


def dlr(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """The difference of logits ratio of APGD (Croce and Hein, ICML 2020), as an objective of one's own."""
    return semantic.dlr(output, target, {}, 0.0).flatten(1).sum(1)


ATTACKS = {  # how it is called in the table -> attack, what it follows
    "fgsm": ("fgsm", "cross-entropy, one step"),
    "pgd:steps=20": ("pgd:steps=20", "cross-entropy, 20 steps"),
    "margin:steps=20": ("margin:steps=20", "logit margin, 20 steps"),
    "dlr, steps=20": (dlr, "difference of logits ratio, 20 steps"),
}
FREE = "cw-l2"
PAGE = Path("docs/results/distillation.md")
BATCH = 16


def main() -> None:
    """Train teacher and student, attack both networks, write the page."""
    asked = options()
    keep_freed()
    torch.manual_seed(asked.seed)
    try:
        start = rs.load_model(asked.model)
    except rs.UserError as error:
        raise SystemExit(str(error)) from None
    if start.spec.task != "classification":
        raise SystemExit(f"{asked.model} does {start.spec.task}; take a classifier, such as zoo:street-cnn-classifier")
    fit, val = everything(start, "street-crops:fit"), everything(start, "street-crops:val")
    teacher = trained(None, fit, asked, "teacher")
    student = trained(teacher, fit, asked, "student")
    nets = {"before": start, "distilled": student}
    right = {name: said(m, val[0]).eq(val[1]).flatten() for name, m in (*nets.items(), ("teacher", teacher))}
    both = (right["before"] & right["distilled"]).nonzero().flatten()
    chosen = both[torch.randperm(len(both), generator=torch.Generator().manual_seed(asked.seed))[: asked.images]]
    x, y = val[0][chosen], val[1][chosen]
    rows, found = [], {name: {} for name in nets}
    for called, (attack, follows) in ATTACKS.items():
        for name, m in nets.items():
            found[name][called] = attacked(m, attack, x, y, asked.eps, asked.seed)
        cells = " | ".join(cell(found[n][called], y, nets[n]) for n in nets)
        rows.append(f"| `{called}` | {follows} | {cells} |")
    moved = found["before"]["margin:steps=20"].images
    rows.append(f"| `margin:steps=20` of the network before | carried over | – | {fooled(student, moved, y)} |")
    for name, m in nets.items():
        found[name][FREE] = attacked(m, FREE, x, y, None, asked.seed)
    norms = [(found[n][FREE].images - x).flatten(1).norm(dim=1).tolist() for n in nets]
    rows.append(
        f"| `{FREE}` | logit margin, no ball | "
        + " | ".join(f"{fooled(m, found[n][FREE].images, y)}, median L2 {median(r):.2f}" for (n, m), r in
                     zip(nets.items(), norms, strict=True)) + " |"
    )  # fmt: skip
    reports = {n: masking_report(m, x, SemanticTarget(y)) for n, m in nets.items()}
    asked.page.write_text(text(asked, len(fit[0]), right, nets, val, reports, rows), encoding="utf-8")
    print(asked.page)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="zoo:street-cnn-classifier")
    parser.add_argument("--temperature", type=float, default=100)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--eps", default="2/255")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


def everything(model: Any, ref: str) -> tuple[Tensor, Tensor]:
    """All images ``(N,3,H,W)`` and their labels ``(N,1,1)`` in the model's classes."""
    data: Any = rs.load_data(ref)
    names = [c.lower() for c in model.spec.classes]
    samples = [data[i] for i in range(len(data))]
    labels = [names.index(data.classes[int(s.labels)].lower()) for s in samples]
    return torch.stack([s.image for s in samples]), torch.tensor(labels).view(-1, 1, 1)


def trained(teacher: Any, fit: tuple[Tensor, Tensor], asked: argparse.Namespace, name: str) -> Any:
    """Trained at the temperature from the network named: on hard labels, or on the teacher's answers."""
    model = rs.load_model(asked.model)
    for p in model.module.parameters():
        p.requires_grad_(True)
    head = [m for m in model.module.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():  # at the temperature it answers as the network before at 1
        for p in head.parameters():
            p *= asked.temperature

    def losses(network: nn.Module, step: int) -> Iterable[Tensor]:
        shown = replace(model, module=network)
        at = torch.randint(len(fit[0]), (BATCH,))
        x, y = fit[0][at], SemanticTarget(fit[1][at])
        x = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, x, x.flip(-1))
        if teacher is None:
            yield cross_entropy(shown(x), y, temperature=asked.temperature).mean()
            return
        with torch.no_grad():
            soft = teacher(x)
        yield soft_cross_entropy(shown(x), soft, y, asked.temperature).mean()

    plan = Plan(asked.steps, asked.lr, weight_decay=0.0, warmup=20, poly=0.9, clip=1.0, ema=0.0, seed=asked.seed)
    identity = f"{asked.model} {asked.temperature} {plan}"
    with bar(name, unit="steps") as progress:

        def report(row: dict) -> None:
            progress(row["step"], asked.steps, f"loss {row['loss']:.3f}")

        network, _ = train(model.module, losses, plan, asked.out / name, identity=identity, report=report)
    return replace(model, module=network.eval())


def said(model: Any, images: Tensor) -> Tensor:
    """Predicted labels ``(N,1,1)``."""
    return scores(model, images).argmax(1)


def scores(model: Any, images: Tensor) -> Tensor:
    """Logits ``(N,C,1,1)``."""
    with torch.no_grad():
        return torch.cat([model(part).scores for part in images.split(64)])


def attacked(model: Any, attack: Any, x: Tensor, y: Tensor, eps: str | None, seed: int) -> Any:
    """What the attack makes of the images; what they are called decides its draws, so both networks meet the same."""
    made = rs.attack(attack) if eps is None else rs.attack(attack, eps=eps)
    return made(model, x, y, ids=[str(i) for i in range(len(x))], seed=seed)


def fooled(model: Any, images: Tensor, y: Tensor) -> str:
    """Share of images that the model gets wrong."""
    return f"{100 * float(said(model, images).ne(y).float().mean()):.0f} %"


def cell(result: Any, y: Tensor, model: Any) -> str:
    """Share fooled, and how many images had no gradient to follow."""
    still = int((result.fault == 2).sum())
    return fooled(model, result.images, y) + (f" (no gradient on {still})" if still else "")


def lead(model: Any, images: Tensor) -> float:
    """Median distance of the highest logit from the next."""
    top = scores(model, images).flatten(1).topk(2, 1).values
    return float((top[:, 0] - top[:, 1]).median())


def text(asked: argparse.Namespace, count: int, right: Any, nets: Any, val: Any, reports: Any, rows: Any) -> str:
    """The page."""
    share = {n: f"{100 * float(r.float().mean()):.1f} %" for n, r in right.items()}
    gap = {n: lead(m, val[0]) for n, m in nets.items()}
    masks = "\n".join(
        f"| {label} | " + " | ".join(shown(reports[n][key]) for n in nets) + " |"
        for label, key in (
            ("pixels with a cross-entropy gradient of exactly 0", "zero_ce"),
            ("pixels with a margin gradient of exactly 0", "zero_margin"),
            ("length of the cross-entropy gradient, mean", "norm_ce"),
            ("length of the margin gradient, mean", "norm_margin"),
            ("probability of the answer, mean", "sure"),
        )
    )
    caution = "".join(f"\n> {c}\n" for c in cautions(reports["distilled"]))
    return f"""# Defensive distillation: what seems to fail, and what does not

Papernot et al. (IEEE S&P 2016) train a teacher at a temperature T and a student on its soft labels, and use the student
at 1. Carlini and Wagner (IEEE S&P 2017) showed that this only hides the gradient. Here on a real network:
`{asked.model}`, T = {asked.temperature:g}. Teacher and student begin alike, with its weights and the last layer times
T, so that at temperature T they answer as it does at 1; each has {asked.steps} steps of {BATCH} crops, of the {count}
of `street-crops:fit`. Attacked: {asked.images} crops of `street-crops:val`, drawn by the seed ({asked.seed}) from those
that both networks label correctly; ε = {asked.eps}. Made by

```bash
python examples/distillation.py --model {asked.model} --temperature {asked.temperature:g} --steps {asked.steps} \\
    --images {asked.images} --eps {asked.eps} --seed {asked.seed}
```

| | before | distilled |
|---|---:|---:|
| accuracy on all {len(val[0])} crops | {share["before"]} | {share["distilled"]} |
| lead of the highest logit, median | {gap["before"]:.1f} | {gap["distilled"]:.1f} |

The teacher has {share["teacher"]}. Share of the crops fooled; *no gradient on n*: on so many crops every gradient was
exactly 0 in float32, which `robustseg evaluate` writes down as a failed row, never as robustness.

| attack | what it follows | before | distilled |
|---|---|---:|---:|
{chr(10).join(rows)}

The masking report (`defenses/training/masking.py`) of the same crops says it without an attack:

| | before | distilled |
|---|---:|---:|
{masks}
{caution}"""


def shown(value: float) -> str:
    """Three digits.

    >>> shown(0.98765), shown(1.2e-9)
    ('0.988', '1.2e-09')
    """
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
