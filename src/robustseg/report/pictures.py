"""The gallery: kept pictures as data URIs, lossless, worst images first, within a budget of megabytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.fates import Listed, of_image, prompts
from robustseg.report.load import Run, number

__all__ = ["Attacked", "Card", "Gallery", "Picture", "gallery", "inside"]

DISPLAY_WIDTH = 640
SCORES = ("PQ", "AP", "IoU_prompted", "accuracy")


@dataclass(frozen=True)
class Picture:
    """An image ready for ``<img src>``: ``uri`` (lossless WebP) and its size; ``reduced``: smaller than the file."""

    uri: str
    width: int
    height: int
    reduced: bool


@dataclass(frozen=True)
class Attacked:
    """What one attack made of the image. ``gain``: the perturbation is shown this many times as large, around grey.

    ``layer``: the predicted segments, to lie on the image; ``fates`` and ``prompts``: what became of each. Of a
    classifier ``was`` and ``now`` are the true class and the one that the attacked image is given.
    """

    spec: str
    adversarial: Picture | None
    prediction: Picture | None
    perturbation: Picture | None
    gain: float | None
    scores: Mapping[str, float]
    layer: Picture | None = None
    fates: Listed | None = None
    prompts: Sequence[tuple[int, float, float | None]] = ()
    was: str = ""
    now: str = ""


@dataclass(frozen=True)
class Card:
    """One kept image: what it shows, what is true, what the model saw in it, and every attack on it, worst first.

    Where the run has segments: ``layer`` the predicted and ``true_layer`` the true ones, the latter on ``backdrop``,
    a small copy of the photograph that is not lossless.
    """

    id: str
    clean: Picture | None
    truth: Picture | None
    clean_prediction: Picture | None
    attacks: Sequence[Attacked]
    layer: Picture | None = None
    true_layer: Picture | None = None
    backdrop: Picture | None = None


@dataclass(frozen=True)
class Gallery:
    """The cards, the legend (class, CSS colour) and what had to stay outside: pictures over the budget.

    ``segments``: the task whose segments lie on the pictures, "" for semantic runs.
    """

    cards: Sequence[Card] = ()
    legend: Sequence[tuple[str, str]] = ()
    left_out: int = 0
    reduced: bool = False
    segments: str = ""


def inside(folder: Path, name: Any) -> Path:
    """The file ``name`` of the folder ``pictures``. Raises UserError for a name that leads outside it."""
    root = (folder / "pictures").resolve()
    if not isinstance(name, str) or not name or "\0" in name:
        raise UserError(f"pictures/INDEX.json of {folder} names no file ({name!r:.60}); run `robustseg evaluate` again")
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise UserError(f"pictures/INDEX.json of {folder} names {name!r:.80}, outside its folder: refused")
    return path


def gallery(run: Run, *, megabytes: float = 16.0) -> Gallery:
    """Reads the pictures that the index names, until ``megabytes`` of them are embedded; missing files are left out."""
    found = run.pictures.get("images", [])
    if not isinstance(found, list) or not all(isinstance(i, dict) for i in found):
        raise UserError(f"pictures/INDEX.json of {run.folder} has no list of images; run `robustseg evaluate` again")
    budget = Budget(run.folder, int(megabytes * 1e6))
    told = Told(run)
    shells = [(item, sorted(item.get("attacks") or [], key=badness)) for item in sorted(found, key=rank)]
    # First every image with its worst attack, then the other attacks: a small budget loses variety, never an image.
    cards = [card(item, attacks[:1], budget, told) for item, attacks in shells]
    for index, (item, attacks) in enumerate(shells):
        more = [attacked(a, item, budget, told) for a in attacks[1:]]
        cards[index] = replace(cards[index], attacks=[*cards[index].attacks, *[m for m in more if m.adversarial]])
    shown = [c for c in cards if c.clean and any(a.adversarial for a in c.attacks)]
    task = next((str(part(i)["task"]) for i in found if part(i).get("task")), "")
    return Gallery(shown, legend(run.pictures.get("palette")), budget.left_out, budget.reduced, task)


def rank(item: Mapping[str, Any]) -> float:
    """Sorting key: the evaluation's rank, 0 = worst."""
    value = number(item.get("rank"))
    return value if value is not None else float("inf")


def badness(attack: Mapping[str, Any]) -> tuple[float, float]:
    """Sorting key: least PQ (else AP, IoU of prompts, mIoU) first, then least aAcc."""
    leading = next((n for n in SCORES if number(attack.get(n)) is not None), "mIoU")
    mean, share = number(attack.get(leading)), number(attack.get("aAcc"))
    return (mean if mean is not None else 2.0, share if share is not None else 2.0)


def part(item: Mapping[str, Any], name: str = "segments") -> Mapping[str, Any]:
    """A table of an index entry; empty where there is none."""
    found = item.get(name)
    return found if isinstance(found, Mapping) else {}


class Told:
    """What the rows say of the segments of each image."""

    def __init__(self, run: Run):
        self.stats = {spec: {r.image: r.stats for r in rows} for spec, rows in run.rows.items()}
        self.classes = [str(c) for c in run.summary.get("classes") or []]

    def of(self, spec: str, item: Mapping[str, Any]) -> tuple[Listed | None, list[tuple[int, float, float | None]]]:
        """Fates and prompts of an image under an attack."""
        image = str(item.get("id", "?"))
        now, clean = (self.stats.get(s, {}).get(image) for s in (spec, ""))
        listed = part(item).get("listed")
        colours = [css(one.get("colour")) for one in listed if isinstance(one, Mapping)] if listed else []
        return of_image(now, self.classes, colours), prompts(now, clean)


def card(item: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], budget: Budget, told: Told) -> Card:
    """One image of the index."""
    shared = [budget.read(item.get(k), flat=k != "clean") for k in ("clean", "truth", "clean_prediction")]
    layers = [budget.layer(part(part(item), k).get("layer")) for k in ("clean", "truth")]
    backdrop = budget.read(item.get("clean"), rough=True) if layers[1] else None
    made = [attacked(a, item, budget, told) for a in attacks]
    return Card(str(item.get("id", "?")), shared[0], shared[1], shared[2], made, layers[0], layers[1], backdrop)


def attacked(item: Mapping[str, Any], image: Mapping[str, Any], budget: Budget, told: Told) -> Attacked:
    """One attack on an image of the index."""
    spec = str(item.get("spec", "?"))
    return Attacked(
        spec,
        budget.read(item.get("adversarial")),
        budget.read(item.get("prediction"), flat=True),
        budget.read(item.get("perturbation"), flat=True),
        number(item.get("gain")),
        {n: v for n in (*SCORES, "mIoU", "aAcc") if (v := number(item.get(n))) is not None},
        budget.layer(part(item).get("layer")),
        *told.of(spec, image),
        was=str(image.get("class", "")),
        now=str(item.get("class", "")),
    )


class Budget:
    """Counts the bytes that were embedded, and the pictures that no longer fitted."""

    def __init__(self, folder: Path, size: int):
        self.folder, self.left, self.left_out, self.reduced = folder, size, 0, False

    def layer(self, name: Any) -> Picture | None:
        """A transparent picture of segments, drawn larger than its image."""
        return self.read(name, layer=True)

    def read(self, name: Any, *, flat: bool = False, layer: bool = False, rough: bool = False) -> Picture | None:
        """The picture, None where the file is missing or the budget spent; ``flat``: never mix neighbouring pixels."""
        if name is None:
            return None
        path = inside(self.folder, name)
        if self.left <= 0:
            self.left_out += 1
            return None
        if not path.is_file():
            return None
        picture, size = encode(path, flat=flat, layer=layer, rough=rough)
        self.left -= size
        self.reduced |= picture.reduced and not (layer or rough)
        return picture


def encode(path: Path, *, flat: bool, layer: bool = False, rough: bool = False) -> tuple[Picture, int]:
    """A PNG as lossless WebP, at most DISPLAY_WIDTH wide; ``flat`` pictures are thinned, photographs averaged.

    A ``layer`` keeps its transparency and may be twice as wide; a ``rough`` picture is a backdrop, and lossy.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGBA" if layer else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise UserError(f"{path} cannot be read as a picture ({problem}); run `robustseg evaluate` again") from None
    widest = 2 * DISPLAY_WIDTH if layer else DISPLAY_WIDTH
    reduced = image.width > widest
    if reduced:
        size = (widest, max(1, round(image.height * widest / image.width)))
        image = image.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=not rough, quality=80 if rough else 40, method=3)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/webp;base64,{data}", image.width, image.height, reduced), len(data)


def css(rgb: Any) -> str:
    """A colour as CSS, "" where it is no colour: the text goes into a style attribute.

    >>> css([255, 0, 16]), css("url(x)")
    ('#ff0010', '')
    """
    good = isinstance(rgb, list) and len(rgb) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in rgb)
    return "#{:02x}{:02x}{:02x}".format(*rgb) if good else ""


def legend(palette: Any) -> list[tuple[str, str]]:
    """Class names with their colours as CSS, only well-formed ones."""
    if not isinstance(palette, dict):
        return []
    return [(str(name), css(rgb)) for name, rgb in palette.items() if css(rgb)]
