"""The full form of an objective, and how a plain function becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from robustseg.types import Output, PlainObjective, SemanticTarget, State, UserError, View

__all__ = ["Constants", "Objective", "from_plain"]

Constants = Mapping[str, Tensor]
Init = Callable[[View, SemanticTarget, Constants], State]
Value = Callable[[View, SemanticTarget, State, float], tuple[dict[str, Tensor], State]]


def stateless(view: View, target: SemanticTarget, constants: Constants) -> State:
    """No state to carry."""
    return {}


@dataclass(frozen=True)
class Objective:
    """What an attack maximises: ``init(clean_view, target, constants) -> state`` and
    ``value(view, target, state, progress) -> ({name: (B,)}, state)``, with progress rising from 0 to 1 in a stage.

    ``needs_clean``: ``init`` looks at the clean output, which costs one forward; otherwise that view's output is zero.
    """

    name: str
    value: Value
    init: Init = stateless
    needs_clean: bool = False


def from_plain(function: PlainObjective, name: str | None = None) -> Objective:
    """Lift ``(output, target) -> (B,)`` into the full form; the output arrives at label size.

    Raises: UserError where the function gives something else, or a value that no gradient leads back from.

    >>> import torch; from robustseg.types import DenseOutput, View
    >>> o = from_plain(lambda output, target: output.scores.flatten(1).sum(1), "sum")
    >>> z = torch.ones(2, 3, 1, 1)
    >>> o.value(View(z, z, z, DenseOutput(z)), None, {}, 0.0)[0]
    {'sum': tensor([3., 3.])}
    """
    label = name or getattr(function, "__name__", type(function).__name__)

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        values = function(cast(Output, view.output), target)  # a member of an ensemble sees its own output
        if not isinstance(values, Tensor) or values.shape != view.x.shape[:1]:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise UserError(f"objective {label} gave {got}; it must give one value an image, a tensor ({len(view.x)},)")
        if view.theta.requires_grad and not values.requires_grad:
            raise UserError(
                f"objective {label} has no gradient; compute it from output.scores, without argmax or detach"
            )
        return {label: values}, state

    return Objective(label, value)
