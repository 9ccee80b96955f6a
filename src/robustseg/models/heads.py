"""From whatever a network returns to an `Output`: which tensor, how many classes, logits or probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.models.faults import Fault
from robustseg.ops.query import semantic_scores
from robustseg.ops.size import at_label_size
from robustseg.types import DenseOutput, Output, QueryOutput

__all__ = ["DenseHead", "QueryHead", "pick", "semantic"]


@dataclass(frozen=True)
class DenseHead:
    """Reads per-pixel scores.

    ``output`` picks the tensor out of what the module returned (default: the tensor itself, ``["out"]`` or
    ``.logits``). ``activation="sigmoid"``: channels are independent; with one channel fewer than there are classes,
    class 0 is the background with logit 0, so that a foreground wins where its probability exceeds one half: one
    logit ``z`` becomes ``[0, z]``, whose softmax is ``[1 - sigmoid(z), sigmoid(z)]``. ``kind="scores"``: the module
    already returns probabilities.
    """

    classes: int
    activation: Literal["softmax", "sigmoid"] = "softmax"
    kind: Literal["logits", "scores"] = "logits"
    output: Callable[[Any], Any] | None = None

    def __call__(self, raw: Any) -> Output:
        value = self.output(raw) if self.output else pick(raw)
        if isinstance(value, DenseOutput | QueryOutput):
            return value
        if not isinstance(value, Tensor):
            raise UserError(f"output= returned {type(value).__name__}; return a tensor (B,C,h,w) or a DenseOutput")
        if value.is_floating_point() and value.ndim == 3:  # (B,H,W)
            if self.activation != "sigmoid" or self.classes != 2:
                raise Fault("class-count-mismatch", _no_axis(tuple(value.shape), self.classes))
            value = value.unsqueeze(1)
        if not value.is_floating_point():
            raise Fault(
                "argmaxed-output",
                f"the model returned a label map ({str(value.dtype).removeprefix('torch.')}, shape "
                f"{tuple(value.shape)}), which has no gradient; return the class scores (B,C,h,w) before the argmax",
            )
        if value.ndim != 4:
            raise Fault("wrong-size", f"the model returned shape {tuple(value.shape)}; wanted (B,C,h,w)")
        return DenseOutput(self._classes(value.float() if value.dtype.itemsize < 4 else value), self.kind)

    def _classes(self, scores: Tensor) -> Tensor:
        C = scores.shape[1]
        if self.activation == "sigmoid" and self.classes - 1 == C:
            if self.kind == "logits":
                return torch.cat([torch.zeros_like(scores[:, :1]), scores], 1)
            if C == 1:
                return torch.cat([1 - scores, scores], 1)
            raise UserError("several foreground probabilities without a background: return the logits instead")
        if self.classes != C:
            hint = "; one logit needs activation='sigmoid'" if C == 1 and self.activation == "softmax" else ""
            raise Fault(
                "class-count-mismatch",
                f"the model returns {C} channels but {self.classes} classes are named{hint}; correct classes=",
            )
        return scores


@dataclass(frozen=True)
class QueryHead:
    """Reads ``class_queries_logits`` and ``masks_queries_logits`` of the MaskFormer family."""

    classes: int

    def __call__(self, raw: Any) -> QueryOutput:
        K = raw.class_queries_logits.shape[-1] - 1
        if self.classes != K:
            raise Fault("class-count-mismatch", f"the queries have {K} classes but {self.classes} are named")
        return QueryOutput(raw.class_queries_logits, raw.masks_queries_logits)


def semantic(output: Output, size: tuple[int, int]) -> DenseOutput:
    """Per-pixel scores of either kind of output at ``size``; masks are brought there before their sigmoid."""
    if isinstance(output, DenseOutput):
        return replace(output, scores=at_label_size(output.scores, size))
    return DenseOutput(semantic_scores(output.class_logits, at_label_size(output.mask_logits, size)), "scores")


def _no_axis(shape: tuple[int, ...], classes: int) -> str:
    binary = "; if they are one logit a pixel, say activation='sigmoid' and return logits.unsqueeze(1)"
    return (
        f"the model returned numbers of shape {shape} without an axis of classes{binary if classes == 2 else ''}; "
        f"wanted are the class scores (B,{classes},h,w), before any argmax"
    )


def pick(raw: Any) -> Any:
    """The tensor of scores in whatever a network returns: itself, ``["out"]``, ``["logits"]`` or ``.logits``."""
    if isinstance(raw, Tensor | DenseOutput | QueryOutput):
        return raw
    if isinstance(raw, Mapping):
        for key in ("out", "logits"):
            if isinstance(raw.get(key), Tensor):
                return raw[key]
        found = f"a dictionary with {', '.join(map(repr, raw))}"
    elif isinstance(getattr(raw, "logits", None), Tensor):
        return raw.logits
    elif isinstance(raw, list | tuple):
        found = f"a {type(raw).__name__} of {len(raw)}"
    else:
        found = f"a {type(raw).__name__}"
    raise UserError(f"the model returned {found}; say which part holds the scores, e.g. output=lambda r: r[0]")
