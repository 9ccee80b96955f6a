"""What all classifiers share: one score a class of the whole image, class names, resize and centre crop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models.base import Adapter, fingerprint
from robustseg.models.faults import Fault
from robustseg.models.heads import DenseHead, pick
from robustseg.models.prepare import Prepare, Resize, extent
from robustseg.models.refs import Options
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import ModelSpec

__all__ = ["Cropped", "WholeImage", "adapter", "build", "centre", "distinct", "imagenet", "sized"]


@dataclass(frozen=True)
class WholeImage:
    """Picks ``(B,C)`` scores out of what a classifier returns and gives them a pixel: ``(B,C,1,1)``.

    ``output`` picks the scores where they are neither the tensor itself nor ``.logits``. For ``DenseHead(output=)``.
    """

    output: Callable[[Any], Any] | None = None

    def __call__(self, raw: Any) -> Any:
        value = self.output(raw) if self.output else pick(raw)
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape[2:] == (1, 1):
            return value
        if value.ndim != 2:
            raise Fault(
                "wrong-size",
                f"the model returned shape {tuple(value.shape)}; a classifier gives one score a class, (B,C)",
            )
        return value[..., None, None]


@dataclass(frozen=True)
class Cropped(Prepare):
    """As ``Prepare``, and after the resize only the middle ``crop = (h,w)`` is seen; nothing else has a gradient."""

    crop: tuple[int, int] = (1, 1)

    def resized(self, images: Tensor) -> Tensor:
        """Images at the network's size, then their middle."""
        x = super().resized(images)
        (H, W), (h, w) = extent(x), self.crop
        if h > H or w > W:
            raise UserError(f"an image of {H}x{W} is smaller than the {h}x{w} that the classifier sees; add ?size=HxW")
        top, left = round((H - h) / 2), round((W - w) / 2)
        return x[..., top : top + h, left : left + w]


def centre(
    crop: Sequence[int], shortest: int, normalisation: tuple[Any, Any], interpolation: str = "bilinear"
) -> Prepare:
    """The usual evaluation of ImageNet classifiers: the shorter side to ``shortest``, then the middle ``crop``."""
    mean, std = normalisation
    mode: Any = interpolation if interpolation in ("bilinear", "bicubic", "nearest") else "bilinear"
    resize = Resize(shortest=shortest, interpolation=mode)
    return Cropped(tuple(map(float, mean)), tuple(map(float, std)), resize=resize, crop=(int(crop[0]), int(crop[1])))


def sized(options: Options, usual: Prepare) -> Prepare:
    """The library's preparation, changed by ``mean=, std=, norm=`` and ``size=HxW|native`` of the reference."""
    mean, std = options.normalisation() or (usual.mean, usual.std)
    size = options.size()
    if size is None and (mean, std) == (usual.mean, usual.std):
        return usual
    if size is None:
        assert isinstance(usual, Cropped)
        return Cropped(mean, std, resize=usual.resize, crop=usual.crop)
    resize = Resize(height=size[0], width=size[1]) if isinstance(size, tuple) else None
    return Prepare(mean, std, resize=resize)


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names without doubles: ImageNet has two cranes, a bird and a machine.

    >>> distinct(["crane", "owl", "crane"])
    ('crane', 'owl', 'crane (2)')
    """
    seen: set[str] = set()
    found = []
    for place, name in enumerate(names):
        found.append(f"{name} ({place})" if name in seen else name)
        seen.add(name)
    return tuple(found)


def imagenet(channels: int, options: Options) -> tuple[str, ...]:
    """The classes named in the reference, else those of ImageNet-1k; UserError where neither can be meant."""
    given = options.classes()
    if given is None and channels != 1000:
        raise UserError(f"{options.ref}: the weights have {channels} classes; name them with &classes=FILE")
    if given is None:
        from torchvision.models import ResNet18_Weights

        given = distinct(ResNet18_Weights.DEFAULT.meta["categories"])
    if len(given) != channels:
        raise UserError(f"{options.ref}: the weights have {channels} classes but {len(given)} are named")
    return given


def build(make: Callable[[], nn.Module], text: str) -> nn.Module:
    """An untrained network of a library; whatever the library refuses is one line."""
    try:
        return make()
    except Exception as error:
        raise UserError(f"{text} cannot be built ({' '.join(str(error).split())[:200]})") from error


def adapter(
    module: nn.Module, classes: Sequence[str], prepare: Prepare, text: str, family: str, facts: Mapping[str, Any]
) -> Adapter:
    """The classifier behind the one face, in eval mode and float32."""
    names = tuple(classes)
    digest = fingerprint(module, {**facts, "prepare": asdict(prepare), "classes": names})
    spec = ModelSpec(text, WHOLE_IMAGE, names, digest, family)
    return Adapter(spec, module.eval().to(torch.float32), prepare, DenseHead(len(names), output=WholeImage()))
