"""A patch for one billboard, fitted on a drive towards it.

Fitted on the calibrated warp, where a step costs no render; whether that was fair is what ``board_table`` says.
Source: Nesti et al., WACV 2022, arXiv 2108.06179, section on scene-specific attacks; light and occlusion are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg import catalog
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.patch_fit import Picture, inside, search_patch
from robustseg.catalog.running import side
from robustseg.catalog.vary import variation
from robustseg.errors import UserError
from robustseg.evaluation.board_frames import Shoot, Tick, View, loaded, shoot, street_classes, usable, view
from robustseg.evaluation.files import folder_for, write_json
from robustseg.evaluation.patch_spec import asked_patch, to_learn_from
from robustseg.ops.state import frozen
from robustseg.physical.export import save_print
from robustseg.physical.hanging import Variation, printed
from robustseg.types import Model

__all__ = ["FAST", "FULL", "Plan", "optimise_board"]

# few poses are learned by heart; the camera that turns and zooms a little is drawn anew each step and costs no render
SCENE_OPTIONS = {
    "vary": "brightness:0.1+contrast:0.1+noise:0.05",
    "eot": "rotate:1+shift:0.03+scale:0.9-1.15",
    "smooth": "0.1",
    "step_size": "0.1",
    "update": "adam",
}
LEARN = "street:fit"  # other streets, for losses that learn from images beforehand


@dataclass(frozen=True)
class Plan:
    """How much is done: frames of ``size = (H,W)``, poses to fit on and to judge on, steps of ``batch`` poses."""

    size: tuple[int, int]
    poses: int
    held_out: int
    steps: int
    batch: int


FULL = Plan((256, 512), 12, 16, 400, 4)
FAST = Plan((128, 256), 4, 6, 200, 2)


def optimise_board(
    scene: str,
    model: str | Model,
    out: str | Path,
    *,
    seed: int = 0,
    plan: Plan = FULL,
    spec: str = "patch",
    texels: int = 128,
    device: str = "auto",
    tick: Tick | None = None,
    shoot: Shoot = shoot,
) -> dict[str, Any]:
    """Fit a patch for the billboard of a scene; writes ``patch.safetensors``, ``patch.png`` and ``optimise.json``.

    ``spec``: a patch with options (``patch:gamma=dynamic,smooth=0.2``); ``texels``: width of the texture, its height
    follows from the board. Returns what ``optimise.json`` holds. Raises UserError for what cannot be made.
    """
    tell = tick or (lambda *_: None)
    catalog.attack(spec)  # what is misspelt shall be told before anything is rendered
    network = loaded(model, device)
    street_classes(network)
    folder = folder_for(out)
    tell(0, 2, "rendering")
    frames = shoot(scene, seed, poses=plan.poses, size=plan.size, path=0)
    board = frames[0].board
    assert board is not None
    wide, high = board.size
    size = (max(round(texels * high / wide), 1), texels)
    attack = _attack(spec, size, plan)
    tell(1, 2, "optimising")
    views = usable([view(f, size, network, f"{scene}/{seed}/0/{i}") for i, f in enumerate(frames)])
    with torch.inference_mode(False), frozen(network.module):
        artefact = _fit(attack, network, views, size, seed, f"{scene}:{seed}")
    artefact.save(folder / "patch.safetensors")
    save_print(artefact.tensors["patch"], folder / "patch.png", wide)
    about = {
        "scene": scene, "seed": seed, "model": network.spec.ref, "given": spec, "attack": attack.spec,
        "fast": plan == FAST, "texture": list(size), "board_m": [wide, high], "size": list(plan.size),
        "poses": plan.poses, "held_out": plan.held_out, "steps": int(attack.params["steps"]),
        "forwards": artefact.forwards, "backwards": artefact.backwards,
    }  # fmt: skip
    write_json(folder / "optimise.json", about)
    tell(2, 2, "done")
    return about


def _attack(spec: str, size: tuple[int, int], plan: Plan) -> catalog.Attack:
    made = asked_patch(spec, size, plan.steps, plan.batch, SCENE_OPTIONS, "a billboard")
    varies = variation(made.params["vary"])
    if varies.moves or varies.blur != (0.0, 0.0):
        raise UserError(f"{spec}: poses of the camera move a billboard; vary= takes brightness, contrast and noise")
    return made


def _fit(
    attack: catalog.Attack, model: Model, views: Sequence[View], size: tuple[int, int], seed: int, ref: str
) -> Artefact:
    varies = variation(attack.params["vary"])
    frame = (int(views[0].image.shape[-2]), int(views[0].image.shape[-1]))
    inner, (forwards, backwards) = inside(attack, model, lambda: to_learn_from(LEARN, model, frame, attack), seed)
    forwards += len(views) * int(inner.needs_clean)
    shown = [_picture(inner, model, v, size, varies) for v in views]
    shown = [p for p in shown if bool(p.side.applicable[0])]
    if not shown:
        raise UserError(f"{attack.spec} has nothing to do in any pose; choose another class or target")
    return search_patch(attack, model, shown, size, seed, ref, (forwards, backwards))


def _picture(inner: catalog.Attack, model: Model, v: View, size: tuple[int, int], varies: Variation) -> Picture:
    one, like = side(inner, model, v.image, v.target), v.image.new_empty(1, 3, *size)
    covered = v.mask

    def varied(g: torch.Generator) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        made = printed(varies, g, like)
        return lambda texture: (v.lit.show(made.of(texture)), covered)

    return Picture(one, v.name, varied, lambda texture: (v.lit.show(texture), covered), one.state)
