"""The table of a billboard's patch: every texture warped into a drive that it was not fitted on, and rendered there.

Scores are taken outside the board, beside a harmless, a random and a grey texture: in all, pose by pose with distance
and angle, and by distance from the board in the picture. How far the warp is from the render stands beside them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.evaluation.board_frames import Shoot, Tick, View, loaded, photograph, shoot, street_classes, usable, view
from robustseg.evaluation.board_patch import FAST, Plan
from robustseg.evaluation.board_pictures import animate, shown
from robustseg.evaluation.board_prints import prints, read_board
from robustseg.evaluation.board_scores import Row, gap, observe, scores
from robustseg.evaluation.bootstrap import FEWEST
from robustseg.evaluation.colours import palette
from robustseg.evaluation.files import folder_for, write_json
from robustseg.ops.state import frozen
from robustseg.tasks.truth import things_of
from robustseg.types import Model

__all__ = ["evaluate_board"]

MOVED = {"clean": "own poster", "random": "random texture", "grey": "grey", "optimised": "optimised patch"}


def evaluate_board(
    folder: str | Path,
    *,
    model: str | Model | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    tick: Tick | None = None,
    shoot: Shoot = shoot,
) -> dict[str, Any]:
    """Judge the patch of ``folder`` on a drive that it was not fitted on; writes ``summary.json`` and pictures.

    Returns ``{"warp": {"clean"|"random"|"grey"|"optimised": scores}, "rerendered": {…}, "difference": {"warp": …,
    "rerendered": …}, "poses": […]}``: ``board_scores.scores`` outside the board, and the optimised minus the random
    texture with paired intervals. ``model``: another one than it was fitted on; ``out``: where to write, default the
    folder itself. Raises UserError for a folder without a patch.
    """
    path, tell = Path(folder), tick or (lambda *_: None)
    about, texture = read_board(path)
    size = tuple(plan.size) if plan else tuple(about["size"])
    where: dict[str, Any] = {"poses": plan.held_out if plan else about["held_out"], "size": size, "path": 1}
    network = loaded(model or about["model"], device)
    street_classes(network)
    target = folder_for(out or path)
    textures: dict[str, Tensor | None] = {"clean": None, **prints(texture, about["seed"])}
    tell(0, len(textures), "rendering")
    frames = shoot(about["scene"], about["seed"], **where)
    views = [view(f, (texture.shape[1], texture.shape[2]), network, str(i)) for i, f in enumerate(frames)]
    usable(views)
    images: dict[str, dict[str, list[Tensor]]] = {"warp": {}, "rerendered": {}}
    for done, (name, one) in enumerate(textures.items(), 1):
        if one is None:
            images["warp"][name] = images["rerendered"][name] = [v.image for v in views]
        else:
            on = one[None].to(views[0].image)
            with torch.no_grad():
                images["warp"][name] = [v.lit.show(on) for v in views]
            again = shoot(about["scene"], about["seed"], texture=one.permute(1, 2, 0).numpy(), **where)
            images["rerendered"][name] = [photograph(f).to(v.image) for f, v in zip(again, views, strict=True)]
        tell(done, len(textures), "rendering")
    with frozen(network.module):
        clean = observe(network, images["warp"]["clean"], views, None)
        rows = {
            d: {n: clean if n == "clean" else observe(network, many, views, clean) for n, many in found.items()}
            for d, found in images.items()
        }
    things, classes = things_of(network), network.spec.classes
    summary = {
        "kind": "board",
        "simulated": True,
        **{d: {n: scores(r, things) for n, r in found.items()} for d, found in rows.items()},
        "difference": {d: gap(r["optimised"], r["random"], classes, things) for d, r in rows.items()},
        "fidelity_dB": {n: _psnr(images["warp"][n], images["rerendered"][n], views) for n in textures if n != "clean"},
        "poses": [_pose(i, v, rows, things) for i, v in enumerate(views)],
        "model": network.spec.ref,
        "size": list(size),
        "fast": plan == FAST,
        "palette": palette(classes),
        "folder": str(folder),
        "about": about,
    }
    summary["cautions"] = cautions(summary)
    if target.resolve() != path.resolve() and (path / "patch.png").is_file():
        shutil.copyfile(path / "patch.png", target / "patch.png")
    write_json(target / "summary.json", summary)
    nearest = min(range(len(views)), key=lambda i: views[i].distance)
    for domain, found in images.items():
        for name, many in found.items():
            shown(target / f"{domain}_{name}.png", many[nearest][0])
    animate(target / "drive.webp", {
        MOVED[n]: [(image[0], row["labels"]) for image, row in zip(images["rerendered"][n], rows["rerendered"][n])]
        for n in ("clean", "random", "optimised")
    }, [f"{v.distance:.0f} m" for v in views], list(summary["palette"].values()))  # fmt: skip
    return summary


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What the numbers of a summary say against themselves, a sentence each."""
    pair, poses = found["difference"]["rerendered"], len(found["poses"])
    said = []
    zero = [name for name, ci in pair["ci95"].items() if ci and ci[0] <= 0 <= ci[1]]
    if poses < FEWEST:
        said.append(f"{poses} poses are too few for intervals; {FEWEST} or more have them.")
    if zero:
        said.append(
            f"Rendered again, optimised minus random may be nothing in {', '.join(zero)}: the interval holds zero. "
            "What noise does as well is no attack."
        )
    unseen = sum(p["board_pixels"] == 0 for p in found["poses"])
    if unseen:
        said.append(f"In {unseen} of {poses} poses the board is not to be seen; they count all the same.")
    warped, rendered = (found["difference"][d]["changed"] for d in ("warp", "rerendered"))
    if warped > 0 and rendered < warped / 2:
        said.append(
            "Rendered again the patch loses more than half of what it does as a warp; trust the rendered column."
        )
    said.append("One street, one drive and one fit: intervals are over poses, not over streets, seeds or fits.")
    return said


def _psnr(first: Sequence[Tensor], second: Sequence[Tensor], views: Sequence[View]) -> float | None:
    """Of the board's pixels: how far the warp is from the render, in dB."""
    errors = [((a - b)[..., v.mask]).square().flatten() for a, b, v in zip(first, second, views, strict=True)]
    error = float(torch.cat(errors).mean())
    return None if error == 0 else float(-10 * np.log10(error))


def _pose(i: int, v: View, rows: Mapping[str, Mapping[str, Sequence[Row]]], things: Sequence[bool]) -> dict[str, Any]:
    found = {d: {n: scores([r[i]], things) for n, r in by.items()} for d, by in rows.items()}
    return {"distance_m": round(v.distance, 2), "angle_deg": round(v.angle, 1), "board_pixels": v.pixels, **found}
