"""The command behind `train_stealthy.py`: options, progress, export."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from recipes.stealthy import PLANS, Plan, pool, train
from recipes.stealthy_card import card
from robustseg.catalog import Artefact
from robustseg.errors import UserError
from robustseg.models import load_model

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT / "src" / "robustseg" / "zoo"


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="recipes/train_stealthy.py", description="Train one generator of the attack stealthy and export it."
    )
    parser.add_argument("name", choices=PLANS)
    parser.add_argument("--data", default=f"street:{ROOT / 'runs' / 'street-train'}", help="scenes to train on")
    parser.add_argument("--victim", help="the model it is trained against; default: the plan's")
    parser.add_argument("--out", type=Path, default=ZOO, help="where the folder NAME goes; default: the zoo")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "runs" / "recipes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="pause after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--steps", type=int, help="shorter or longer than planned")
    return parser.parse_args(arguments)


def export(plan: Plan, made: torch.nn.Module, folder: Path, steps: int, ref: str, seen: int) -> Path:
    """Weights in half precision, the radius exactly, as an artefact; `seen`: clean predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {n: t if n == "radius" else t.half() for n, t in made.state_dict().items()}
    path = folder / "generator.safetensors"
    origin = f"{Path(ref).name}, against {plan.victim}"
    first = PLANS[plan.start] if plan.start else None
    gradients = steps * plan.batch + (first.steps * first.batch if first else 0)
    Artefact(plan.name, weights, origin, gradients + seen, gradients).save(path)
    path.chmod(0o644)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one line that says what is missing."""
    chosen = options(arguments)
    plan = PLANS[chosen.name]
    plan = replace(plan, victim=chosen.victim or plan.victim, steps=chosen.steps or plan.steps)
    state = chosen.checkpoints / plan.name / "state.pt"
    if state.exists() and not chosen.resume:
        print(f"{state} exists; add --resume to go on with it, or delete it to start again")
        return 2
    torch.set_num_threads(1)
    try:
        victim = load_model(plan.victim, device="cpu")
        victim.module.eval().requires_grad_(False)
        data = pool(plan, chosen.data, victim)
        print(f"{plan.name}: {len(data.images)} pictures to train on, {len(data.held_images)} held out", flush=True)

        def report(row: dict) -> None:
            print(" ".join(f"{k} {v}" for k, v in row.items()), flush=True)

        made, step, cpu = train(plan, data, victim, state.parent, minutes=chosen.minutes, report=report)
    except UserError as error:
        print(error)
        return 2
    if step < plan.steps:
        print(f"paused at step {step} of {plan.steps}; the same command with --resume goes on")
        return 0
    path = export(plan, made, chosen.out / plan.name, step, chosen.data, len(data.images))
    text = card(plan, made, step, cpu, data, state.with_name("curve.jsonl"))
    path.with_name("README.md").write_text(text, encoding="utf-8")
    print(f"{path}: {path.stat().st_size // 1000} kB, {step} steps, {cpu / 60:.1f} CPU-minutes")
    return 0
