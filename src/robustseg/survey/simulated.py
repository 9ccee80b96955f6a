"""The right half of figure 4: the patch of a billboard, rendered as the board's own picture, and what a model sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustseg.survey.panels import Tile

__all__ = ["billboard"]


def billboard(
    model: str, out: Path, *, fast: bool, seed: int, progress: Callable[..., None] | None
) -> tuple[list[list[Tile]], dict[str, Any]]:
    """Fits and judges a patch in ``out``; rows of tiles (rendered street, prediction) and the scores behind them.

    Everything shown is rendered, the patch too; nothing is a photograph.
    """
    from robustseg.evaluation.board_patch import FAST, FULL, optimise_board
    from robustseg.evaluation.board_table import evaluate_board
    from robustseg.models import load_model

    plan, network = FAST if fast else FULL, load_model(model)
    about = optimise_board("billboard", network, out, seed=seed, plan=plan, tick=progress)
    found = evaluate_board(out, model=network, plan=plan, tick=progress)
    rows: list[list[Tile]] = []
    names = ("clean", "random", "optimised")
    pictures = {name: Image.open(out / f"rerendered_{name}.png").convert("RGB") for name in names}
    rows.append([Tile(Image.open(out / "patch.png"), "the patch, fitted on another drive")])
    rows[0] += [Tile(pictures[name], f"simulated: the board shows its {_what(name)}") for name in names]
    rows.append([Tile(Image.new("RGB", (16, 1), (255, 255, 255)), "")])
    for name in names:
        score = found["rerendered"][name]
        text = f"prediction; all poses: mIoU {score['mIoU']:.1%}, {score['changed']:.1%} of pixels changed"
        rows[1].append(Tile(_seen(network, pictures[name]), text, near=True))
    told = {
        "simulated": True,
        "scene": about["scene"],
        "backwards": about["backwards"],
        "warp": found["warp"],
        "rerendered": found["rerendered"],
        "difference": found["difference"],
        "run": str(out),
    }
    return rows, told


def _what(name: str) -> str:
    return {"clean": "own poster", "random": "random texture", "optimised": "patch"}[name]


def _seen(network: Any, picture: Image.Image) -> Image.Image:
    """What the model sees in a picture, in colours."""
    import torch

    from robustseg.evaluation.colours import coloured, palette
    from robustseg.evaluation.referee import predict
    from robustseg.ops.state import frozen

    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255)[None]
    with frozen(network.module):
        labels = predict(network, pixels)[0].labels
    assert labels is not None
    return Image.fromarray(coloured(labels[0].numpy(), list(palette(network.spec.classes).values())))
