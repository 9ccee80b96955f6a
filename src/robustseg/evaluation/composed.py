"""Several attacks as one: members of an ensemble, or all attacks of one eps, composed from their rows. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.tally import Tally
from robustseg.evaluation.worst_case import lowest_accuracy, lowest_miou

__all__ = ["Scored", "ball", "by_eps", "common", "ensemble", "eps_value", "order"]


@dataclass(frozen=True)
class Scored:
    """One attack's statistics: ``index (n,)`` positions among the run's images, ``tally`` of the same n images.

    ``rows``: the statistics themselves, for the scores that are no sums of class counts.
    """

    spec: str
    eps: str | None
    norm: str | None
    index: NDArray[np.int_]
    tally: Tally
    region: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()


def eps_value(text: str | None) -> float:
    """``"8/255"`` as a number; -1 where there is no eps, so that it sorts first."""
    try:
        return -1.0 if text is None else float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return -1.0


def order(spec: str, eps: str | None, name: str) -> tuple[float, bool, str]:
    """Sort key of a table: by eps, the baselines first (noise; a patch that shows something fixed), then by spec."""
    return eps_value(eps), name != "noise" and ",fill=" not in spec.replace(":", ",", 1), spec


def by_eps(attacks: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Groups of one threat model, that is of equal norm, eps and region: growing eps, the headline's group last.

    Groups are named by their eps (``"8/255"``); those of another norm by both (``"l2 0.5"``), those that may write in
    a region only by that too (``"8/255 in clothing"``); no eps: ``"unbounded"``. Order: without eps, in a region, of
    another norm than L-infinity, all others.
    """
    groups: dict[tuple[bool, bool, bool, str, float, str], list[Scored]] = {}
    for one in attacks:
        eps, linf = eps_value(one.eps), one.norm == "linf"
        at = (eps >= 0, one.region is None, linf, one.norm or "", eps, one.region or "")
        groups.setdefault(at, []).append(one)
    return {ball(g[0].eps, g[0].norm, g[0].region): g for _, g in sorted(groups.items(), key=lambda g: g[0])}


def ball(eps: str | None, norm: str | None, region: str | None) -> str:
    """The name of a threat model.

    >>> ball("8/255", "linf", None), ball("0.5", "l2", "class:car"), ball(None, None, None)
    ('8/255', 'l2 0.5 in class:car', 'unbounded')
    """
    size = "unbounded" if eps is None else eps if norm == "linf" else f"{norm} {eps}"
    return size if region is None else f"{size} in {region}"


def ensemble(spec: str, parts: Sequence[Scored], *, joint: bool = True) -> tuple[Scored, Scored]:
    """The composition with the lowest aAcc and the one with the lowest mIoU, over the images that every part has.

    Without ``joint`` the second is the first: the label of an image has no IoU.
    """
    if not parts:
        nothing = np.zeros(0, dtype=int)
        empty = Scored(
            spec, None, None, nothing, Tally(*(np.zeros((0, 0)),) * 3, *(np.zeros(0),) * 4, *(np.zeros((0, 3)),) * 2)
        )
        return empty, empty
    index, places = common(parts)
    tallies = [p.tally.take(at) for p, at in zip(parts, places, strict=True)]
    stacked = {name: np.stack([getattr(t, name) for t in tallies]) for name in Tally.__dataclass_fields__}
    least = lowest_accuracy(stacked["right"])
    choices = least, lowest_miou(stacked["inter"], stacked["pred"], stacked["target"]) if joint else least
    images = np.arange(len(index))
    accuracy, miou = (
        Scored(
            spec, parts[0].eps, parts[0].norm, index, Tally(*(stacked[n][choice, images] for n in stacked)),
            parts[0].region,
        )
        for choice in choices
    )  # fmt: skip
    return accuracy, miou


def common(parts: Sequence[Scored]) -> tuple[NDArray[np.int_], list[NDArray[np.int_]]]:
    """The images that every part has, and where each part has them."""
    index = reduce(np.intersect1d, [p.index for p in parts])
    return index, [np.searchsorted(p.index, index) for p in parts]
