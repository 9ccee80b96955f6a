"""`robustseg train`: from a recipe to a folder with model, card, curve and checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustseg.catalog import Attack
from robustseg.catalog import attack as named
from robustseg.defenses.training import card, export
from robustseg.defenses.training.classes import class_weights, counts, occurrence
from robustseg.defenses.training.curve import plot_curve, read_curve
from robustseg.defenses.training.data import Pool, opened, target_of
from robustseg.defenses.training.loop import Plan, train
from robustseg.defenses.training.masking import cautions, masking_report
from robustseg.defenses.training.measure import held_out, scores
from robustseg.defenses.training.methods import CLEAN, Method, attacks_of
from robustseg.defenses.training.processes import Several, started
from robustseg.defenses.training.recipe import Recipe, read
from robustseg.defenses.training.start import begin
from robustseg.defenses.training.steps import Steps
from robustseg.errors import UserError
from robustseg.models import load_model
from robustseg.models.base import Adapter

__all__ = ["train_recipe"]

CPU = torch.device("cpu")


def train_recipe(
    path: Path,
    *,
    out: Path,
    changes: Mapping[str, str] | None = None,
    resume: bool = False,
    minutes: float = float("inf"),
    device: torch.device = CPU,
    progress: Callable[[float, float, str], None] = lambda done, total, text: None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Train as a recipe says, then write the model with its card into ``out``.

    Stops after ``minutes``; ``resume`` goes on from the last checkpoint, and on one thread ends where an uninterrupted
    training ends, bit for bit. Returns folder, reference, steps done and scores. Raises UserError for a recipe that
    cannot be carried out, and where ``out`` holds a checkpoint that nobody asked to resume.
    """
    recipe = read(path, changes)
    attacks, judge = attacks_of(recipe), _judge(recipe)
    state = out / "state.pt"
    if state.exists() and not resume:
        raise UserError(f"{state} exists; add --resume to go on with it, or delete it to start again")
    processes, place = started(device), device
    if isinstance(processes, Several):
        place = processes.accelerator.device
    if recipe.batch % (recipe.accumulate * processes.count):
        raise UserError(f"batch = {recipe.batch} cannot be shared by {processes.count} processes in equal parts")
    model = begin(recipe, place)
    train_set, held = opened(recipe, model.spec)
    began = time.monotonic()

    def validate(network: nn.Module) -> dict[str, float]:
        found = _scores(replace(model, module=network), held, recipe.validate_images, place, judge)
        return {f"val_{name}": value for name, value in _short(found).items()}

    def report(row: dict) -> None:
        values = (f"{k.removeprefix('val_')} {v:.3f}" for k, v in row.items() if k not in ("step", "cpu_s", "lr"))
        progress(row["step"], recipe.steps, " ".join(values))

    rows = occurrence(train_set.labels(), len(model.spec.classes)) if recipe.aware else ()
    steps = Steps(recipe, model, _method(recipe, model, train_set), attacks, train_set, rows, processes)
    network, step = train(
        model.module, steps.losses, _plan(recipe), out, processes=processes, minutes=minutes, validate=validate,
        validate_every=recipe.validate_every, report=report, more=steps.told, identity=recipe.identity, log_every=10,
    )  # fmt: skip
    result = {"folder": str(out), "model": export.reference(model, out), "step": step, "steps": recipe.steps}
    if processes.rank == 0:
        progress(step, recipe.steps, "measuring")
        trained = replace(model, module=network)
        export.write(trained, out, half=recipe.half)
        export.describe(trained, out, {})
        image = held[0][0][None].float().to(place) / 255
        verified = export.verify(trained, out, image)
        found = _scores(verified, held, len(held), place, judge)
        rows = read_curve(out / "curve.jsonl") if (out / "curve.jsonl").exists() else []
        masked = _masking(recipe, verified, held, place)
        facts = {
            "step": step, "seconds": round(time.monotonic() - began), "cpu_s": rows[-1]["cpu_s"] if rows else 0.0,
            "images": len(train_set), "held_out": len(held), "processes": processes.count, "command": list(command),
            **({"masking": masked} if masked else {}),
        }  # fmt: skip
        export.describe(trained, out, card.facts(recipe, facts, _short(found)))
        (out / "README.md").write_text(card.card(recipe, trained, facts, found))
        if rows:
            _plot(rows, recipe.name, out / "curve.png")
        result |= {"scores": _short(found), "cautions": masked.get("cautions", [])}
    processes.wait()
    return result


def _plan(r: Recipe) -> Plan:
    return Plan(r.steps, r.lr, r.weight_decay, r.warmup, r.poly, r.clip, r.ema, r.seed)


def _method(recipe: Recipe, model: Adapter, pool: Pool) -> Method:
    weights = teacher = None
    if recipe.balance:
        pixels = counts(pool.labels(), len(model.spec.classes))
        weights = class_weights(pixels, recipe.balance, recipe.heaviest).to(model.device)
    if recipe.distill and recipe.distill.teacher:
        teacher = load_model(recipe.distill.teacher, device=model.device)
        if teacher.spec.classes != model.spec.classes:
            raise UserError(f"the teacher {recipe.distill.teacher} has other classes than {recipe.start}")
    return Method(recipe, weights, teacher)


def _judge(recipe: Recipe) -> Attack | None:
    if recipe.validate_attack == CLEAN:
        return None
    attack = named(recipe.validate_attack)
    if attack.needs_fit or attack.entry.members:
        raise UserError(f"validate_attack = {attack.spec}: take one attack that is not fitted, such as pgd")
    return attack


def _scores(model: Adapter, held: Pool, number: int, device: torch.device, judge: Attack | None) -> dict[str, Any]:
    found = {"clean": scores(model, held, number, device)}
    if judge is not None:
        found["attacked"] = scores(model, held, number, device, judge)
    return found


def _masking(recipe: Recipe, model: Adapter, held: Pool, device: torch.device) -> dict[str, Any]:
    """Of a distilled model: whether it only hides its gradients."""
    if not recipe.distill:
        return {}
    _, pixels, labels = next(held_out(held, 1, device))
    report = masking_report(model, pixels, target_of(pixels, labels, held.things))
    return report | {"cautions": cautions(report)}


def _short(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    names = [n for n in ("PQ", "aAcc", "mIoU") if found["clean"].get(n) is not None]
    short = {n: round(found["clean"][n], 4) for n in names}
    return short | ({f"attacked_{n}": round(found["attacked"][n], 4) for n in names} if "attacked" in found else {})


def _plot(rows: list[dict], title: str, path: Path) -> None:
    try:
        plot_curve(rows, title, path)
    except ImportError:  # curve.jsonl has everything; the picture is an extra (robustseg[train])
        return
