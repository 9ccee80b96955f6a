"""A model behind input defences: to attacks, referee and doctor a model like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.defenses import demasked, masking, resize, zmask
from robustseg.defenses.inputs import applied
from robustseg.defenses.words import Part, identity, parse, text_of_parts
from robustseg.errors import UserError
from robustseg.ops import digest, seeds
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import Model, ModelSpec, Output

__all__ = ["SAMPLES", "Defended", "defended"]

LARGEST_FILE = 64 * 2**20
SAMPLES = 4  # draws a step over which an attack on a randomised defence takes the mean


@dataclass(frozen=True)
class Defended:
    """``inner`` sees images ``(B,C,H,W)`` behind ``parts``, in their order; what moved pixels is undone on its scores.

    ``bpda``: gradients pass through rounding (`inputs.applied`); pixels and predictions are the same without.
    ``samples``: draws of a randomised defence that an attack takes the mean over a step (EOT); 0: it takes one draw and
    keeps it. ``draws (B, randoms)`` in [0,1) of a call say what is drawn, one row an image; without them they depend on
    the content of each image, so that a call repeats and no image depends on its neighbours. ``zmask``: what that
    defence learned; every output then carries ``extras["suspicion"]``, its score ``(B,)``. ``shows``: an answer that is
    differentiated is to the image as if nothing had been hidden (`past`).
    """

    inner: Model
    parts: tuple[Part, ...]
    bpda: bool = True
    samples: int = SAMPLES
    zmask: zmask.ZMask | None = None
    shows: bool = False

    @property
    def text(self) -> str:
        """The defences as text, in one spelling."""
        return text_of_parts(self.parts)

    @property
    def spec(self) -> ModelSpec:
        """That of the inner model, with a digest of both: other defences are another model."""
        own = self.inner.spec
        learned = [] if self.zmask is None else [self.zmask.digest]
        return replace(own, digest=digest.of_json(["input defence", own.digest, identity(self.parts), *learned]))

    @property
    def module(self) -> torch.nn.Module:
        """The network; the defences have no parameters."""
        return self.inner.module

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        first = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        return getattr(self.inner, "device", first)

    @property
    def gives(self) -> frozenset[str]:
        """What ``want=`` may ask for; not of an image that lies somewhere else."""
        moved = any(p.name in ("resize", "demask") for p in self.parts)
        return frozenset() if moved else getattr(self.inner, "gives", frozenset())

    @property
    def randoms(self) -> int:
        """How many random numbers an image takes; 0: the same image is always the same."""
        return sum(p.randoms for p in self.parts)

    @property
    def suspects(self) -> bool:
        """Its outputs say how suspect an image is, so that an attack can avoid that."""
        return self.zmask is not None

    def past(self) -> Defended:
        """The same to whoever lowers its suspicion meanwhile: what a hidden patch would do is followed, so that there
        is something to hide; without a gradient it hides what it hides. Where gradients are left as they are, nothing
        changes."""
        return replace(self, shows=self.bpda and self.suspects)

    def to(self, device: str | torch.device) -> Defended:
        """The same on another device."""
        mover: Any = getattr(self.inner, "to", None)
        return self if mover is None else replace(self, inner=mover(device))

    def __call__(
        self,
        images: Tensor,
        *,
        prompts: Tensor | None = None,
        proposals: Tensor | None = None,
        want: frozenset[str] = frozenset(),
        draws: Tensor | None = None,
    ) -> Output:
        if want - self.gives:
            raise UserError(f"{self.spec.ref} behind {self.text} cannot give {', '.join(sorted(want - self.gives))}")
        x, places, suspicion = self._shown(images, draws)
        given = {"prompts": prompts, "proposals": proposals, "want": want or None}
        if self.parts[-1].name == "demask":
            output: Output = demasked.voted(self.inner, x, _versions(self.parts[-1], x), self.bpda)
        else:
            output = self.inner(x, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
        if suspicion is not None:
            output = replace(output, extras={**output.extras, "suspicion": suspicion})
        if self.spec.task == WHOLE_IMAGE:
            return output  # one label, wherever the image lies
        for place in reversed(places):
            output = resize.undone(output, place)
        return output

    def pixels(self, images: Tensor, draws: Tensor | None = None) -> tuple[Tensor, list[resize.Place]]:
        """What the network is shown, and where the images lie in it."""
        x, places, _ = self._shown(images, draws)
        return x, places

    def _shown(self, images: Tensor, draws: Tensor | None) -> tuple[Tensor, list[resize.Place], Tensor | None]:
        drawn = self._drawn(images, draws)
        x, places, at, suspicion = images, [], 0, None
        for part in self.parts:
            mine = drawn[:, at : at + part.randoms]
            at += part.randoms
            if part.name == "resize":
                x, place = resize.resized(x, part.low, part.high, mine)
                places.append(place)
            elif part.name == "zmask":
                assert self.zmask is not None
                x, suspicion = self.zmask.hidden(self.inner, x, part.low, self.bpda, self.shows)
            elif part.name != "demask":
                share = mine[:, 0] if part.randoms else torch.zeros(len(x))  # a fixed number waits for no device
                x = applied(part.name, x, part.low + share * (part.high - part.low), self.bpda)
        return x, places, suspicion

    def _drawn(self, images: Tensor, draws: Tensor | None) -> Tensor:
        if not self.randoms:
            return images.new_zeros(len(images), 0)
        if draws is None:
            draws = seeds.fractions(self.randoms, [seeds.generator(0, i) for i in seeds.content_ids(images)])
        return draws.to(images)


def _versions(part: Part, images: Tensor) -> masking.Layout:
    assert part.patch is not None
    size = (int(images.shape[-2]), int(images.shape[-1]))
    return masking.layout(part.more, "recovery", part.patch.size(size), size)


def defended(
    model: Model,
    defense: str | Sequence[Part],
    *,
    bpda: bool = True,
    samples: int = SAMPLES,
    learned: Artefact | None = None,
) -> Defended:
    """``model`` behind ``defense``, e.g. ``"jpeg=50,bits=3"``; ``learned``: the calibration of zmask, unless it names
    a file that holds it.

    Raises UserError for a text that names no defence, for a model whose answer cannot be brought back or that lacks
    what a defence looks at, and where there is no calibration.

    Example::

        model = defended(rs.load_model("zoo:street-unet"), "bits=3")
        rs.attack("pgd")(model, images, labels)  # adaptive: the gradient passes through the rounding
    """
    parts = parse(defense) if isinstance(defense, str) else tuple(defense)
    if any(p.name == "resize" for p in parts) and model.spec.task in ("instance", "prompted"):
        raise UserError(
            f"defense: resize moves pixels and {model.spec.ref} answers in boxes, which it does not move back; use "
            "jpeg, bits or median, or a model of another kind"
        )
    if any(p.name == "demask" for p in parts):
        demasked.fits(model)
    mine = next((p for p in parts if p.name == "zmask"), None)
    return Defended(model, parts, bpda, samples, None if mine is None else _calibrated(model, mine, learned))


def _calibrated(model: Model, part: Part, learned: Artefact | None) -> zmask.ZMask:
    if learned is None and part.more:
        learned = read_calibration(part.more)
    if learned is None:
        raise UserError(
            "defense: zmask must be calibrated on images of a data set, as `robustseg evaluate` does; name the file "
            "that it left: zmask=OUT/artefacts/zmask-….safetensors"
        )
    return zmask.ZMask.of(learned, model)


def read_calibration(file: str) -> Artefact:
    """The calibration in a file. Raises UserError for any other file."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"defense: zmask={file} is no number and no file; write zmask, zmask=0.4 or zmask=FILE")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"defense: {file} is larger than {LARGEST_FILE >> 20} MiB; that is no calibration")
    return Artefact.load(path)
