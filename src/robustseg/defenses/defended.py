"""A model behind input defences: to attacks, referee and doctor a model like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustseg.defenses import resize
from robustseg.defenses.inputs import applied
from robustseg.defenses.words import Part, parse, text_of_parts
from robustseg.errors import UserError
from robustseg.ops import digest, seeds
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import Model, ModelSpec, Output

__all__ = ["SAMPLES", "Defended", "defended"]

SAMPLES = 4  # draws a step over which an attack on a randomised defence takes the mean


@dataclass(frozen=True)
class Defended:
    """``inner`` sees images ``(B,C,H,W)`` behind ``parts``, in their order; what moved pixels is undone on its scores.

    ``bpda``: gradients pass through rounding (`inputs.applied`); pixels and predictions are the same without.
    ``samples``: draws of a randomised defence that an attack takes the mean over a step (EOT); 0: it takes one draw and
    keeps it. ``draws (B, randoms)`` in [0,1) of a call say what is drawn, one row an image; without them they depend on
    the content of each image, so that a call repeats and no image depends on its neighbours.
    """

    inner: Model
    parts: tuple[Part, ...]
    bpda: bool = True
    samples: int = SAMPLES

    @property
    def text(self) -> str:
        """The defences as text, in one spelling."""
        return text_of_parts(self.parts)

    @property
    def spec(self) -> ModelSpec:
        """That of the inner model, with a digest of both: other defences are another model."""
        own = self.inner.spec
        return replace(own, digest=digest.of_json(["input defence", own.digest, self.text]))

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
        moved = any(p.name == "resize" for p in self.parts)
        return frozenset() if moved else getattr(self.inner, "gives", frozenset())

    @property
    def randoms(self) -> int:
        """How many random numbers an image takes; 0: the same image is always the same."""
        return sum(p.randoms for p in self.parts)

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
        x, places = self.pixels(images, draws)
        given = {"prompts": prompts, "proposals": proposals, "want": want or None}
        output = self.inner(x, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
        if self.spec.task == WHOLE_IMAGE:
            return output  # one label, wherever the image lies
        for place in reversed(places):
            output = resize.undone(output, place)
        return output

    def pixels(self, images: Tensor, draws: Tensor | None = None) -> tuple[Tensor, list[resize.Place]]:
        """What the network is shown, and where the images lie in it."""
        drawn = self._drawn(images, draws)
        x, places, at = images, [], 0
        for part in self.parts:
            mine = drawn[:, at : at + part.randoms]
            at += part.randoms
            if part.name == "resize":
                x, place = resize.resized(x, part.low, part.high, mine)
                places.append(place)
            else:
                share = mine[:, 0] if part.randoms else torch.zeros(len(x))  # a fixed number waits for no device
                x = applied(part.name, x, part.low + share * (part.high - part.low), self.bpda)
        return x, places

    def _drawn(self, images: Tensor, draws: Tensor | None) -> Tensor:
        if not self.randoms:
            return images.new_zeros(len(images), 0)
        if draws is None:
            draws = seeds.fractions(self.randoms, [seeds.generator(0, i) for i in seeds.content_ids(images)])
        return draws.to(images)


def defended(model: Model, defense: str | Sequence[Part], *, bpda: bool = True, samples: int = SAMPLES) -> Defended:
    """``model`` behind ``defense``, e.g. ``"jpeg=50,bits=3"``.

    Raises UserError for a text that names no defence, and for a model whose answer cannot be brought back.

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
    return Defended(model, parts, bpda, samples)
