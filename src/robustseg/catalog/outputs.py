"""Which outputs an attack can work on, and how it looks at a model's."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robustseg.catalog.entries import Entry
from robustseg.errors import UserError
from robustseg.ops.size import WHOLE_IMAGE, label_size
from robustseg.tasks.semantic import dense
from robustseg.types import Model, Output, SegmentTarget, SemanticTarget, State

__all__ = ["forward", "kind", "view"]

KINDS = {"semantic": "dense", "universal": "query", "instance": "region", "prompted": "prompted"}
WORDS = {
    "dense": "scores of every pixel",
    "query": "mask classification (Mask2Former)",
    "region": "regions (Mask R-CNN)",
    "prompted": "prompted masks (SAM)",
}


def kind(model: Model) -> str:
    """What a model gives: ``dense``, ``query``, ``region`` or ``prompted``."""
    return KINDS.get(model.spec.task, "dense")


def view(entry: Entry, model: Model) -> str:
    """How the attack looks at this model: at what it gives, or at the dense scores that its queries amount to.

    Raises UserError where the attack can do nothing with what the model gives.
    """
    if entry.spatial and model.spec.task == WHOLE_IMAGE:
        raise UserError(
            f"{entry.name} changes part of a label map, and {model.spec.ref} gives one label an image; "
            "use e.g. pgd:target=class:NAME or pgd:target=least-likely"
        )
    given = kind(model)
    if given in entry.output:
        return given
    if given == "query" and "dense" in entry.output:
        return "dense"
    wanted = " or ".join(WORDS[o] for o in entry.output)
    raise UserError(
        f"{entry.name} attacks {wanted}; {model.spec.ref} gives {WORDS[given]}; `robustseg list attacks` says what fits"
    )


def forward(
    model: Model, look: str, size: tuple[int, int], want: frozenset[str] = frozenset()
) -> Callable[[Tensor, SemanticTarget, State], Output]:
    """What the loop calls: images, target and the objective's state to the output in the form of ``look``.

    ``size``: that of the images; ``want``: what dense outputs shall carry besides. Dense scores come at label size,
    everything else as the model gives it. Prompts are the target's; proposals are frozen where the state holds some.
    """

    labels = label_size(model.spec.task, size)

    def as_dense(images: Tensor, target: SemanticTarget, state: State) -> Output:
        return dense(model(images, want=want) if want else model(images), labels)

    def as_regions(images: Tensor, target: SemanticTarget, state: State) -> Output:
        return model(images, proposals=state.get("proposals"))

    def as_prompted(images: Tensor, target: SemanticTarget, state: State) -> Output:
        assert isinstance(target, SegmentTarget)
        return model(images, prompts=target.prompts)

    def as_given(images: Tensor, target: SemanticTarget, state: State) -> Output:
        return model(images)

    return {"dense": as_dense, "region": as_regions, "prompted": as_prompted, "query": as_given}[look]
