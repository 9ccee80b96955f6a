"""The training loop: every draw is a function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.augment import make_batch, occurrence
from recipes.kinds import objective
from recipes.networks import build
from recipes.recipes import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then polynomial decay to 0 at the last step."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    return recipe.lr * (1 - (step - recipe.warmup) / (recipe.steps - recipe.warmup)) ** recipe.poly


def draw_indices(recipe: Recipe, step: int, count: int) -> list[int]:
    """The images of a step: positions in an endless row of shuffled epochs."""
    first = sum(min(max(step - done, 0), s.steps) * s.batch for s, done in _starts(recipe))
    indices = []
    for position in range(first, first + recipe.stage(step).batch):
        epoch, place = divmod(position, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch))
        indices.append(int(order[place]))
    return indices


def _starts(recipe: Recipe):
    done = 0
    for stage in recipe.stages:
        yield stage, done
        done += stage.steps


def parameter_groups(network: nn.Module, decay: float) -> list[dict]:
    """No weight decay on biases and on the scales of normalisation layers (every one-dimensional parameter)."""
    flat = [p for p in network.parameters() if p.ndim <= 1]
    deep = [p for p in network.parameters() if p.ndim > 1]
    return [{"params": deep, "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}]


def average(ema: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and normalisation statistics, with a shorter memory at the start."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(ema.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, rate)
            else:
                mean.copy_(value)


def save_checkpoint(path: Path, state: dict) -> None:
    """Write beside the target, flush to disk, rename: a kill leaves the old or the new file, never half of one."""
    draft = path.with_suffix(".tmp")
    with open(draft, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def cut_curve(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint, so that repeated steps are not logged twice."""
    if path.exists():
        rows = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["step"] <= step]
        path.write_text("".join(rows))


def train(
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    folder: Path,
    *,
    minutes: float = float("inf"),
    stop_at: int | None = None,
    save_every: float = 60.0,
    validate: Callable[[nn.Module], dict] | None = None,
    validate_every: int = 200,
    report: Callable[[dict], None] = lambda row: None,
    bfloat16: bool = True,
) -> tuple[nn.Module, int]:
    """Train until the last step, `stop_at` or `minutes`; returns the averaged network and the steps done.

    images `(N,3,H,W)` uint8; labels `(N,H,W)` uint8, or int32 codes (label + 256 * object number) where the task has
    objects. `folder/state.pt` is resumed where it exists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # the backward pass of torchvision's region heads writes past its memory where channels are last
    layout = torch.contiguous_format if recipe.library == "maskrcnn" else torch.channels_last
    network = build(recipe).to(memory_format=layout).train()
    ema = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(parameter_groups(network, recipe.weight_decay), lr=recipe.lr, fused=True)
    step, spent = 0, 0.0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=True)
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["cpu_s"]
        cut_curve(folder / "curve.jsonl", step)
    value_of = objective(recipe, labels)
    places = occurrence(labels, len(recipe.classes))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    cpu0, wall0, saved = time.process_time() - spent, time.monotonic(), time.monotonic()
    end = recipe.steps if stop_at is None else min(stop_at, recipe.steps)

    def checkpoint() -> None:
        state = {"network": network.state_dict(), "ema": ema.state_dict(), "optimiser": optimiser.state_dict()}
        save_checkpoint(folder / "state.pt", state | {"step": step, "cpu_s": time.process_time() - cpu0})

    def log(row: dict) -> None:
        row = {"step": step, "cpu_s": round(time.process_time() - cpu0, 1)} | row
        with open(folder / "curve.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        report(row)

    while step < end and time.monotonic() - wall0 < minutes * 60:
        stage, seed = recipe.stage(step), recipe.seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # dropout
        pixels, target = make_batch(
            images, labels, draw_indices(recipe, step, len(images)), crop=stage.crop, zoom=stage.zoom,
            stretch=recipe.stretch, jitter=recipe.jitter, ignore=recipe.ignore, generator=generator, places=places,
            aware=recipe.aware, stain=recipe.stain,
        )  # fmt: skip
        pixels = ((pixels - mean) / std).contiguous(memory_format=layout)
        rate = learning_rate(recipe, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        value = value_of(network, pixels, target, bfloat16)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        step += 1
        average(ema, network, recipe.ema, step)
        if step % 20 == 0 or step == end:
            log({"loss": round(value.item(), 4), "lr": round(rate, 7)})
        if validate is not None and (step % validate_every == 0 or step == end):
            log(validate(ema))
        if time.monotonic() - saved > save_every:
            checkpoint()
            saved = time.monotonic()
    checkpoint()
    return ema, step
