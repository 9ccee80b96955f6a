"""The pictures of segments: what is true, what the model saw, and what an attack made of it, in the same colours.

A predicted segment has the colour and number of the true one it stands for. What an attack changed is said by the
plate of the number: flipped, split, merged; invented segments are hatched, lost ones are a dashed line.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustseg.evaluation.colours import save_rgb
from robustseg.evaluation.outlines import Layer
from robustseg.evaluation.owners import EXCUSED, INVENTED, Shown, owners, seen, true
from robustseg.tasks.predict import Prediction
from robustseg.types import SegmentTarget

__all__ = ["FATE_COLOURS", "Truth", "truth_of"]

FATE_COLOURS = {  # those of the report's page
    "kept": (24, 30, 38), "lost": (200, 30, 40), "flipped": (217, 119, 6), "split": (0, 137, 123),
    "merged": (126, 87, 194), "invented": (230, 0, 154),
}  # fmt: skip
GREY = (205, 210, 216)
NUMBERED = 60  # numbers on one picture, the largest segments first


@dataclass(frozen=True)
class Truth:
    """The true segments of one image with their colours; it draws everything that is held against them."""

    target: SegmentTarget
    task: str
    shown: Shown
    classes: Sequence[str]
    colours: Sequence[tuple[int, int, int]]

    def entry(self, folder: Path, name: str, photo: Any, prediction: Prediction) -> dict[str, Any]:
        """Truth and clean prediction as pictures, and the colour of every number, for the index."""
        layer = Layer(self.shown.masks.shape[1:])
        if self.shown.void is not None:
            layer.tint(self.shown.void, (0, 0, 0), 0.5)
        for mask in self.shown.crowds:
            layer.tint(mask, (0, 0, 0), 0.25)
            layer.outline(mask, GREY, thin=True)
        for t in self._painting_order(self.shown):
            self._segment(layer, self.shown, t, self.colours[t])
        for t in self._numbered(self.shown):
            layer.badge(self.shown.masks[t], str(t + 1), FATE_COLOURS["kept"], self._name(self.shown, t))
        truth = save(folder, f"{name}/truth", photo, layer, self.shown)
        listed = [
            {"number": t + 1, "class": self.classes[int(c)], "colour": list(self.colours[t])}
            for t, c in enumerate(self.shown.classes)
        ]
        return {
            "task": self.task,
            "listed": listed,
            "truth": truth,
            "clean": self.drawn(folder, f"{name}/clean", photo, prediction),
        }

    def drawn(self, folder: Path, stem: str, photo: Any, prediction: Prediction) -> dict[str, Any]:
        """The picture of a prediction (a batch of one) on its photograph ``(3,H,W)``; file names for the index."""
        found = seen(prediction, 0, self.task, self.target)
        layer = Layer(found.masks.shape[1:])
        if self.task == "prompted":
            self._answers(layer, found)
            return save(folder, stem, photo, layer, found)
        held = owners(found, self.shown)
        if found.void is not None:
            layer.tint(found.void, (0, 0, 0), 0.55)
        for p in self._painting_order(found):
            owner = int(held.owner[p])
            if owner == INVENTED:
                layer.hatch(found.masks[p], FATE_COLOURS["invented"])
                layer.outline(found.masks[p], FATE_COLOURS["invented"])
            elif owner == EXCUSED:
                layer.outline(found.masks[p], GREY, thin=True)
            else:
                self._segment(layer, found, p, self.colours[owner])
        lost = [t for t, fate in enumerate(held.fates) if fate == "lost"]
        for t in lost:
            layer.dashes(self.shown.masks[t], self.colours[t])
        invented = np.flatnonzero(held.owner == INVENTED).tolist()
        told: set[int] = set()  # several detections of one object share a number
        for p in self._numbered(found):
            owner = int(held.owner[p])
            if owner in told:
                continue
            if owner >= 0:
                fate, name = held.fates[owner], self._name(found, p)
                text = f"{owner + 1} {name}" if fate == "flipped" else str(owner + 1)
                layer.badge(found.masks[p], text, FATE_COLOURS[fate], "" if fate == "flipped" else name)
                if fate != "split":
                    told.add(owner)
            elif owner == INVENTED:
                text = f"+{invented.index(p) + 1}"
                layer.badge(found.masks[p], text, FATE_COLOURS["invented"], self._name(found, p))
        for t in lost[:NUMBERED]:
            layer.badge(self.shown.masks[t], str(t + 1), FATE_COLOURS["lost"], above=True)
        return save(folder, stem, photo, layer, found)

    def fates(self, prediction: Prediction) -> dict[str, int]:
        """How many of the true segments were kept, lost, flipped, split, merged, and how many were invented."""
        held = owners(seen(prediction, 0, self.task, self.target), self.shown)
        invented = int((held.owner == INVENTED).sum())
        return {fate: held.fates.count(fate) for fate in FATE_COLOURS if fate != "invented"} | {"invented": invented}

    def _name(self, shown: Shown, k: int) -> str:
        return self.classes[int(shown.classes[k])]

    def _answers(self, layer: Layer, found: Shown) -> None:
        """The answer to every prompt in its colour, with the box or point that asked; dashed where it misses it."""
        for p in self._painting_order(found):
            self._segment(layer, found, p, self.colours[p])
        for p, (mask, wanted) in enumerate(zip(found.masks, self.shown.masks, strict=True)):
            good = 2 * int((mask & wanted).sum()) > int((mask | wanted).sum())
            if not good:
                layer.dashes(wanted, self.colours[p])
            assert self.shown.prompts is not None
            asked = self.shown.prompts[p]
            layer.prompt(asked, self.colours[p])
            # a point lies where the number would
            layer.badge(wanted, str(p + 1), FATE_COLOURS["kept" if good else "lost"], above=len(asked) == 2)

    def _segment(self, layer: Layer, shown: Shown, k: int, colour: tuple[int, int, int]) -> None:
        thing = self._thing(int(shown.classes[k]))
        layer.tint(shown.masks[k], colour, 0.45 if thing else 0.28)
        layer.outline(shown.masks[k], colour if thing else (255, 255, 255), thin=not thing)

    def _thing(self, c: int) -> bool:
        return self.task != "panoptic" or bool(self.target.things[c])

    def _painting_order(self, shown: Shown) -> list[int]:
        """Stuff first, then large things before small ones, so that nothing is buried."""
        size = shown.masks.sum((1, 2))
        return sorted(range(len(size)), key=lambda k: (self._thing(int(shown.classes[k])), -int(size[k])))

    def _numbered(self, shown: Shown) -> list[int]:
        size = shown.masks.sum((1, 2))
        return sorted(range(len(size)), key=lambda k: -int(size[k]))[:NUMBERED]


def truth_of(target: Any, tasks: Sequence[str], classes: Sequence[str], colours: dict[str, list[int]]) -> Truth | None:
    """What the pictures of the first image of a batch are drawn against; None for semantic runs."""
    task = next((t for t in ("panoptic", "instance", "prompted") if t in tasks), None)
    if task is None or not isinstance(target, SegmentTarget):
        return None
    one = target.to("cpu")
    shown = true(one, 0, task)
    found: list[tuple[int, int, int]] = []
    things = 0
    for c in shown.classes.tolist():
        if task == "panoptic" and not bool(one.things[c]):
            found.append(muted(colours[classes[int(c)]]))
        else:
            found.append(thing_colour(things))
            things += 1
    return Truth(one, task, shown, classes, found)


def thing_colour(n: int) -> tuple[int, int, int]:
    """Bright colours a golden section apart; the pink of what is invented is left out.

    >>> len({thing_colour(n) for n in range(50)})
    50
    """
    hue = (0.13 + n * 0.618034) % 1.0 * 0.78
    red, green, blue = (round(255 * v) for v in colorsys.hls_to_rgb(hue, (0.56, 0.70, 0.46)[n % 3], 0.95))
    return red, green, blue


def muted(colour: Sequence[int]) -> tuple[int, int, int]:
    """A class colour half as strong: stuff stays behind its things.

    >>> muted((255, 0, 0))
    (166, 38, 38)
    """
    grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    red, green, blue = (round((v + grey) / 2) for v in colour)
    return red, green, blue


def save(folder: Path, stem: str, photo: Any, layer: Layer, shown: Shown) -> dict[str, Any]:
    """The layer, the photograph under it, and the ids as a 16-bit PNG (0 = nothing, k = the k-th segment)."""
    from PIL import Image

    names = {
        "picture": f"{stem}.segments.png",
        "layer": f"{stem}.segments.layer.png",
        "index": f"{stem}.segments.index.png",
    }
    Image.fromarray(layer.pixels).save(folder / names["layer"])
    pixels = np.clip(np.rint(photo.transpose(1, 2, 0) * 255), 0, 255)
    pixels = pixels.repeat(layer.scale, 0).repeat(layer.scale, 1)
    alpha = layer.pixels[..., 3:].astype(np.float64) / 255
    save_rgb(folder / names["picture"], np.rint(pixels * (1 - alpha) + layer.pixels[..., :3] * alpha).astype(np.uint8))
    ids = np.zeros(shown.masks.shape[1:], np.uint16)
    for k in reversed(range(len(shown.masks))):  # where masks overlap the first is on top, of detections the best
        ids[shown.masks[k]] = k + 1
    Image.fromarray(ids).save(folder / names["index"])
    return {**names, "classes": [int(c) for c in shown.classes]}
