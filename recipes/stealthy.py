"""Generators for the attack `stealthy`: one network a kind, trained against a frozen victim.

Loss (Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732, eq. 6 of the survey, reconstructed): cross-entropy of the
victim on what the generator makes, towards the goal map, kept pixels weighing `keep`; plus `auxiliary` times the
cross-entropy of a second head of the generator towards the victim's clean prediction, which is dropped afterwards.
Every draw is a function of (seed, step), so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustseg.attacks.generator import Generator
from robustseg.data import load_data
from robustseg.defenses.training.checkpoint import cut_curve, save
from robustseg.errors import UserError
from robustseg.objectives.goals import displaced, embedded, hide_nearest
from robustseg.objectives.semantic import stealthy
from robustseg.ops.silhouette import person
from robustseg.tasks.semantic import dense
from robustseg.types import SemanticTarget, View

FIRST = 4.0  # times the usual first weights of the last layer: a perturbation that the victim notices from the start
LEAST = 20  # pixels of the class in a picture worth training on


@dataclass(frozen=True)
class Plan:
    """One training. `kind`: vanish, embed or displace; `radius`: the largest change of a pixel."""

    kind: str
    victim: str = "zoo:street-segformer"
    moved: str = "person"
    radius: float = 16 / 255
    keep: float = 0.05
    auxiliary: float = 0.01
    width: int = 16
    steps: int = 4000
    batch: int = 4
    rate: float = 4e-3
    warmup: int = 20
    size: tuple[int, int] = (64, 128)
    windows: int = 4  # cut from every scene at its own scale, and as many at half of it
    held_out: int = 16  # scenes
    shift: tuple[int, int] = (8, 24)  # pixels, to either side
    heights: tuple[float, float] = (0.35, 0.95)
    start: str = ""  # another plan, whose weights are the first ones
    seed: int = 0

    @property
    def name(self) -> str:
        """That of the folder."""
        return f"stealthy-{self.kind}"


BOTH = "stealthy-displace"  # takes a class away and puts it elsewhere: a start for what does one of the two
PLANS = {
    plan.name: plan
    for plan in (Plan("displace"), Plan("vanish", start=BOTH, steps=3000), Plan("embed", start=BOTH, steps=1000))
}


@dataclass(frozen=True)
class Pool:
    """Pictures `(N,3,h,w)` in [0,1] with what the victim says of them, `(N,h,w)`; of those held out, too."""

    images: Tensor
    labels: Tensor
    held_images: Tensor
    held_labels: Tensor


def pool(plan: Plan, ref: str, victim: Any) -> Pool:
    """Windows of every scene at its own scale and at half of it; those in which there is something to do."""
    moved, size = victim.spec.classes.index(plan.moved), plan.size
    whole = load_data(ref)
    half = load_data(ref, resize=(whole[0].image.shape[-2] // 2, whole[0].image.shape[-1] // 2))
    parts: list[list[Tensor]] = [[], []]
    for i in range(len(whole)):
        g = torch.Generator().manual_seed(plan.seed * 1_000_003 + i)
        for image in (whole[i].image, half[i].image):
            for _ in range(plan.windows):
                top, left = (int(torch.randint(0, n - s + 1, (), generator=g)) for n, s in zip(image.shape[1:], size))
                window = image[:, top : top + size[0], left : left + size[1]]
                mirrored = bool(torch.rand((), generator=g) < 0.5)
                parts[i >= len(whole) - plan.held_out].append(window.flip(-1) if mirrored else window)
    made: list[Tensor] = []
    for pictures in parts:
        images = torch.stack(pictures)
        with torch.no_grad():
            labels = torch.cat([dense(victim(x), size).scores.argmax(1) for x in images.split(8)])
        keep = torch.ones(len(images), dtype=torch.bool)
        if plan.kind != "embed":
            keep = ((labels == moved).flatten(1).sum(1) >= LEAST).cpu()
        made += [images[keep], labels[keep]]
    return Pool(*made)


def goals(plan: Plan, labels: Tensor, moved: int, generator: torch.Generator) -> Tensor:
    """What the victim shall say instead of `labels (B,h,w)`."""
    if plan.kind == "vanish":
        return hide_nearest(labels, moved)[0]
    if plan.kind == "displace":
        low, high = plan.shift
        way = int(torch.randint(low, high + 1, (), generator=generator))
        return displaced(labels, moved, way if torch.rand((), generator=generator) < 0.5 else -way, 0)
    low, high = plan.heights
    masks = []
    for _ in labels:
        height = low + (high - low) * float(torch.rand((), generator=generator))
        masks.append(person(plan.size, height, generator=generator))
    return embedded(labels, moved, torch.stack(masks))


def cue(labels: Tensor, goal: Tensor, moved: int) -> Tensor:
    """1 where the class shall appear, -1 where it shall go: `(B,1,h,w)`."""
    sign = torch.where(goal == moved, 1.0, -1.0)
    return torch.where(goal != labels, sign, 0.0).unsqueeze(1)


def losses(
    plan: Plan, made: Generator, head: nn.Module, victim: Any, images: Tensor, labels: Tensor, goal: Tensor, moved: int
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and what it says of success."""
    wanted = cue(labels, goal, moved)
    features = made.features(images, wanted)
    theta = made.radius * made.out(features).tanh()
    x = (images + theta).clamp(0, 1)
    output, target = dense(victim(x), plan.size), SemanticTarget(goal)
    attack = stealthy(plan.keep)
    view = View(images, x, theta, output)
    state = attack.init(view, target, {"reference": labels})
    terms, _ = attack.value(view, target, state, 0.0)
    value = -terms["goal"].mean() + plan.auxiliary * F.cross_entropy(head(features), labels)
    with torch.no_grad():
        said, aimed = output.scores.argmax(1), state["aimed"]
        hit = ((said == goal) & aimed).sum() / aimed.sum().clamp_min(1)
        kept = ((said == labels) & ~aimed).sum() / (~aimed).sum()
    return value, {"loss": float(value.detach()), "success": float(hit), "kept": float(kept)}


def train(
    plan: Plan, data: Pool, victim: Any, folder: Path, *, minutes: float = float("inf"), stop_at: int | None = None,
    save_every: float = 30.0, report: Callable[[dict], None] = lambda row: None,
) -> tuple[Generator, int, float]:  # fmt: skip
    """Train until the last step, `stop_at` or `minutes`: the generator, the steps done, CPU seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    made = Generator(data.images.shape[1], plan.width, plan.radius)
    with torch.no_grad():
        made.out.weight.mul_(FIRST)
    head = nn.ConvTranspose2d(2 * plan.width, len(victim.spec.classes), 4, 2, 1)
    moved = victim.spec.classes.index(plan.moved)
    optimiser = torch.optim.Adam([*made.parameters(), *head.parameters()], lr=plan.rate)
    step, spent, path = 0, 0.0, folder / "state.pt"
    first = folder.parent / plan.start / "state.pt"
    if plan.start and not path.exists():
        if not first.exists():
            raise UserError(f"{plan.name} starts from {plan.start}, and {first} is not there; train that one first")
        state = torch.load(first, weights_only=True)
        made.load_state_dict(state["made"])
        head.load_state_dict(state["head"])
    if path.exists():
        state = torch.load(path, weights_only=True)
        for part, name in ((made, "made"), (head, "head"), (optimiser, "optimiser")):
            part.load_state_dict(state[name])
        step, spent = state["step"], state["cpu_s"]
        cut_curve(folder / "curve.jsonl", step)
    cpu0, wall0, saved = time.process_time() - spent, time.monotonic(), time.monotonic()
    end = plan.steps if stop_at is None else min(stop_at, plan.steps)

    def checkpoint() -> None:
        parts = {"made": made.state_dict(), "head": head.state_dict(), "optimiser": optimiser.state_dict()}
        save(path, parts | {"step": step, "cpu_s": time.process_time() - cpu0})

    def log(row: dict) -> None:
        row = {"step": step, "cpu_s": round(time.process_time() - cpu0, 1)} | {k: round(v, 4) for k, v in row.items()}
        with open(folder / "curve.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        report(row)

    while step < end and time.monotonic() - wall0 < minutes * 60:
        g = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        at = torch.randint(0, len(data.images), (plan.batch,), generator=g)
        labels = data.labels[at]
        goal = goals(plan, labels, moved, g)
        for group in optimiser.param_groups:
            warm = min((step + 1) / plan.warmup, 1.0)
            group["lr"] = plan.rate * warm * (1 - step / plan.steps) ** 0.75
        value, row = losses(plan, made, head, victim, data.images[at], labels, goal, moved)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_([*made.parameters(), *head.parameters()], 1.0)
        optimiser.step()
        step += 1
        if step % 20 == 0 or step == end:
            log(row)
        if step % 200 == 0 or step == end:
            log(held_out(plan, made, head, victim, data, moved))
        if time.monotonic() - saved > save_every:
            checkpoint()
            saved = time.monotonic()
    checkpoint()
    return made, step, time.process_time() - cpu0


@torch.no_grad()
def held_out(plan: Plan, made: Generator, head: nn.Module, victim: Any, data: Pool, moved: int) -> dict[str, float]:
    """Means over pictures that were not trained on."""
    rows = []
    for i in range(len(data.held_images)):
        images, labels = data.held_images[i : i + 1], data.held_labels[i : i + 1]
        goal = goals(plan, labels, moved, torch.Generator().manual_seed(i))
        rows.append(losses(plan, made, head, victim, images, labels, goal, moved)[1])
    return {f"val_{name}": sum(r[name] for r in rows) / max(len(rows), 1) for name in ("success", "kept")}
