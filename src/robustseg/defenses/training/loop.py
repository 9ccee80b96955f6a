"""The training loop: every draw is a function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustseg.defenses.training.checkpoint import append, cut_curve, save
from robustseg.defenses.training.processes import Alone, Several
from robustseg.defenses.training.schedule import average, learning_rate, parameter_groups, step_seed
from robustseg.errors import UserError

__all__ = ["Plan", "train"]

ALONE = Alone()


@dataclass(frozen=True)
class Plan:
    """How the weights move: AdamW with warm-up and polynomial decay, clipped gradients, a running average."""

    steps: int
    lr: float
    weight_decay: float
    warmup: int
    poly: float
    clip: float
    ema: float
    seed: int


def train(
    network: nn.Module,
    losses: Callable[[nn.Module, int], Iterable[Tensor]],
    plan: Plan,
    folder: Path,
    *,
    processes: Alone | Several = ALONE,
    minutes: float = float("inf"),
    stop_at: int | None = None,
    save_every: float = 60.0,
    validate: Callable[[nn.Module], dict] | None = None,
    validate_every: int = 200,
    report: Callable[[dict], None] = lambda row: None,
    more: Callable[[], dict] = dict,
    log_every: int = 20,
    identity: str = "",
) -> tuple[nn.Module, int]:
    """Train until the last step, ``stop_at`` or ``minutes``; returns the averaged network and the steps done.

    ``losses(network, step)``: scalars whose gradients are added up, one after the other, so that only one graph is in
    memory; torch's global generator was seeded for the step. ``folder/state.pt`` is resumed where it exists, and
    refused where it was written under another ``identity``; ``folder/curve.jsonl`` has a line every ``log_every``
    steps, with what ``more()`` adds, and one for each ``validate(averaged network)``. Raises UserError where the loss
    is no number any more.
    """
    first = processes.rank == 0
    folder.mkdir(parents=True, exist_ok=True)
    network.train()
    ema = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(parameter_groups(network, plan.weight_decay), lr=plan.lr, fused=True)
    step, spent, curve = 0, 0.0, folder / "curve.jsonl"
    if (folder / "state.pt").exists():
        device = next(network.parameters()).device
        state = torch.load(folder / "state.pt", weights_only=True, map_location=device)
        if state.get("identity", identity) != identity:
            raise UserError(
                f"{folder / 'state.pt'} belongs to another recipe; go on with that one, or take another --out"
            )
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["cpu_s"]
    if first:
        cut_curve(curve, step)
    processes.wait()
    shared = processes.share(network)
    cpu0, wall0, saved = time.process_time() - spent, time.monotonic(), time.monotonic()
    end = plan.steps if stop_at is None else min(stop_at, plan.steps)

    def checkpoint() -> None:
        if first:
            state = {"network": network.state_dict(), "ema": ema.state_dict(), "optimiser": optimiser.state_dict()}
            at = {"step": step, "cpu_s": time.process_time() - cpu0, "identity": identity}
            save(folder / "state.pt", state | at)

    def log(row: dict) -> None:
        row = {"step": step, "cpu_s": round(time.process_time() - cpu0, 1)} | row
        append(curve, row)
        report(row)

    while step < end and not processes.any(time.monotonic() - wall0 >= minutes * 60):
        torch.manual_seed(step_seed(plan.seed, step))  # dropout
        rate = learning_rate(step, plan.steps, lr=plan.lr, warmup=plan.warmup, poly=plan.poly)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        total = torch.zeros(())
        for value in losses(shared, step):
            processes.backward(value)
            total = total.to(value.device) + value.detach()
        loss = total.item()
        if not math.isfinite(loss):  # before it reaches the weights
            raise UserError(f"the loss is {loss} at step {step}: lower lr, or clip more; the last checkpoint stays")
        torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        optimiser.step()
        step += 1
        average(ema, network, plan.ema, step)
        if first and (step % log_every == 0 or step == end):
            log({"loss": round(loss, 4), "lr": round(rate, 7)} | more())
        if validate is not None and first and (step % validate_every == 0 or step == end):
            log(validate(ema))
        if time.monotonic() - saved > save_every:
            checkpoint()
            saved = time.monotonic()
    checkpoint()
    processes.wait()
    return ema, step
