"""Feature maps of a network, read where its encoder gives them; the network stays as it is.

A forward hook on the encoder notes the maps that it returns, from fine to coarse, and is removed afterwards, also by an
error. Of torchvision's VGG, which has no encoder to speak of, the first activation of every block is read, as style
transfer does, and the second of the fourth for content (Gatys, Ecker, Bethge, CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.ops.style import Features
from robustseg.types import Output

__all__ = ["encodes", "features_of", "reading"]

PLACES = (  # where an encoder lies: Mask2Former, MaskFormer; SegFormer and others of Hugging Face; torchvision; smp
    "model.pixel_level_module.encoder", "segformer", "backbone.body", "backbone", "encoder",
)  # fmt: skip
FEWEST = 2


@dataclass
class Reading:
    """What one forward wrote down."""

    channels: int
    maps: list[Tensor] = field(default_factory=list)
    content: Tensor | None = None

    def features(self, who: str) -> Features:
        """All of it. Raises UserError for an empty answer: an attack that follows it would follow nothing."""
        # encoders of segmentation-models-pytorch hand on the image itself; Hugging Face gives the last map twice
        by_size = {m.shape[-2] * m.shape[-1]: m for m in self.maps if m.shape[1] > self.channels}
        kept = [by_size[size] for size in sorted(by_size, reverse=True)]
        if len(kept) < FEWEST:
            raise UserError(f"{who} gave feature maps of {len(kept)} sizes, and two are needed; {ADVICE}")
        return Features(tuple(kept), kept[-2] if self.content is None else self.content)


ADVICE = "name a network that has them, e.g. features=torchvision:vgg19?weights=FILE"


def encodes(module: nn.Module) -> nn.Module | None:
    """The encoder of a network, or None.

    >>> encodes(nn.Conv2d(3, 2, 1)) is None
    True
    """
    for place in PLACES:
        part: Any = module
        for name in place.split("."):
            part = getattr(part, name, None)
        if isinstance(part, nn.Module):
            return part
    return module if _is_vgg(module) else None


def _is_vgg(module: nn.Module) -> bool:
    return type(module).__name__ == "VGG" and type(module).__module__.startswith("torchvision.")


@contextmanager
def reading(module: nn.Module, channels: int, who: str) -> Iterator[Reading]:
    """While open, a forward of ``module`` is written down; ``channels`` of its images.

    Raises UserError for a network whose encoder is not known.
    """
    found, handles = Reading(channels), []
    if _is_vgg(module):
        for place, part in _activations(module):
            handles.append(part.register_forward_hook(_note_vgg(found, place)))
    else:
        encoder = encodes(module)
        if encoder is None:
            raise UserError(f"{who} has no encoder whose feature maps are known; {ADVICE}")
        handles.append(encoder.register_forward_hook(lambda m, given, made: found.maps.extend(_maps(made))))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _note_vgg(found: Reading, place: tuple[int, int]) -> Any:
    def note(module: nn.Module, given: Any, made: Tensor) -> None:
        if place[1] == 1:
            found.maps.append(made)
        else:
            found.content = made

    return note


def _activations(module: Any) -> Iterator[tuple[tuple[int, int], nn.Module]]:
    """The first activation of each block, and the second of the fourth, by (block, number)."""
    block, number = 1, 0
    for part in module.features:
        if isinstance(part, nn.ReLU):
            number += 1
            if number == 1 or (block, number) == (4, 2):
                yield (block, number), part
        elif isinstance(part, nn.MaxPool2d):
            block, number = block + 1, 0


def _maps(made: Any) -> list[Tensor]:
    """All maps in what a module returned, in order."""
    if isinstance(made, Tensor):
        return [made] if made.ndim == 4 and made.is_floating_point() else []
    if isinstance(made, Mapping):
        made = list(made.values())
    if isinstance(made, list | tuple):
        return [one for part in made for one in _maps(part)]
    return []


def features_of(
    output: Output, found: Features | None, used: tuple[int, int], padded: tuple[int, int], who: str
) -> Output:
    """The output with ``extras["features"]``, without what lies over the padding; ``found`` is None where the network
    is a user's own module, which says itself what they are. Raises UserError for an empty answer."""
    if found is None:
        given = output.extras.get("features")
        if isinstance(given, list | tuple) and len(given) >= FEWEST and all(isinstance(m, Tensor) for m in given):
            given = Features(tuple(given), given[-2])
        if not isinstance(given, Features):
            raise UserError(
                f"{who} gives no feature maps; let it return DenseOutput(scores, extras={{'features': (fine, …, "
                f"coarse)}}), or {ADVICE}"
            )
        found = given

    def cut(values: Tensor) -> Tensor:
        if used == padded:
            return values
        h, w = (-(-n * u // p) for n, u, p in zip(values.shape[-2:], used, padded, strict=True))
        return values[..., :h, :w]

    kept = Features(tuple(cut(m) for m in found.maps), cut(found.content))
    return replace(output, extras={**output.extras, "features": kept})
