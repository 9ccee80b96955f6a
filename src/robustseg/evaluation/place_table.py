"""The table of a patch in photographs: a random, a grey and the optimised print in pictures it was not fitted on.

Without labels everything is held against what the model sees when no board is there; with labels against these too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg import __version__
from robustseg.errors import UserError
from robustseg.evaluation import referee
from robustseg.evaluation.beside import Row, compared, difference, score
from robustseg.evaluation.board_frames import Tick, loaded
from robustseg.evaluation.board_prints import prints, read_board
from robustseg.evaluation.colours import palette
from robustseg.evaluation.files import write_json
from robustseg.evaluation.place_pictures import Placed, pictures
from robustseg.evaluation.shots import keep, row
from robustseg.ops.state import frozen
from robustseg.physical import quad
from robustseg.physical.cast import cast, over, seen
from robustseg.types import Model

__all__ = ["evaluate_placed"]

KEPT = 12  # pictures


def evaluate_placed(
    folder: str | Path,
    *,
    model: str | Model | None = None,
    data: str | None = None,
    place: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Judge the patch of ``folder`` in the pictures that were held out; writes ``summary.json`` and ``pictures/``
    to ``out`` (default: ``folder``).

    ``data`` and ``place``: another folder, all of it. Scores are taken outside the board: ``boards``: of a random, a
    grey and the optimised print ``changed`` and ``mIoU`` against the prediction without a board; ``difference``:
    optimised minus random, paired; ``truth``: the same against the labels, where there are any, ``clean`` among them,
    with ``wrong`` in place of ``changed``. Raises UserError for a folder without such a patch.
    """
    path, tell = Path(folder), tick or (lambda *_: None)
    about, texture = read_board(path, "data")
    if (data is None) != (place is None):
        raise UserError("--data and --place go together: other pictures have places of their own")
    network = loaded(model or about["model"], device)
    common: dict[str, Any] = {"longest": int(about["longest"]), "class_map": about.get("class_map"), "tick": tick}
    if data is None:
        found = pictures(about["data"], about["places"], network, only=about["held_out"], **common)
        found = [replace(p, on=about["on"][p.name]) for p in found]
        gone = sorted(set(about["held_out"]) - {p.name for p in found})
        if gone:
            raise UserError(f"data {about['data']}: {gone[0]} is no longer there; the patch was to be judged on it")
    else:
        assert place is not None
        width, height = about["board_m"]
        found = pictures(data, place, network, aspect=width / height, **common)
    if not found:
        raise UserError(f"data {data}: no picture has corners in {place}")
    target = (Path(out) if out else path) / "pictures"
    target.mkdir(parents=True, exist_ok=True)
    classes = network.spec.classes
    colours = list(palette(classes).values())
    boards = prints(texture, int(about["seed"]))
    rows: dict[str, list[Row]] = {}
    truths: dict[str, list[Row]] = {}
    places: list[dict[str, Any]] = []
    with frozen(network.module):
        for n, p in enumerate(found):
            tell(n, len(found), p.name)
            shown, counts = _shown(p, boards, (int(texture.shape[1]), int(texture.shape[2])))
            labels = {b: _labels(network, image) for b, image in shown.items()}
            mine = {b: row(found_, labels["clean"], counts, len(classes)) for b, found_ in labels.items()}
            for board, image in shown.items():
                rows.setdefault(board, []).append(mine[board])
                if p.truth is not None:
                    known = counts & (p.truth.labels[0].cpu() != p.truth.ignore)
                    truths.setdefault(board, []).append(
                        row(labels[board], p.truth.labels[0].cpu(), known, len(classes))
                    )
                if n < KEPT:
                    clean = shown["clean"][0].cpu(), labels["clean"]
                    keep(target / f"{n:03d}_{board}", image[0].cpu(), labels[board], clean, counts, colours)
            places.append({
                "place": p.name, "distance_m": None, "angle_deg": None, "on": p.on, "pictures": f"{n:03d}",
                "board_share": 1 - float(counts.float().mean()), "counted_share": float(counts.float().mean()),
                "boards": {b: {**score([r], classes), "laid": "as it is"} for b, r in mine.items()},
            })  # fmt: skip
    tell(len(found), len(found), "done")
    summary = {
        "kind": "placed", "version": __version__, "model": network.spec.ref, "model_hash": network.spec.digest,
        "about": about,
        "data": data or about["data"], "held_out": data is None, "simulated": None,
        **_compared(rows, classes, without="clean"),
        "truth": _compared(truths, classes, share="wrong") if truths else None,
        "places": places, "palette": palette(classes), "cautions": _cautions(rows, classes, found),
    }  # fmt: skip
    write_json(target.parent / "summary.json", summary)
    return summary


def _shown(p: Placed, boards: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[dict[str, Tensor], Tensor]:
    """The picture with every print in it, ``clean`` without any, and the pixels that none of them covers."""
    at = cast(quad.onto(p.corners, size), size, p.size, device=p.image.device)
    with torch.no_grad():
        laid = {b: over(p.image, seen(t[None].to(p.image), at), at) for b, t in boards.items()}
    return {"clean": p.image, **laid}, ~at.mask().cpu()


def _labels(model: Model, image: Tensor) -> Tensor:
    labels = referee.predict(model, image)[0].labels
    assert labels is not None
    return labels[0].cpu()


def _compared(
    rows: Mapping[str, list[Row]], classes: Sequence[str], without: str = "", share: str = "changed"
) -> dict[str, Any]:
    return {
        "boards": {b: compared(r, classes, share) for b, r in rows.items() if b != without},
        "difference": difference(rows["optimised"], rows["random"], classes, share),
    }


def _cautions(rows: Mapping[str, list[Row]], classes: Sequence[str], found: Sequence[Placed]) -> list[str]:
    pair = difference(rows["optimised"], rows["random"], classes)["ci95"]["changed"]
    made = []
    if pair is None:
        made.append(f"{len(found)} pictures are too few for an interval; judge on five or more.")
    elif pair[0] <= 0:
        made.append("The optimised print is not shown to change more than the random one: the interval holds 0.")
    anywhere = [p.name for p in found if p.on == "anywhere"]
    if anywhere:
        made.append(
            f"No surface was found in {len(anywhere)} pictures, where the board floats: {', '.join(anywhere[:8])}."
        )
    return made
