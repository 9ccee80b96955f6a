"""Photographs of a board: the same place with a clean, a random and an optimised print, against the clean prediction.

No truth is needed. Every photograph is predicted as it was taken, at most ``longest`` pixels long; its label map is
then laid over that of the clean photograph. Of three ways to do so (as it is; shifted, or turned, scaled and shifted,
as the board's corners say) the one is taken under which the *photographs* agree best outside the board.

Counted is, for all prints of a place alike, what all photographs show, what is not board in any of them, and what lies
farther than ``tolerance`` pixels from a border between two classes of the clean prediction: there a hand that was not
quite still, and not the print, decides. What changes nevertheless between two photographs of the clean board
(``repeat``) is the floor under every other figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg import __version__
from robustseg.data import resize
from robustseg.data.images import read_image
from robustseg.data.photos import Photos, Place, read_photos
from robustseg.errors import UserError
from robustseg.evaluation import referee
from robustseg.evaluation.beside import Row, compared, difference, score
from robustseg.evaluation.board_frames import Tick, loaded
from robustseg.evaluation.colours import palette
from robustseg.evaluation.device import repeatable
from robustseg.evaluation.files import write_json
from robustseg.evaluation.shots import IGNORE, keep, row
from robustseg.ops import digest, warp
from robustseg.ops.state import frozen
from robustseg.physical import quad
from robustseg.types import Model

__all__ = ["SIMULATED", "score_photos"]

SIMULATED = "SIMULATED: rendered frames made into photographs by a formula; no printer and no camera had a part in it"
MISPLACED = 1.5  # pixels that the corners of two photographs may disagree after the best turn and shift


@dataclass(frozen=True)
class _Taken:
    """A photograph laid over the clean one of its place: labels and board ``(H,W)`` there, and how it came there."""

    image: Tensor
    labels: Tensor
    board: Tensor
    how: str
    moved: float
    left: float


def score_photos(
    folder: str | Path,
    model: str | Model,
    *,
    out: str | Path | None = None,
    longest: int = 1024,
    tolerance: int = 2,
    device: str = "auto",
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Score a folder of photographs (`data.photos`); writes ``summary.json`` and ``pictures/`` to ``out``.

    ``out``: default ``folder/scored``. Returns what ``summary.json`` holds: ``boards``: of each print ``changed`` and
    ``mIoU`` against the clean prediction, with intervals and classes; ``difference``: optimised minus random, paired;
    ``places``: the same by place, with distance and angle; ``cautions``; ``simulated``. Raises UserError, naming the
    file, for what cannot be read or compared.
    """
    if longest < 32 or tolerance < 0:
        raise UserError("--longest is at least 32 pixels and --tolerance not negative")
    tell = tick or (lambda *_: None)
    photos = read_photos(folder)
    target = Path(out) if out else photos.folder / "scored"
    network = loaded(model, device)
    if network.spec.task not in ("semantic", "universal"):
        raise UserError(f"{network.spec.ref} gives no label of every pixel; photographs need a semantic model")
    classes = network.spec.classes
    colours = [tuple(c) for c in palette(classes).values()]
    pictures = target / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Row]] = {}
    listed: list[dict[str, Any]] = []
    with frozen(network.module), repeatable(next(network.module.parameters()).device):
        for n, place in enumerate(photos.places):
            tell(n, len(photos.places), place.name)
            taken = _taken(place, network, longest)
            counts = _counts(taken, tolerance)
            clean = taken["clean"]
            mine = {b: row(t.labels, clean.labels, counts, len(classes)) for b, t in taken.items()}
            for board, one in taken.items():
                rows.setdefault(board, {})[place.name] = mine[board]
                stem = pictures / f"{n:03d}_{board}"
                keep(stem, one.image, one.labels, (clean.image, clean.labels), counts, colours)
            listed.append(_place(n, place, taken, counts, mine, classes))
    tell(len(photos.places), len(photos.places), "done")
    summary = {
        "kind": "photos", "version": __version__, "model": network.spec.ref, "model_hash": network.spec.digest,
        "folder": str(folder), "photos": _digest(photos), "longest": longest, "tolerance": tolerance,
        "simulated": dict(photos.simulated) if photos.simulated is not None else None,
        "label": SIMULATED if photos.simulated is not None else "photographs",
        "boards": {b: compared(list(r.values()), classes) for b, r in rows.items() if b != "clean"},
        "difference": difference([*rows["optimised"].values()], [*rows["random"].values()], classes),
        "places": listed,
        "palette": palette(classes),
    }  # fmt: skip
    summary["cautions"] = _cautions(summary)
    write_json(target / "summary.json", summary)
    return summary


def _digest(photos: Photos) -> str:
    """Of the bytes of all photographs."""
    files = {f"{p.name}/{b}": digest.of_bytes(f.path.read_bytes()) for p in photos.places for b, f in p.photos.items()}
    return digest.of_json(files)


def _taken(place: Place, model: Model, longest: int) -> dict[str, _Taken]:
    """Every photograph of a place, predicted and laid over the clean one."""
    device = next(model.module.parameters()).device
    images: dict[str, Tensor] = {}
    corners: dict[str, Tensor] = {}
    for board, photo in place.photos.items():
        whole = read_image(photo.path)
        there = quad.checked(photo.corners, (whole.shape[1], whole.shape[2]), photo.said)
        factor = min(1.0, longest / max(whole.shape[1:]))
        size = (max(round(whole.shape[1] * factor), 1), max(round(whole.shape[2] * factor), 1))
        images[board] = resize.image(whole, size)
        corners[board] = there * torch.tensor([size[1] / whole.shape[2], size[0] / whole.shape[1]]).double()
    size = (int(images["clean"].shape[1]), int(images["clean"].shape[2]))
    for board, image in images.items():
        if tuple(image.shape[1:]) != size:
            one, two = (place.photos[b].path for b in ("clean", board))
            raise UserError(
                f"{two} and {one} have not the same shape; photographs of one place are taken with the same camera, "
                "held the same way"
            )
    made: dict[str, _Taken] = {}
    for board, image in images.items():
        found = referee.predict(model, image[None].to(device))[0].labels
        assert found is not None
        move, how, left = _move(images["clean"], image, corners["clean"], corners[board])
        shares = quad.in_shares(move, size)[None]
        labels = warp.labels(found.cpu(), shares, IGNORE)[0]
        under = quad.pixels_of(corners[board], size)
        under = warp.labels(under[None], shares, False)[0]
        made[board] = _Taken(image, labels, under, how, _far(move, size), left)
    return made


def _move(clean: Tensor, image: Tensor, old: Tensor, new: Tensor) -> tuple[Tensor, str, float]:
    """What lays a photograph with its board at ``new`` over the clean one with it at ``old``: (3,3) in pixels."""
    still = torch.eye(3, dtype=torch.float64)
    if torch.equal(old, new):
        return still, "as it is", 0.0
    size = (int(clean.shape[1]), int(clean.shape[2]))
    turned, left = quad.similarity(new, old)
    ways = {"as it is": still, "shifted": quad.similarity(new, old, turn=False)[0], "turned": turned}
    board = quad.pixels_of(old, size) | quad.pixels_of(new, size)
    outside = F.max_pool2d(board[None, None].float(), 9, 1, 4)[0, 0] == 0
    agree = {how: _agreement(clean, image, quad.in_shares(move, size), outside) for how, move in ways.items()}
    how = max(agree, key=lambda k: agree[k])
    return ways[how], how, left


def _agreement(clean: Tensor, image: Tensor, shares: Tensor, outside: Tensor) -> float:
    """The correlation of two photographs' brightness where both show something and no board: blind to exposure."""
    size = (int(clean.shape[1]), int(clean.shape[2]))
    there = warp.labels(torch.ones(1, *size, dtype=torch.bool), shares[None], False)[0] & outside
    if int(there.sum()) < 64:
        return -2.0
    moved = warp.pixels(image[None], shares[None])[0]
    a, b = (p.mean(0)[there].double() for p in (clean, moved))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num(-1.0))


def _far(move: Tensor, size: tuple[int, int]) -> float:
    """How far the corners of a picture move, at most, in pixels."""
    H, W = size
    ends = torch.tensor([[0.0, 0, 1], [W, 0, 1], [W, H, 1], [0, H, 1]], dtype=torch.float64)
    return float(((ends @ move.T)[:, :2] - ends[:, :2]).norm(dim=1).max())


def _counts(taken: Mapping[str, _Taken], tolerance: int) -> Tensor:
    """The pixels of a place that count, for all prints the same, ``(H,W)`` bool."""
    clean = taken["clean"].labels
    board = torch.stack([t.board for t in taken.values()]).any(0)
    seen = torch.stack([t.labels != IGNORE for t in taken.values()]).all(0)
    border = torch.zeros_like(board)
    border[1:] |= clean[1:] != clean[:-1]
    border[:-1] |= clean[1:] != clean[:-1]
    border[:, 1:] |= clean[:, 1:] != clean[:, :-1]
    border[:, :-1] |= clean[:, 1:] != clean[:, :-1]
    if tolerance:
        # a border lies between two pixels, so the nearest are within one pixel of it already
        near = F.max_pool2d(border[None, None].float(), 2 * tolerance - 1, 1, tolerance - 1)[0, 0] > 0
        board = F.max_pool2d(board[None, None].float(), 2 * tolerance + 1, 1, tolerance)[0, 0] > 0
        return seen & ~board & ~near
    return seen & ~board


def _place(
    n: int, place: Place, taken: Mapping[str, _Taken], counts: Tensor, rows: Mapping[str, Row], classes: Sequence[str]
) -> dict[str, Any]:
    return {
        "place": place.name,
        "distance_m": place.distance,
        "angle_deg": place.angle,
        "board_share": float(taken["clean"].board.float().mean()),
        "counted_share": float(counts.float().mean()),
        "pictures": f"{n:03d}",
        "boards": {
            b: {**score([one], classes), "laid": taken[b].how, "moved_px": round(taken[b].moved, 2),
                "corners_off_px": round(taken[b].left, 2)}
            for b, one in rows.items()
        },
    }  # fmt: skip


def _cautions(summary: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if summary["simulated"] is not None:
        found.append(SIMULATED + ".")
    boards, gap = summary["boards"], summary["difference"]
    places, pair = gap["pictures"], gap["ci95"]["changed"]
    if pair is None:
        found.append(f"{places} places are too few for an interval; take the photographs from five or more.")
    elif pair[0] <= 0:
        found.append(
            "The optimised print is not shown to change more than the random one: the interval of the difference "
            "holds 0."
        )
    floor = boards.get("repeat")
    if floor is None:
        found.append(
            "No second photographs of the clean board (repeat/): how much changes by itself, from one photograph to "
            "the next, is not known."
        )
    elif floor["changed"] is not None and (boards["optimised"]["changed"] or 0) <= floor["changed"]:
        found.append("Two photographs of the clean board differ as much as the optimised print does.")
    for p in summary["places"]:
        for board, one in p["boards"].items():
            if one["corners_off_px"] > MISPLACED:
                found.append(
                    f"{board}/{p['place']}: its corners fit those of the clean photograph only to "
                    f"{one['corners_off_px']:.1f} pixels; look at them again, or it was taken from another place."
                )
    lost = [p["place"] for p in summary["places"] if p["counted_share"] < 0.2]
    if lost:
        found.append(f"Less than a fifth of the picture counts at {', '.join(lost)}: look at corners and borders.")
    return found
