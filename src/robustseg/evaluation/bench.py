"""What an attack costs beyond the network itself: its time over that of the same forwards and backwards, run bare.

Bare means: the same model, its output brought to label size, the mean cross-entropy, ``autograd.grad`` to the image,
parameters frozen; for attacks on segments the output as it is, and the plainest loss on all of it. Attack and bare
blocks alternate in one process (B A₁ B A₂ … B), every attack is set against the mean of its two neighbours, and the
median over rounds is reported with its quartiles: what a busy machine does to one block it does to the next. CPU
seconds are robust to other people's processes; wall seconds are what a user waits for.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.catalog import Artefact, Attack, attack, outputs, prices
from robustseg.errors import UserError
from robustseg.evaluation.matching import Mapped
from robustseg.ops import pixels as px
from robustseg.ops.seeds import generator
from robustseg.ops.size import label_size
from robustseg.ops.state import frozen
from robustseg.tasks import truth
from robustseg.types import DataSet, DenseOutput, Model, RegionOutput, Sample, SemanticTarget

__all__ = ["ATTACKS", "bench", "machine", "render", "spread"]

ATTACKS = ("pgd", "segpgd", "cospgd", "apgd")
WARM_UP = 2  # bare steps before anything counts: allocator, thread pools, convolution plans


@dataclass(frozen=True)
class Span:
    """Seconds of one block: on the clock of the wall, and of CPU time of this process."""

    wall: float
    cpu: float


def bench(
    model: Model,
    attacks: Sequence[str | Attack] = ATTACKS,
    *,
    data: DataSet | None = None,
    size: tuple[int, int] = (256, 512),
    batch: int = 1,
    rounds: int = 7,
    steps: int | None = 5,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``attack time ÷ (backwards × bare step + other forwards × bare forward)`` for every attack.

    ``data``: its first ``batch`` images (of one size) are attacked; without, noise of ``size = (H,W)``: the cost does
    not depend on what is seen. ``steps`` replaces every attack's own number (None: kept); few steps are the stricter
    test, since what an attack does once weighs more. Everything runs with ``early_stop=False``. Returns a JSON-able
    dict, see `render`. Attacks that must be fitted get equal class counts or prices, which cost what any others do.
    Raises UserError for images without labels or of several sizes, and for attacks on pixels and on segments at once.
    """
    runs = [_prepared(a, steps, len(model.spec.classes)) for a in attacks]
    looks = {outputs.view(run.entry, model) for run in runs}
    if len(looks) > 1:
        raise UserError("bench: attacks on pixels and on segments have different bare steps; measure them in two calls")
    (look,) = looks
    images, target = _of(data, batch, model) if data is not None else _noise(batch, size, model, seed)
    device = next((p.device for p in model.module.parameters()), images.device)
    images, target = images.to(device), target.to(device)
    bare_steps = partial(_bare, outputs.forward(model, look, (images.shape[-2], images.shape[-1])), images, target)
    ids = [f"bench/{i}" for i in range(len(images))]
    say = progress or (lambda text: None)
    length = max(1, round(mean(max(run.budget[1], 1) for run in runs)))
    bare: list[tuple[Span, Span]] = []  # per block: one step (forward and backward), one forward alone
    ratios: list[dict[str, list[float]]] = [{"wall": [], "cpu": []} for _ in runs]
    spans: list[list[Span]] = [[] for _ in runs]
    results: list[Any] = [None] * len(runs)

    def go(run: Attack) -> Any:
        return run(model, images, target, ids=ids, seed=seed, early_stop=False)

    say("warming up")
    with frozen(model.module):
        bare_steps(WARM_UP)
    for run in runs:
        go(run)
    for r in range(rounds):
        order = [(i + r) % len(runs) for i in range(len(runs))]
        with frozen(model.module):
            before = bare_steps(length)
        bare.append(before)
        for i in order:
            say(f"round {r + 1} of {rounds}: {runs[i].spec}")
            span, results[i] = timed(lambda i=i: go(runs[i]), device)
            with frozen(model.module):
                after = bare_steps(length)
            bare.append(after)
            spans[i].append(span)
            forwards, backwards = _spent(results[i])
            for clock in ("wall", "cpu"):
                ratios[i][clock].append(getattr(span, clock) / _expected(before, after, clock, forwards, backwards))
            before = after
    return {
        "model": model.spec.ref,
        "classes": len(model.spec.classes),
        "size": list(images.shape[-2:]),
        "batch": len(images),
        "dtype": str(images.dtype).removeprefix("torch."),
        "device": device_in_words(device),
        "rounds": rounds,
        "bare": {
            "forward": {c: spread([1e3 * getattr(b[1], c) for b in bare]) for c in ("wall", "cpu")},
            "step": {c: spread([1e3 * getattr(b[0], c) for b in bare]) for c in ("wall", "cpu")},
        },
        "attacks": [
            {
                "spec": run.spec,
                "forwards": _spent(result)[0],
                "backwards": _spent(result)[1],
                "ratio": {c: spread(ratio[c]) for c in ("wall", "cpu")},
                "seconds_per_image": {c: spread([getattr(s, c) / len(images) for s in mine]) for c in ("wall", "cpu")},
            }
            for run, result, ratio, mine in zip(runs, results, ratios, spans)
        ],
        "machine": machine(),
    }


def render(result: dict[str, Any]) -> str:
    """The measurement as a plain table, one line an attack."""
    H, W = result["size"]
    bare = result["bare"]
    lines = [
        f"{result['model']}: {result['classes']} classes, {result['batch']} x {H}x{W}, {result['dtype']}, "
        f"{result['device']}, {result['machine']['threads']} thread(s), {result['rounds']} rounds",
        f"bare forward {bare['forward']['wall']['median']:.2f} ms, forward and backward "
        f"{bare['step']['wall']['median']:.2f} ms",
        "",
        f"{'attack':<34} {'forwards':>8} {'backwards':>9} {'s/image':>8} {'time / bare':>20} {'CPU / bare':>20}",
    ]
    for row in result["attacks"]:
        wall, cpu = (_interval(row["ratio"][c]) for c in ("wall", "cpu"))
        seconds = row["seconds_per_image"]["wall"]["median"]
        lines.append(
            f"{row['spec']:<34} {row['forwards']:>8} {row['backwards']:>9} {seconds:>8.2f} {wall:>20} {cpu:>20}"
        )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles.

    >>> spread([3.0, 1.0, 2.0])
    {'median': 2.0, 'q1': 1.5, 'q3': 2.5}
    """
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return {"median": median(values), "q1": low, "q3": high}


def machine() -> dict[str, Any]:
    """What ran, in words and figures; no names of hosts or people, no paths."""
    import os

    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": [round(v, 1) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def device_in_words(device: torch.device) -> str:
    """``cpu``, or the name of the accelerator."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def timed(call: Callable[[], Any], device: torch.device) -> tuple[Span, Any]:
    """Run and time, waiting for the device before and after."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    _wait(device)
    return Span(time.perf_counter() - wall, time.process_time() - cpu), value


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _bare(forward: Any, images: Tensor, target: SemanticTarget, steps: int) -> tuple[Span, Span]:
    """One step (forward and backward) and one forward alone, each as the mean over ``steps``."""

    def loss(x: Tensor) -> Tensor:
        output = forward(x, target, {})
        if isinstance(output, DenseOutput):
            return F.cross_entropy(px.logits(output), target.labels, ignore_index=target.ignore)
        parts = [output.class_logits, output.mask_logits]
        if isinstance(output, RegionOutput):
            parts += [output.boxes, output.objectness]
        return sum((p.mean() for p in parts), torch.zeros((), device=x.device))

    def pairs() -> None:
        for _ in range(steps):
            x = images.detach().requires_grad_()
            torch.autograd.grad(loss(x), x)

    def alone() -> None:
        with torch.no_grad():
            for _ in range(steps):
                loss(images)

    both, forward = (timed(work, images.device)[0] for work in (pairs, alone))
    return _over(both, steps), _over(forward, steps)


def _over(span: Span, count: int) -> Span:
    return Span(span.wall / count, span.cpu / count)


def _expected(before: tuple[Span, Span], after: tuple[Span, Span], clock: str, forwards: int, backwards: int) -> float:
    """Bare seconds of the same work. A forward that no backward follows is counted without its graph."""
    step, forward = (mean(getattr(b[k], clock) for b in (before, after)) for k in (0, 1))
    return backwards * step + (forwards - backwards) * forward


def _spent(result: Any) -> tuple[int, int]:
    """Forwards and backwards of the batch: without early stopping every image has the same."""
    return int(result.forwards.max()), int(result.backwards.max())


def _prepared(spec: str | Attack, steps: int | None, classes: int) -> Attack:
    run = attack(spec)
    if run.needs_fit and run.artefact is None:  # any class counts, and any prices, cost the same
        counts = Artefact("class-pixels", {"class_pixels": torch.ones(classes)}, "equal counts")
        if run.entry.shared:
            raise UserError(
                f"bench: {run.name} takes no gradient on an image; its fit costs what bim does, image by image"
            )
        run = run.with_artefact(prices.uniform(classes) if run.fit_name == prices.KIND else counts)
    if steps is None or "steps" in run.given or run.entry.steps in (0, 1):
        return run
    return attack(run, steps=steps)


def _of(data: DataSet, batch: int, model: Model) -> tuple[Tensor, SemanticTarget]:
    seen = data if isinstance(data, Mapped) else Mapped.of(data, model.spec)
    samples = [seen[i] for i in range(min(batch, len(seen)))]
    if any(s.labels is None or s.image.shape != samples[0].image.shape for s in samples):
        raise UserError("bench: the first images need labels and one size; take a batch of 1")
    return torch.stack([s.image for s in samples]), _target(samples, model, seen.countable, seen.ignore)


def _noise(batch: int, size: tuple[int, int], model: Model, seed: int) -> tuple[Tensor, SemanticTarget]:
    draw, classes = generator(seed, "bench"), len(model.spec.classes)
    images = torch.rand(batch, 3, *size, generator=draw)
    labels = torch.randint(0, classes, (batch, *label_size(model.spec.task, size)), generator=draw)
    samples = [Sample(str(i), x, y) for i, (x, y) in enumerate(zip(images, labels))]
    return images, _target(samples, model, [False] * classes, 255)


def _target(samples: Sequence[Sample], model: Model, things: Sequence[bool], ignore: int) -> SemanticTarget:
    if outputs.kind(model) != "dense":
        return truth.target(samples, things, ignore, model.spec.prompt)
    return SemanticTarget(torch.stack([s.labels for s in samples if s.labels is not None]), ignore)


def _interval(s: dict[str, float]) -> str:
    return f"{s['median']:.3f} [{s['q1']:.3f}, {s['q3']:.3f}]"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
