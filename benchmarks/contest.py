"""One peer against this library in one process: ``python -m benchmarks.contest INDEX``, called by ``peers``."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import segformer_b0
from benchmarks.opponents import OPPONENTS, Opponent
from robustseg.attacks.loop import Problem
from robustseg.catalog import attack, build
from robustseg.evaluation.bench import spread, timed
from robustseg.ops import seeds
from robustseg.ops.state import frozen
from robustseg.types import DenseOutput, SemanticTarget

EPS, STEP = 8 / 255, 2 / 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FromPixels(nn.Module):
    """Normalise, run, bring to the size of the pixels: what every contestant is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.network((x - self.mean) / self.std)
        logits = getattr(out, "logits", out)
        if logits.dim() == 2:
            return logits
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)


def classifier() -> tuple[nn.Module, Tensor, Tensor]:
    """ResNet-18, 32 images of 32x32, 10 classes."""
    from torchvision.models import resnet18

    return _case(resnet18(num_classes=10), (32, 3, 32, 32))


def segmentation() -> tuple[nn.Module, Tensor, Tensor]:
    """SegFormer-B0, one image of 256x512, 19 classes."""
    return _case(segformer_b0(19), (1, 3, 256, 512))


TASKS = {"classifier": (classifier, 20), "segmentation": (segmentation, 6)}


def _case(network: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """The network with its own clean prediction as truth, so that every pixel starts right."""
    module = FromPixels(network).eval()
    images = torch.rand(shape, generator=seeds.generator(0, "contest"))
    with torch.no_grad():
        return module, images, module(images).argmax(1)


def ours(name: str, network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """The catalog's attack through the same loop as ever; a classifier is a segmentation of one pixel."""
    chosen = attack(name, eps=repr(eps), steps=steps, step_size=repr(step))
    flat = y.dim() == 1
    goal = build.objective(chosen.entry, chosen.params, None)
    search = build.search(chosen.entry, chosen.params, goal, *build.judges(chosen.entry, chosen.params, False))

    def forward(images: Tensor, target: object, state: object) -> DenseOutput:
        logits = network(images)
        return DenseOutput(logits[:, :, None, None] if flat else logits)

    target = SemanticTarget(y[:, None, None] if flat else y)
    with frozen(network):
        found = search(
            Problem(forward, x, target, {}, lambda r: [seeds.generator(0, str(i), r) for i in range(len(x))],
                    early_stop=False),
            build.ball(chosen.params), None, 0,
        )  # fmt: skip
    return x + found.theta


def contest(opponent: Opponent, rounds: int) -> dict[str, Any]:
    """Alternate both, ``rounds`` times; then, untimed, count what each spends and what each reaches."""
    make, steps = TASKS[opponent.task]
    network, images, labels = make()
    calls = {
        "ours": lambda: ours(opponent.ours, network, images, labels, EPS, STEP, steps),
        "peer": lambda: opponent.run(network, images, labels, EPS, STEP, steps),
    }
    result: dict[str, Any] = {
        who: {**_count(network, call), **_reached(network, images, labels, call())} for who, call in calls.items()
    }
    spans: dict[str, list[Any]] = {who: [] for who in calls}
    for r in range(rounds):
        for who in ("ours", "peer") if r % 2 == 0 else ("peer", "ours"):
            spans[who].append(timed(calls[who], images.device)[0])
    for who in calls:
        result[who]["images_per_second"] = spread([len(images) / s.wall for s in spans[who]])
        result[who]["cpu_ms_per_gradient"] = spread([1e3 * s.cpu / result[who]["backwards"] for s in spans[who]])
    for clock in ("wall", "cpu"):
        pairs = zip(spans["peer"], spans["ours"])
        result[f"peer_over_ours_{clock}"] = spread([getattr(p, clock) / getattr(o, clock) for p, o in pairs])
    return {**result, "steps": steps, "batch": len(images), "size": list(images.shape[-2:]), "rounds": rounds}


def memory(opponent: Opponent, who: str) -> float:
    """MiB by which the peak of this process grows when one attack runs, above what a forward alone had taken."""
    make, steps = TASKS[opponent.task]
    network, images, labels = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if who == "ours":
        ours(opponent.ours, network, images, labels, EPS, STEP, min(steps, 5))
    else:
        opponent.run(network, images, labels, EPS, STEP, min(steps, 5))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _count(network: nn.Module, call: Callable[[], Tensor]) -> dict[str, int]:
    """Forwards of the network, and gradients that came back through its output."""
    spent = {"forwards": 0, "backwards": 0}

    def back(gradient: Tensor) -> None:
        spent["backwards"] += 1

    def seen(module: nn.Module, inputs: Any, output: Tensor) -> None:
        spent["forwards"] += 1
        if output.requires_grad:
            output.register_hook(back)

    handle = network.register_forward_hook(seen)
    call()
    handle.remove()
    return spent


def _reached(network: nn.Module, images: Tensor, labels: Tensor, adversarial: Tensor) -> dict[str, float]:
    """Judged alike for all: mean cross-entropy, share of wrong pixels (or images), largest change in 1/255."""
    with torch.no_grad():
        logits = network(adversarial)
        return {
            "cross_entropy": F.cross_entropy(logits, labels).item(),
            "wrong": (logits.argmax(1) != labels).float().mean().item(),
            "linf_255": 255 * (adversarial - images).abs().max().item(),
        }


def main() -> None:
    """One contest, or one contestant's memory."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("index", type=int)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", choices=["ours", "peer"])
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    opponent = OPPONENTS[a.index]
    found = contest(opponent, a.rounds) if a.only is None else {"mib": memory(opponent, a.only)}
    print("\n" + json.dumps({**found, "opponent": {k: v for k, v in vars(replace(opponent)).items() if k != "run"}}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
