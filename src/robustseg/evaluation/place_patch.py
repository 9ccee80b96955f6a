"""A patch for a flat place in ordinary photographs: fitted on some of a folder, judged on the others.

The texture is laid over four corners by their homography. Nobody knows the light of the place: what is pasted is as
bright as it is printed, and `vary=` says how that may be wrong. Without labels the model's own clean prediction is what
is driven away from, and what scores are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from robustseg import catalog
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.patch_fit import Picture, inside, search_patch
from robustseg.catalog.running import side
from robustseg.catalog.vary import variation
from robustseg.errors import UserError
from robustseg.evaluation.board_frames import Tick, loaded
from robustseg.evaluation.board_patch import FULL, Plan
from robustseg.evaluation.files import folder_for, write_json
from robustseg.evaluation.patch_spec import asked_patch, to_learn_from
from robustseg.evaluation.place_pictures import AUTO, Placed, pictures, split
from robustseg.ops.state import frozen
from robustseg.physical import quad
from robustseg.physical.cast import cast, over, seen
from robustseg.physical.export import save_print
from robustseg.physical.hanging import Variation, stretch
from robustseg.types import Model

__all__ = ["optimise_placed"]

OPTIONS = {
    "vary": "scale:0.95-1.05+rotate:2+perspective:0.03+brightness:0.1+contrast:0.2+noise:0.05+blur:0-1",
    "smooth": "0.1",
    "update": "adam",
}


def optimise_placed(
    data: str,
    place: str,
    model: str | Model,
    out: str | Path,
    *,
    seed: int = 0,
    plan: Plan = FULL,
    spec: str = "patch",
    texels: int = 128,
    board: tuple[float, float] | None = None,
    longest: int = 1024,
    class_map: str | Path | None = None,
    device: str = "auto",
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Fit a patch for the places of a folder; writes ``patch.safetensors``, ``patch.png`` and ``optimise.json``.

    ``data``: a reference, labels not needed; ``place``: a file of corners (`data.corners`) or ``auto``; ``board``:
    width and height of the print in metres, whose shape the texture has (default: 1 m wide, in the median shape of the
    marked places, 2:1 for ``auto``); of ``plan`` steps and batch count. Returns what ``optimise.json`` holds, among it
    the corners of every picture and which were held out. Raises UserError for what cannot be made.
    """
    tell, network = tick or (lambda *_: None), loaded(model, device)
    wanted = None if board is None else board[0] / board[1]
    found = pictures(data, place, network, longest=longest, aspect=wanted or 2.0, class_map=class_map, tick=tick)
    if not found:
        raise UserError(f"data {data}: no picture has corners in {place}")
    fit, held_out = split(found, seed)
    aspect = wanted or (2.0 if place == AUTO else median(quad.aspect(p.corners) for p in found))
    size = (max(round(texels / aspect), 1), texels)
    metres = board or (1.0, round(1 / aspect, 4))
    attack = asked_patch(spec, size, plan.steps, plan.batch, OPTIONS, "a marked place")
    labelled = all(p.truth is not None for p in fit)
    if "reference" not in attack.given and not labelled:
        attack = catalog.attack(attack, reference="pred")
    folder = folder_for(out)
    tell(1, 2, "optimising")
    with torch.inference_mode(False), frozen(network.module):
        artefact = _fit(attack, network, fit, size, seed, data)
    artefact.save(folder / "patch.safetensors")
    save_print(artefact.tensors["patch"], folder / "patch.png", metres[0])
    about = {
        "data": data, "place": str(place), "seed": seed, "model": network.spec.ref, "attack": attack.spec,
        "texture": list(size), "board_m": list(metres), "longest": longest, "class_map": class_map and str(class_map),
        "reference": attack.reference, "fit": [p.name for p in fit], "held_out": [p.name for p in held_out],
        "places": {p.name: p.written for p in found}, "on": {p.name: p.on for p in found},
        "steps": int(attack.params["steps"]), "forwards": artefact.forwards, "backwards": artefact.backwards,
    }  # fmt: skip
    write_json(folder / "optimise.json", about)
    tell(2, 2, "done")
    return about


def _fit(
    attack: catalog.Attack, model: Model, found: Sequence[Placed], size: tuple[int, int], seed: int, ref: str
) -> Artefact:
    inner, (forwards, backwards) = inside(attack, model, lambda: to_learn_from(None, model, None, attack), seed)
    forwards += len(found) * int(inner.needs_clean)
    varies = variation(attack.params["vary"])
    shown = [_picture(inner, model, p, size, varies) for p in found]
    shown = [p for p in shown if bool(p.side.applicable[0])]
    if not shown:
        raise UserError(f"{attack.spec} has nothing to do in any picture; choose another class or target")
    return search_patch(attack, model, shown, size, seed, ref, (forwards, backwards))


def _picture(inner: catalog.Attack, model: Model, p: Placed, size: tuple[int, int], varies: Variation) -> Picture:
    one, H = side(inner, model, p.image, p.truth), quad.onto(p.corners, size)
    still = cast(H, size, p.size, device=p.image.device)
    stated, like = still.mask(), p.image.new_empty(1, 3, *size)

    def varied(g: torch.Generator) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        hung = stretch(H, p.size, varies, g, like)
        covered = hung.at.mask()
        return lambda texture: (hung.show(p.image, texture), covered)

    return Picture(one, p.name, varied, lambda texture: (over(p.image, seen(texture, still), still), stated), one.state)
