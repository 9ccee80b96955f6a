"""Sliding windows for large images: overlapping crops, scores averaged, memory of one window at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robustseg.errors import UserError
from robustseg.models.heads import semantic
from robustseg.models.prepare import extent
from robustseg.types import DenseOutput, ModelSpec

if TYPE_CHECKING:
    from robustseg.models.base import Adapter

__all__ = ["Windowed", "sliding", "starts"]


def starts(length: int, window: int, stride: int | None = None, *, even: bool = False) -> list[int]:
    """Where windows begin on an axis so that they cover it: every ``stride``, the last one flush with the end.

    ``even``: as few windows as cover the axis, evenly spread.

    >>> starts(10, 4, 3), starts(10, 4, even=True), starts(3, 4, 2)
    ([0, 3, 6], [0, 3, 6], [0])
    """
    if length <= window:
        return [0]
    if even:
        n = -(-length // window)
        return [int(i * (window - (n * window - length) / (n - 1))) for i in range(n)]
    stride = stride or window
    return [*range(0, length - window, stride), length - window]


def sliding(
    images: Tensor,
    scores: Callable[[Tensor], Tensor],
    window: tuple[int, int],
    rows: Sequence[int],
    columns: Sequence[int],
) -> Tensor:
    """Average of ``scores(crop)`` over the windows that begin at ``rows`` x ``columns``: ``(B,K,H,W)``.

    ``scores`` maps a crop ``(B,C,h,w)`` to ``(B,K,h,w)``. Differentiable; a window's activations are computed again
    in the backward pass instead of kept, so memory does not grow with the image. Every pixel must be covered.
    """
    h, w = window
    H, W = images.shape[-2:]
    recompute = images.requires_grad and torch.is_grad_enabled() and len(rows) * len(columns) > 1
    total: Tensor | None = None
    count = images.new_zeros(H, W)
    for y in rows:
        for x in columns:
            crop = images[..., y : y + h, x : x + w]
            part = checkpoint(scores, crop, use_reentrant=False) if recompute else scores(crop)
            if total is None:
                total = part.new_zeros(*part.shape[:2], H, W)
            total[..., y : y + h, x : x + w] += part
            count[y : y + h, x : x + w] += 1
    assert total is not None
    return total / count


@dataclass(frozen=True)
class Windowed:
    """A model that sees large images through square windows of ``side`` pixels.

    Windows begin every ``stride`` pixels. Scores are averaged where windows overlap: logits stay logits; mask
    classification becomes scores.
    """

    inner: Adapter
    side: int
    stride: int
    spec: ModelSpec  # the inner model's, with the window in the digest
    module: nn.Module
    device: torch.device

    @classmethod
    def of(cls, inner: Adapter, side: int, stride: int | None = None) -> Windowed:
        """``side`` in pixels of the image; half overlapping unless ``stride`` is given."""
        stride = side // 2 if stride is None else stride
        if side < 2 or not 1 <= stride <= side:
            raise UserError(f"window {side} with stride {stride}: the window must be at least 2, the stride 1..window")
        spec = replace(inner.spec, digest=f"{inner.spec.digest}-w{side}s{stride}")
        return cls(inner, side, stride, spec, inner.module, inner.device)

    @property
    def gives(self) -> frozenset[str]:
        """What the inner model gives; asked of windows, it is refused with the reason."""
        return self.inner.gives

    def to(self, device: str | torch.device) -> Windowed:
        """The same model on another device."""
        return Windowed.of(self.inner.to(device), self.side, self.stride)

    def __call__(
        self, images: Tensor, *, prompts: Any = None, proposals: Any = None, want: frozenset[str] = frozenset()
    ) -> DenseOutput:
        kind = "logits"
        if want:
            what = " or ".join(sorted(want))
            raise UserError(f"{self.spec.ref} sees windows (--window); no {what} map spans several of them")

        def scores(crop: Tensor) -> Tensor:
            nonlocal kind
            output = semantic(self.inner(crop, prompts=prompts, proposals=proposals, want=want), extent(crop))
            kind = output.kind
            return output.scores

        H, W = images.shape[-2:]
        rows, columns = (starts(n, self.side, self.stride) for n in (H, W))
        total = sliding(images, scores, (min(self.side, H), min(self.side, W)), rows, columns)
        return DenseOutput(total, kind)  # type: ignore[arg-type]
