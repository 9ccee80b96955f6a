"""The gallery: kept pictures as data URIs, lossless, worst images first, within a budget of megabytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.load import Run, number

__all__ = ["Attacked", "Card", "Gallery", "Picture", "gallery", "inside"]

DISPLAY_WIDTH = 640


@dataclass(frozen=True)
class Picture:
    """An image ready for ``<img src>``: ``uri`` (lossless WebP) and its size; ``reduced``: smaller than the file."""

    uri: str
    width: int
    height: int
    reduced: bool


@dataclass(frozen=True)
class Attacked:
    """What one attack made of the image. ``gain``: the perturbation is shown this many times as large, around grey."""

    spec: str
    adversarial: Picture | None
    prediction: Picture | None
    perturbation: Picture | None
    gain: float | None
    aAcc: float | None
    mIoU: float | None


@dataclass(frozen=True)
class Card:
    """One kept image: what it shows, what is true, what the model saw in it, and every attack on it, worst first."""

    id: str
    clean: Picture | None
    truth: Picture | None
    clean_prediction: Picture | None
    attacks: Sequence[Attacked]


@dataclass(frozen=True)
class Gallery:
    """The cards, the legend (class, CSS colour) and what had to stay outside: pictures over the budget."""

    cards: Sequence[Card] = ()
    legend: Sequence[tuple[str, str]] = ()
    left_out: int = 0
    reduced: bool = False


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
    shells = [(item, sorted(item.get("attacks") or [], key=badness)) for item in sorted(found, key=rank)]
    # First every image with its worst attack, then the other attacks: a small budget loses variety, never an image.
    cards = [card(item, attacks[:1], budget) for item, attacks in shells]
    for index, (_, attacks) in enumerate(shells):
        more = [attacked(a, budget) for a in attacks[1:]]
        cards[index] = replace(cards[index], attacks=[*cards[index].attacks, *[m for m in more if m.adversarial]])
    shown = [c for c in cards if c.clean and any(a.adversarial for a in c.attacks)]
    return Gallery(shown, legend(run.pictures.get("palette")), budget.left_out, budget.reduced)


def rank(item: Mapping[str, Any]) -> float:
    """Sorting key: the evaluation's rank, 0 = worst."""
    value = number(item.get("rank"))
    return value if value is not None else float("inf")


def badness(attack: Mapping[str, Any]) -> tuple[float, float]:
    """Sorting key: least mIoU first, then least aAcc."""
    mean, share = number(attack.get("mIoU")), number(attack.get("aAcc"))
    return (mean if mean is not None else 2.0, share if share is not None else 2.0)


def card(item: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], budget: Budget) -> Card:
    """One image of the index."""
    shared = [budget.read(item.get(k), flat=k != "clean") for k in ("clean", "truth", "clean_prediction")]
    return Card(str(item.get("id", "?")), shared[0], shared[1], shared[2], [attacked(a, budget) for a in attacks])


def attacked(item: Mapping[str, Any], budget: Budget) -> Attacked:
    """One attack on an image of the index."""
    return Attacked(
        str(item.get("spec", "?")),
        budget.read(item.get("adversarial")),
        budget.read(item.get("prediction"), flat=True),
        budget.read(item.get("perturbation"), flat=True),
        number(item.get("gain")),
        number(item.get("aAcc")),
        number(item.get("mIoU")),
    )


class Budget:
    """Counts the bytes that were embedded, and the pictures that no longer fitted."""

    def __init__(self, folder: Path, size: int):
        self.folder, self.left, self.left_out, self.reduced = folder, size, 0, False

    def read(self, name: Any, *, flat: bool = False) -> Picture | None:
        """The picture, None where the file is missing or the budget spent; ``flat``: never mix neighbouring pixels."""
        if name is None:
            return None
        path = inside(self.folder, name)
        if self.left <= 0:
            self.left_out += 1
            return None
        if not path.is_file():
            return None
        picture, size = encode(path, flat=flat)
        self.left -= size
        self.reduced |= picture.reduced
        return picture


def encode(path: Path, *, flat: bool) -> tuple[Picture, int]:
    """A PNG as lossless WebP, at most DISPLAY_WIDTH wide; ``flat`` pictures are thinned, photographs averaged."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise UserError(f"{path} cannot be read as a picture ({problem}); run `robustseg evaluate` again") from None
    reduced = image.width > DISPLAY_WIDTH
    if reduced:
        size = (DISPLAY_WIDTH, max(1, round(image.height * DISPLAY_WIDTH / image.width)))
        image = image.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=40, method=3)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/webp;base64,{data}", image.width, image.height, reduced), len(data)


def legend(palette: Any) -> list[tuple[str, str]]:
    """Class names with their colours as CSS, only well-formed ones: the text goes into a style attribute."""
    if not isinstance(palette, dict):
        return []
    good = {
        str(name): rgb
        for name, rgb in palette.items()
        if isinstance(rgb, list) and len(rgb) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in rgb)
    }
    return [(name, "#{:02x}{:02x}{:02x}".format(*rgb)) for name, rgb in good.items()]
