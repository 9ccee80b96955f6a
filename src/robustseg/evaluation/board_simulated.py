"""Photographs that nobody took: a rendered board, printed and photographed by formula, as a folder of photographs.

It has the layout of real ones (`data.photos`), so that the whole way of a field test can be walked before there is a
print: gamut of the print, render, a hand that turns, lens, noise, tone curve, JPEG. Each photograph has a hand and
a noise of its own. The table says ``simulated`` and with which numbers, and every score of the folder says so too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.data.photos import BOARDS
from robustseg.errors import UserError
from robustseg.evaluation.board_frames import Shoot, Tick, shoot
from robustseg.evaluation.board_patch import Plan
from robustseg.evaluation.board_prints import prints, read_board
from robustseg.evaluation.files import write_json
from robustseg.ops import seeds, tone, warp
from robustseg.physical import quad
from robustseg.physical.photo import Camera, Gamut
from robustseg.physical.placement import corners_of, plane, project
from robustseg.scenes import Frame

__all__ = ["simulate_photos"]


def simulate_photos(
    folder: str | Path,
    out: str | Path,
    *,
    plan: Plan | None = None,
    places: int | None = None,
    camera: Camera | None = None,
    gamut: Gamut | None = None,
    tick: Tick | None = None,
    shoot: Shoot = shoot,
) -> dict[str, Any]:
    """Photographs of the patch in ``folder`` (made by ``patch optimise``) on the drive that it was not fitted on.

    Writes ``out/BOARD/NN.jpg`` for clean, repeat, random, grey and optimised boards, and ``out/photos.json``, which it
    returns; ``places`` overrides the number of poses of the plan. Places where the board is not wholly in every
    photograph are left out. Raises UserError for a folder without a patch, one that holds real photographs, and
    where no place is left.
    """
    root, tell = Path(out), tick or (lambda *_: None)
    about, texture = read_board(folder)
    _must_be_ours(root)
    camera, gamut = camera or Camera(), gamut or Gamut()
    size = tuple(plan.size) if plan else tuple(about["size"])
    where: dict[str, Any] = {"poses": places or (plan.held_out if plan else about["held_out"]), "size": size, "path": 1}
    made = prints(texture, about["seed"], harmless=True)
    clean = made.pop("clean")
    boards = {"clean": clean, "repeat": clean, **made}
    photos: dict[str, dict[str, Any]] = {}
    shots: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
    frames: Sequence[Frame] = ()
    for n, (board, one) in enumerate(boards.items()):
        tell(n, len(boards), f"rendering {board}")
        if board != "repeat":  # the same light once more; only hand and sensor differ
            shown = gamut.printed(one).permute(1, 2, 0).numpy()
            frames = shoot(about["scene"], about["seed"], texture=shown, **where)
        for k, frame in enumerate(frames):
            g = seeds.generator(about["seed"], f"photo/{board}/{k}")
            shots.setdefault(f"{k:02d}", {})[board] = _shot(frame, camera, g)
    tell(len(boards), len(boards), "writing")
    for name, taken in shots.items():
        board = frames[int(name)].board
        assert board is not None
        try:
            for one, (image, corners) in taken.items():
                quad.checked(corners.tolist(), (int(image.shape[1]), int(image.shape[2])), f"{one}/{name}")
        except UserError:
            continue  # the board leaves the picture there
        frame = frames[int(name)]
        eye = -frame.T_cw[:3, :3].T @ frame.T_cw[:3, 3]
        distance, angle = board.seen_from(eye)
        photos[name] = {"distance_m": round(distance, 2), "angle_deg": round(angle, 1)}
        for one, (image, corners) in taken.items():
            _save(root / one / f"{name}.jpg", image, camera.jpeg)
            photos[f"{one}/{name}"] = {"corners": [[round(v, 2) for v in p] for p in corners.tolist()]}
    if not photos:
        raise UserError(f"{folder}: from no place the whole board is in the picture; choose another scene or seed")
    simulated = {"gamut": asdict(gamut), "camera": asdict(camera), "board": about}
    table = {"simulated": simulated, "photos": photos}
    write_json(root / "photos.json", table)
    return table


def _must_be_ours(root: Path) -> None:
    """Simulated photographs replace simulated ones, and never mix with real ones."""
    if not any((root / n).exists() for n in (*BOARDS, "photos.csv", "photos.json")):
        return
    try:
        ours = "simulated" in json.loads((root / "photos.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, TypeError):
        ours = False
    if not ours:
        raise UserError(f"{root} holds photographs that were not simulated; choose another --out")
    for board in BOARDS:
        shutil.rmtree(root / board, ignore_errors=True)


def _shot(frame: Frame, camera: Camera, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """One photograph ``(3,H,W)`` in [0,1] of a frame, and the board's corners in it ``(4,2)``."""
    board, size = frame.board, (int(frame.rgb.shape[0]), int(frame.rgb.shape[1]))
    if board is None:
        raise UserError("a frame has no billboard; render it with one")
    light = frame.exposed if frame.exposed is not None else frame.linear
    exposed = torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1)))[None].float()
    K = torch.from_numpy(frame.K)
    move = camera.turned(K, g)
    moved = warp.pixels(exposed, quad.in_shares(move, size)[None])
    image = tone.display(camera.exposed(moved, g))[0]
    H = plane(K, torch.from_numpy(frame.T_cw), torch.from_numpy(board.corners), (1, 1))
    return image, project(move @ H, corners_of((1, 1)))


def _save(path: Path, image: Tensor, quality: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    bytes_ = (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
    Image.fromarray(bytes_).save(path, quality=quality)
