"""What going wrong means for mask classification: objectives by the name of their attack, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from robustseg.objectives.base import Objective
from robustseg.objectives.queries import gates, shapes
from robustseg.objectives.queries.price import harm, pq_price
from robustseg.objectives.queries.targeted import displace, hidden, hidden_and_kept, hide, moved_and_kept
from robustseg.objectives.queries.training import training_loss
from robustseg.objectives.regions.ranking import ap_rank
from robustseg.objectives.regions.ranking import harm as ap_harm
from robustseg.types import UserError

__all__ = ["OBJECTIVES", "SCORES", "harm"]

Params = Mapping[str, str]


def _instance(params: Params) -> int | None:
    return _whole(params, "instance") if "instance" in params else None


def _whole(params: Params, name: str) -> int:
    try:
        return int(params[name])
    except ValueError:
        raise UserError(f"{name}={params[name]} is not a whole number") from None


def _share(params: Params, name: str, usual: str) -> float:
    return float(Fraction(params.get(name, usual)))  # 1/3 has no other spelling


def _displace(params: Params) -> Objective:
    if "class" not in params and "instance" not in params:
        raise UserError("displace moves segments and must know which: give class=NAME, or instance=N")
    return displace(_whole(params, "dx"), _whole(params, "dy"), _instance(params))


OBJECTIVES: dict[str, Callable[[Params], Objective]] = {
    "training-loss": lambda p: training_loss(),
    "flood": lambda p: gates.flood(),
    "squeeze": lambda p: gates.squeeze(),
    "mask-break": lambda p: shapes.mask_break(),
    "mask-split": lambda p: shapes.mask_break(split=True),
    "class-flip": lambda p: gates.class_flip(),
    "phantom": lambda p: shapes.phantom(area=_share(p, "area", "0.02")),
    "overlap": lambda p: gates.overlap(),
    "semantic-ce": lambda p: gates.semantic_ce(),
    "pq-price": lambda p: pq_price(),
    "hide": lambda p: hide(_share(p, "omega", "0.5"), _instance(p)),
    "fashion": lambda p: hide(_share(p, "omega", "0.9")),
    "ap-rank": lambda p: ap_rank(),
    "displace": _displace,
}

SCORES = {
    "hide": hidden_and_kept,
    "fashion": hidden,
    "displace": moved_and_kept,
    "ap-rank": ap_harm,
}  # which iterate is returned; all others: ``harm``
