"""Which outputs an attack can work on, and how it looks at a model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from torch import Tensor

from robustseg.attacks.looks import Looks
from robustseg.attacks.randomness import DRAWS, over_draws
from robustseg.catalog.entries import Entry
from robustseg.errors import UserError
from robustseg.ops.size import WHOLE_IMAGE, label_size
from robustseg.tasks.semantic import dense
from robustseg.types import Model, Output, Randomised, SegmentTarget, SemanticTarget, State

__all__ = ["draws", "forward", "kind", "randoms", "view"]

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


def view(entry: Entry, model: Model, options: Mapping[str, str] = MappingProxyType({})) -> str:
    """How the attack looks at this model: at what it gives, or at the dense scores that its queries amount to.

    Raises UserError where the attack, or one of the options given, can do nothing with what the model gives.
    """
    if entry.minimal and randoms(model):
        raise UserError(
            f"{entry.name} looks for the smallest norm that fools one network, and this one draws at random; leave it "
            "out, or take the defence that draws away"
        )
    if entry.spatial and model.spec.task == WHOLE_IMAGE:
        raise UserError(
            f"{entry.name} changes part of a label map, and {model.spec.ref} gives one label an image; "
            "use e.g. pgd:target=class:NAME or pgd:target=least-likely"
        )
    given = kind(model)
    look = "dense" if given == "query" and "query" not in entry.output else given
    if look in entry.output:
        _check(entry, look, options)
        return look
    wanted = " or ".join(WORDS[o] for o in entry.output)
    raise UserError(
        f"{entry.name} attacks {wanted}; {model.spec.ref} gives {WORDS[given]}; `robustseg list attacks` says what fits"
    )


def _check(entry: Entry, look: str, options: Mapping[str, str]) -> None:
    """An option that changes nothing would be believed to have done something."""
    for key, value in options.items():
        fits = entry.only.get(key, (look,))
        if look not in fits and value != entry.defaults.get(key):
            wanted = " or ".join(WORDS[o] for o in fits)
            raise UserError(f"{entry.name}: {key}= is for models that give {wanted}; leave it out")


def randoms(model: Model) -> int:
    """How many random numbers the model takes for an image."""
    return model.randoms if isinstance(model, Randomised) else 0


def draws(model: Model, together: bool) -> Callable[[Looks], Looks]:
    """From looks to looks at a model that draws; ``together``: one draw each, since the looks draw anyway."""

    def seen(looks: Looks) -> Looks:
        samples = getattr(model, "samples", 0)
        return over_draws(randoms(model), min(samples, 1) if together else samples, looks)

    return seen


def forward(
    model: Model, look: str, size: tuple[int, int], want: frozenset[str] = frozenset()
) -> Callable[[Tensor, SemanticTarget, State], Output]:
    """What the loop calls: images, target and the objective's state to the output in the form of ``look``.

    ``size``: that of the images; ``want``: what outputs shall carry besides. Dense scores come at label size,
    everything else as the model gives it. Prompts are the target's; proposals are frozen where the state holds some,
    and what a randomised model draws is what the state says.
    """

    labels = label_size(model.spec.task, size)
    draws_itself, ask = bool(randoms(model)), cast(Any, model)  # `draws` is no option of other models

    def asked(images: Tensor, state: State, **more: Any) -> Output:
        return ask(images, draws=state.get(DRAWS), **more) if draws_itself else ask(images, **more)

    def as_dense(images: Tensor, target: SemanticTarget, state: State) -> Output:
        return dense(asked(images, state, want=want) if want else asked(images, state), labels)

    def as_regions(images: Tensor, target: SemanticTarget, state: State) -> Output:
        more = {"want": want} if want else {}
        return asked(images, state, proposals=state.get("proposals"), **more)

    def as_prompted(images: Tensor, target: SemanticTarget, state: State) -> Output:
        assert isinstance(target, SegmentTarget)
        return asked(images, state, prompts=target.prompts)

    def as_given(images: Tensor, target: SemanticTarget, state: State) -> Output:
        return asked(images, state, want=want) if want else asked(images, state)

    return {"dense": as_dense, "region": as_regions, "prompted": as_prompted, "query": as_given}[look]
