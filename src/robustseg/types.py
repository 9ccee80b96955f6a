"""What travels through the library: samples, targets, outputs, views, results. Imports torch only.

Conventions, everywhere: images are float32 RGB in [0, 1], ``(B, 3, H, W)``; labels int64 ``(B, H, W)`` with one
explicit ignore value; what belongs to an image is a ``(B,)`` tensor, so that batch size can never change a result.
A classifier is a segmenter of one pixel: its labels are ``(B, 1, 1)``, its scores ``(B, C, 1, 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from robustseg.errors import UserError

__all__ = [
    "AttackResult",
    "DataSet",
    "DenseOutput",
    "EnsembleOutput",
    "EnsembleTarget",
    "Model",
    "ModelSpec",
    "Output",
    "QueryOutput",
    "Randomised",
    "RegionOutput",
    "Sample",
    "SegmentTarget",
    "Segments",
    "SemanticTarget",
    "UserError",
    "View",
]


# ------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True)
class Segments:
    """The segments of one image: ``masks (S,H,W)`` bool, ``categories (S,)`` int64 class indices, ``crowd (S,)`` bool.

    Panoptic truth never overlaps; instance truth may. A crowd is a group nobody counted: neither a hit nor a miss.
    """

    masks: Tensor
    categories: Tensor
    crowd: Tensor

    def __len__(self) -> int:
        return len(self.categories)


@dataclass(frozen=True)
class Sample:
    """One image of a data set with whatever truth it has.

    Shapes: ``image (3,H,W)`` float32 in [0,1]; ``labels (H,W)`` int64, data-set indices plus the ignore value;
    ``instances (H,W)`` int32, 0 = no object; ``regions`` named boolean masks ``(H,W)`` (e.g. ``"clothing"``);
    ``segments``: segment truth that labels and instances cannot say (crowds, overlaps); ``tasks.truth`` reads either.
    """

    id: str
    image: Tensor
    labels: Tensor | None = None
    instances: Tensor | None = None
    regions: Mapping[str, Tensor] = field(default_factory=dict)
    segments: Segments | None = None


@runtime_checkable
class DataSet(Protocol):
    """What a reader yields: samples by position, with stable ids, class names and one ignore value.

    Optional: ``things`` (names of the countable classes), ``tasks`` (what its truth can score; default: semantic) and
    ``detections`` (how many an image are judged for AP; default: COCO's 100).
    """

    @property
    def ref(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def ignore(self) -> int: ...
    @property
    def ids(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    def digest(self) -> str:
        """Content hash of the images and labels; part of the run key."""
        ...


@dataclass(frozen=True)
class SemanticTarget:
    """Per-pixel truth: ``labels (B,H,W)`` int64 in *model* class indices; ``ignore`` pixels have no influence.

    Of a classifier ``(B,1,1)``: one label an image (``ops.size.label_size``).
    """

    labels: Tensor
    ignore: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, keep: Tensor) -> SemanticTarget:
        """The images of the batch at the indices ``keep``."""
        return SemanticTarget(self.labels[keep], self.ignore)

    def to(self, device: torch.device | str) -> SemanticTarget:
        """The same target on a device."""
        return SemanticTarget(self.labels.to(device), self.ignore)

    # asked for in every step of an attack, and always the same: kept from the first time on

    @cached_property
    def valid(self) -> Tensor:
        """``(B,H,W)`` bool: the pixels that count."""
        return self.labels != self.ignore

    @cached_property
    def index(self) -> Tensor:
        """``(B,H,W)`` int64: the labels, 0 where ignored, so that one can gather with them."""
        return torch.where(self.valid, self.labels, 0)

    @cached_property
    def count(self) -> Tensor:
        """``(B,)`` float: valid pixels per image, at least 1."""
        return self.valid.flatten(1).sum(1).clamp_min(1).float()


@dataclass(frozen=True)
class SegmentTarget(SemanticTarget):
    """Truth with segments: a ``SemanticTarget`` that also knows what belongs together.

    Shapes: ``masks (B,S,H,W)`` bool; ``categories (B,S)`` int64, -1 where an image has fewer than S segments; ``crowd
    (B,S)`` bool; ``things (C,)`` bool, the countable classes; ``prompts`` for models that are asked for one segment at
    a time: float boxes ``(B,S,4)`` (x0,y0,x1,y1) in pixels, or points ``(B,S,2)``, column and row of a pixel. What lies
    in no segment is void.
    """

    masks: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, 0, dtype=torch.bool))
    categories: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    crowd: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.bool))
    things: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    prompts: Tensor | None = None

    def select(self, keep: Tensor) -> SegmentTarget:
        """The images of the batch at the indices ``keep``."""
        prompts = None if self.prompts is None else self.prompts[keep]
        return SegmentTarget(
            self.labels[keep], self.ignore, self.masks[keep], self.categories[keep], self.crowd[keep], self.things,
            prompts,
        )  # fmt: skip

    def to(self, device: torch.device | str) -> SegmentTarget:
        """The same target on a device."""
        prompts = None if self.prompts is None else self.prompts.to(device)
        return SegmentTarget(
            self.labels.to(device), self.ignore, self.masks.to(device), self.categories.to(device),
            self.crowd.to(device), self.things.to(device), prompts,
        )  # fmt: skip

    @cached_property
    def counted(self) -> Tensor:
        """``(B,S)`` bool: real segments that count, neither padding nor crowd."""
        return (self.categories >= 0) & ~self.crowd


@dataclass(frozen=True)
class EnsembleTarget(SemanticTarget):
    """One truth in the class indices of each of several models, ``members``; its own labels are the first model's."""

    members: tuple[SemanticTarget, ...] = ()

    def select(self, keep: Tensor) -> EnsembleTarget:
        """The images of the batch at the indices ``keep``."""
        return EnsembleTarget(self.labels[keep], self.ignore, tuple(m.select(keep) for m in self.members))


# ------------------------------------------------------------------------------------------------ models


@dataclass(frozen=True)
class DenseOutput:
    """Per-pixel class scores ``(B,C,h,w)`` at the model's native size; ``(B,C,1,1)`` of a classifier.

    ``kind="logits"``: softmax over C gives probabilities. ``kind="scores"``: non-negative scores that are *not* logits
    (Mask2Former's semantic map); losses take their logarithm.
    """

    scores: Tensor
    kind: Literal["logits", "scores"] = "logits"
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QueryOutput:
    """Mask classification: ``class_logits (B,Q,K+1)``, the last class is "no object"; ``mask_logits (B,Q,h,w)``."""

    class_logits: Tensor
    mask_logits: Tensor
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RegionOutput:
    """Two-stage detection (Mask R-CNN), everything differentiable, padded to R proposals an image, before any NMS.

    Shapes: ``objectness (B,A)`` logits and ``anchors (B,A,4)`` of the first stage, ``box_deltas (B,A,4)``;
    ``proposals (B,R,4)`` boxes (x0,y0,x1,y1) in image pixels, no gradient; ``present (B,R)`` bool, False = padding;
    ``class_logits (B,R,K)``, class 0 = background; ``boxes (B,R,K,4)`` refined, in image pixels; ``mask_logits
    (B,R,K,m,m)``, each class's mask over its proposal's own box; ``size`` the (H,W) of the image.
    """

    objectness: Tensor
    anchors: Tensor
    box_deltas: Tensor
    proposals: Tensor
    present: Tensor
    class_logits: Tensor
    boxes: Tensor
    mask_logits: Tensor
    size: tuple[int, int]
    extras: Mapping[str, Any] = field(default_factory=dict)


Output: TypeAlias = DenseOutput | QueryOutput | RegionOutput


@dataclass(frozen=True)
class EnsembleOutput:
    """What several models say of the same images, in their order."""

    members: tuple[Output, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without running it. ``digest`` is the hash of weights and configuration.

    ``task``: "semantic", "universal" (mask classification), "instance", "prompted" or "classification" (one label an
    image); ``tasks``: what can be scored;
    ``things``: names of its countable classes, where it knows them (else the data say); ``prompt``: "box" or "point",
    what a prompted model is asked with.
    """

    ref: str
    task: str
    classes: tuple[str, ...]
    digest: str
    family: str = "plain"
    things: tuple[str, ...] = ()
    prompt: str = "box"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose scores its output can give."""
        return ("semantic", "instance", "panoptic") if self.task == "universal" else (self.task,)


@runtime_checkable
class Model(Protocol):
    """A user's network behind one face: [0,1] pixels in, differentiable output out."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def module(self) -> torch.nn.Module: ...
    def __call__(
        self,
        images: Tensor,
        *,
        prompts: Tensor | None = None,
        proposals: Tensor | None = None,
        want: frozenset[str] = frozenset(),
    ) -> Output: ...


@runtime_checkable
class Randomised(Protocol):
    """A model that draws at random before it answers; of a call, ``draws (B, randoms)`` in [0,1) say what it draws.

    ``randoms``: how many numbers an image takes (0: it draws nothing); ``samples``: draws a step that an attack takes
    the mean over, 0 for one that never changes.
    """

    @property
    def randoms(self) -> int: ...
    @property
    def samples(self) -> int: ...
    def __call__(self, images: Tensor, *, draws: Tensor | None = None) -> Output: ...


# ------------------------------------------------------------------------------------------------ attacks


@dataclass(frozen=True)
class View:
    """What an objective sees of one iterate: clean images, current images, the attacker's variable, the output."""

    x0: Tensor
    x: Tensor
    theta: Tensor
    output: Output | EnsembleOutput


State: TypeAlias = dict[str, Tensor]  # every leaf has leading dimension B, so that solved images can leave the batch
PlainObjective: TypeAlias = Callable[[Output, SemanticTarget], Tensor]  # -> (B,), to be maximised


@dataclass(frozen=True)
class AttackResult:
    """Adversarial images and what they cost.

    Shapes: ``images (B,3,H,W)``; ``score (B,)`` of the returned iterate (higher is better for the attacker; the share
    of counted pixels that are wrong, or that reach the goal); ``forwards, backwards (B,)`` int64, really spent;
    ``trace (B,K)`` best score after 0, 1, 2 … gradients (NaN while a larger radius was searched; constant once an
    image had left the batch); ``goal (B,H,W)`` the label map a targeted attack aims at, else None; ``applicable (B,)``
    False where the attack has nothing to do on an image, whose score is then NaN and whose pixels are untouched;
    ``fault (B,)`` uint8, 1 where a gradient or the objective was not finite, 2 where every gradient was exactly zero
    (0 on solved images: they need none). The images of such a result say nothing about the model's robustness.
    ``goals``: where several models were attacked at once, the goal of each in its own class indices.
    """

    images: Tensor
    score: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: Tensor
    goal: Tensor | None = None
    applicable: Tensor | None = None
    fault: Tensor | None = None
    goals: tuple[Tensor | None, ...] = ()

    def __iter__(self) -> Iterator[Tensor]:
        """Unpacks as ``images, score, forwards, backwards``."""
        return iter((self.images, self.score, self.forwards, self.backwards))
