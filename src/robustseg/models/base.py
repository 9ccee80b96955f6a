"""The one face of every network: [0,1] pixels in, differentiable output out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models import attention, features
from robustseg.models.faults import Fault
from robustseg.models.heads import semantic
from robustseg.models.prepare import Prepare, extent
from robustseg.models.window import sliding, starts
from robustseg.ops import digest
from robustseg.ops.size import WHOLE_IMAGE, at_label_size
from robustseg.types import DenseOutput, ModelSpec, Output

__all__ = ["Adapter", "check_images", "check_once", "check_output", "fingerprint", "uncropped"]

TOLERANCE = 1e-4  # float images that went through 8 bits and back come out as -3e-8 or 1.0000001


@dataclass(frozen=True)
class Adapter:
    """A network with everything that surrounds it: preparation of the pixels before, reading of the output after.

    Call: ``images (B,C,H,W)`` float32 in [0,1] to `DenseOutput` or `QueryOutput` at the network's own size. Padding
    never reaches the output. Raises `UserError` for images outside [0,1] (looked at on the first call of a shape, so
    that no step waits for the device) and for an output that carries no gradient although the images ask for one.
    ``want={"attention"}``: what it attended to comes as ``output.extras["attention"]``, an `ops.attention.Attention`;
    ``want={"features"}``: the maps of its encoder as ``output.extras["features"]``, an `ops.style.Features`.
    """

    spec: ModelSpec
    module: nn.Module
    prepare: Prepare
    head: Callable[[Any], Output]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _seen: set[tuple[Any, ...]] = field(default_factory=set, repr=False, compare=False)

    def __call__(
        self,
        images: Tensor,
        *,
        prompts: Any = None,
        proposals: Any = None,
        want: frozenset[str] = frozenset(),
    ) -> Output:
        refuse(self.spec, prompts, proposals, want - {"attention", "features"})
        check_once(self._seen, images, channels=self.prepare.channels, device=self.device)
        x = self.prepare.resized(images)
        split = self.prepare.split
        if split and extent(x) != (split, split):
            if want:
                what = " or ".join(sorted(want))
                raise UserError(f"{self.spec.ref} sees {split}x{split} windows; no {what} map spans several of them")
            return self._split(x, split)
        return self._network(x, want)

    @property
    def gives(self) -> frozenset[str]:
        """What ``want=`` may ask for: ``attention`` where there is self-attention, ``features`` of a known encoder."""
        found = {"attention": attention.attends(self.module), "features": features.encodes(self.module)}
        return frozenset(name for name, there in found.items() if there)

    def _network(self, x: Tensor, want: frozenset[str] = frozenset()) -> Output:
        pixels = self.prepare.padded(self.prepare.normalised(x))
        output = self._passed(pixels, extent(x), want)
        check_output(output, pixels)
        if self.spec.task == WHOLE_IMAGE:
            return output  # there is no part of it that belongs to the padding
        return uncropped(output, extent(x), extent(pixels))

    def _passed(self, pixels: Tensor, used: tuple[int, int], want: frozenset[str]) -> Output:
        if "features" not in want:
            return self._with_attention(pixels, used) if want else self.head(self.module(pixels))
        who, found = f"{self.spec.ref} ({self.spec.family})", None
        rest = want - {"features"}
        if self.spec.family == "plain":
            output = self._passed(pixels, used, rest)
        else:
            with features.reading(self.module, pixels.shape[1], who) as recorded:
                output = self._passed(pixels, used, rest)
            found = recorded.features(who)
        return features.features_of(output, found, used, extent(pixels), who)

    def _with_attention(self, pixels: Tensor, used: tuple[int, int]) -> Output:
        who = f"{self.spec.ref} ({self.spec.family})"
        if self.spec.family == "plain":  # a user's own module says itself what it attends to
            output = self.head(self.module(pixels))
            found = output.extras.get("attention")
            if not isinstance(found, attention.Attention):
                raise UserError(
                    f"{who} gives no attention maps; let it return DenseOutput(scores, extras={{'attention': "
                    "robustseg.ops.attention.Attention.of(...)}), or leave them out with saga:rollout=none"
                )
        else:
            with attention.recording(self.module, pixels, who) as recorded:
                output = self.head(self.module(pixels))
            found = recorded.attention()
        return attention.attention_of(output, found, extent(pixels), used, who)

    def _split(self, x: Tensor, side: int) -> Output:
        """Windows along the long side, evenly spread, averaged (EoMT's own inference)."""

        def scores(crop: Tensor) -> Tensor:
            return semantic(self._network(crop), extent(crop)).scores

        H, W = x.shape[-2:]
        rows, columns = (starts(n, side, even=True) for n in (H, W))
        return DenseOutput(sliding(x, scores, (min(side, H), min(side, W)), rows, columns), "scores")

    def to(self, device: str | torch.device) -> Adapter:
        """The same model on another device (the module itself moves, as `nn.Module.to` does)."""
        self.module.to(device)
        return replace(self, device=torch.device(device), _seen=set())


def refuse(spec: ModelSpec, prompts: Any, proposals: Any, want: frozenset[str]) -> None:
    """Raise for what this family cannot take or give: an empty answer would be an attack that does nothing."""
    if want:
        raise UserError(f"{spec.ref} ({spec.family}) cannot give {', '.join(sorted(want))}; want= must be empty")
    if prompts is not None or proposals is not None:
        name = "prompts" if prompts is not None else "proposals"
        raise UserError(f"{spec.ref} ({spec.family}) takes no {name}")


def check_images(images: Tensor, *, channels: int = 3, device: torch.device | None = None) -> None:
    """Raise `UserError`, with the likely fix, unless images are ``(B,channels,H,W)`` float32 in [0,1].

    Waits for the device once: call it at the door, not in a loop.
    """
    if not isinstance(images, Tensor):
        raise UserError(f"images are {type(images).__name__}; wanted a tensor (B,{channels},H,W), float32 in [0,1]")
    if images.dtype == torch.uint8:
        raise UserError("images are 8-bit integers; convert them with images.float() / 255")
    if images.dtype not in (torch.float32, torch.float64):
        raise UserError(f"images are {images.dtype}; wanted float32 in [0,1]: images.float()")
    shape = tuple(images.shape)
    if images.ndim == 3:
        raise UserError(f"images have shape {shape}; a batch dimension is missing: images[None]")
    if images.ndim != 4 or shape[1] != channels:
        hint = "; channels stand last: images.permute(0, 3, 1, 2)" if shape[-1] == channels else ""
        raise UserError(f"images have shape {shape}; wanted (B,{channels},H,W){hint}")
    if device is not None and images.device.type != device.type:
        raise UserError(f"images are on {images.device} but the model is on {device}; move one with .to()")
    if not images.numel():
        raise UserError(f"images have shape {shape}: nothing to look at")
    low, high = (v.item() for v in images.detach().aminmax())
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return
    if low != low or high != high:
        raise UserError("images hold NaN; look at the reader of the data")
    fix = (
        "images / 255" if low >= 0 and high > 2 else "give raw pixels; normalisation belongs to the model (mean=, std=)"
    )
    raise UserError(f"image values lie in [{low:.4g}, {high:.4g}], not in [0,1]: {fix}")


def check_once(seen: set[tuple[Any, ...]], images: Tensor, *, channels: int, device: torch.device) -> None:
    """:func:`check_images` on the first call of a type, device and shape ``(B,C,H,W)``, noted in ``seen``."""
    key = (images.dtype, images.device, images.ndim, *images.shape[1:])
    if key not in seen:
        check_images(images, channels=channels, device=device)
        seen.add(key)


def check_output(output: Output, pixels: Tensor) -> None:
    """Raise `Fault` where an output cannot belong to its pixels or be attacked. Looks at shapes and flags only."""
    dense = isinstance(output, DenseOutput)
    scores = output.scores if dense else output.mask_logits
    if not scores.is_floating_point():
        raise Fault("argmaxed-output", f"the scores are {scores.dtype}: an argmax has no gradient; return it before")
    B, H, W = len(pixels), *pixels.shape[-2:]
    h, w = scores.shape[-2:]
    if len(scores) != B:
        raise Fault("wrong-size", f"the output holds {len(scores)} images of a batch of {B}")
    if abs(h * W - w * H) > 2 * max(H, W):  # two cells of rounding
        raise Fault(
            "wrong-size",
            f"the output is {h}x{w} for an input of {H}x{W}: another shape, so it would be stretched over the labels",
        )
    asked = pixels.requires_grad and torch.is_grad_enabled()
    if asked and not (scores.requires_grad or (not dense and output.class_logits.requires_grad)):
        raise Fault(
            "gradient-missing",
            "the output has no gradient with respect to the image (detached, under no_grad, argmaxed or rounded); "
            "return the scores as the network computed them",
        )


def uncropped(output: Output, size: tuple[int, int], padded: tuple[int, int]) -> Output:
    """The part of the output that belongs to the image and not to its padding; the same output where none was added.

    Scores are brought to the padded size first (bilinear), then cut, so that padding stays outside to the pixel.
    """
    if size == padded:
        return output
    H, W = size
    if isinstance(output, DenseOutput):
        return replace(output, scores=at_label_size(output.scores, padded)[..., :H, :W])
    return replace(output, mask_logits=at_label_size(output.mask_logits, padded)[..., :H, :W])


def fingerprint(module: nn.Module, facts: Mapping[str, Any]) -> str:
    """Hash of the weights and of JSON-able facts (configuration, preparation): the same in every process."""
    return digest.of_json({"facts": facts, "weights": digest.tensors(module.state_dict())})
