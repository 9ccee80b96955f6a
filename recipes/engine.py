"""The training of a zoo recipe: its network, batches and loss in the library's training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.augment import make_batch
from recipes.kinds import objective
from recipes.networks import HEAD, build
from recipes.recipes import Recipe
from robustseg.defenses.training import loop
from robustseg.defenses.training.checkpoint import save
from robustseg.defenses.training.classes import occurrence
from robustseg.defenses.training.schedule import parameter_groups, shuffled, step_seed
from robustseg.errors import UserError


def draw_indices(recipe: Recipe, step: int, count: int) -> list[int]:
    """The images of a step: positions in an endless row of shuffled epochs."""
    first, done = 0, 0
    for stage in recipe.stages:
        first += min(max(step - done, 0), stage.steps) * stage.batch
        done += stage.steps
    return shuffled(recipe.seed, first, recipe.stage(step).batch, count)


def plan(recipe: Recipe) -> loop.Plan:
    """What the loop must know of a recipe."""
    return loop.Plan(
        steps=recipe.steps, lr=recipe.lr, weight_decay=recipe.weight_decay, warmup=recipe.warmup, poly=recipe.poly,
        clip=recipe.clip, ema=recipe.ema, seed=recipe.seed,
    )  # fmt: skip


def begin(recipe: Recipe, weights: Mapping[str, Tensor], step: int, folder: Path) -> None:
    """Write `folder/state.pt` as if so many steps had led to these weights; the optimiser's memory is empty.

    For a schedule that is lengthened after its end, when only what was exported is left. Heads that are not exported
    begin anew. Raises: UserError where the weights are those of another network.
    """
    network = build(recipe)
    lost, foreign = network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    if foreign or any(not name.startswith(HEAD) for name in lost):
        raise UserError(f"these weights are not those of {recipe.name}: {len(lost)} missing, {len(foreign)} unknown")
    state = network.state_dict()
    empty = torch.optim.AdamW(parameter_groups(network, recipe.weight_decay), lr=recipe.lr, fused=True).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    at = {"step": step, "cpu_s": 0.0, "identity": ""}
    save(folder / "state.pt", {"network": state, "ema": state, "optimiser": empty} | at)


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
    # the backward pass of torchvision's region heads writes past its memory where channels are last
    layout = torch.contiguous_format if recipe.library == "maskrcnn" else torch.channels_last
    network = build(recipe).to(memory_format=layout)
    value_of = objective(recipe, labels)
    places = occurrence(labels, len(recipe.classes))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))

    def losses(network: nn.Module, step: int) -> Iterator[Tensor]:
        stage = recipe.stage(step)
        pixels, target = make_batch(
            images, labels, draw_indices(recipe, step, len(images)), crop=stage.crop, zoom=stage.zoom,
            stretch=recipe.stretch, jitter=recipe.jitter, ignore=recipe.ignore,
            generator=torch.Generator().manual_seed(step_seed(recipe.seed, step)), places=places,
            aware=recipe.aware, stain=recipe.stain,
        )  # fmt: skip
        yield value_of(network, ((pixels - mean) / std).contiguous(memory_format=layout), target, bfloat16)

    return loop.train(
        network, losses, plan(recipe), folder, minutes=minutes, stop_at=stop_at, save_every=save_every,
        validate=validate, validate_every=validate_every, report=report,
    )  # fmt: skip
