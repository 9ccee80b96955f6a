"""What minimal-norm attacks are judged by: who was fooled enough, and how far away that was. numpy only.

A row's statistics hold ``asked`` (the counted pixels, which the attack is to fool) and ``met`` (those whose prediction
is what it wants: not the reference, or the goal), as the referee's prediction says. An image is *fooled* where
``met / asked`` reaches the attack's ``apsr``. Source: Rony et al., CVPR 2023, arXiv 2206.07179.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["NORMS", "apsr", "distances"]

NORMS = ("l2", "linf", "l0")
POINTS = 64  # of a curve


def apsr(config: Mapping[str, Any]) -> float | None:
    """The share that a minimal-norm attack must fool; None for attacks that have a ball."""
    text = (config.get("options") or {}).get("apsr")
    return None if text is None or config.get("eps") is not None else float(Fraction(text))


def distances(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], norm: str, enough: float) -> dict[str, Any]:
    """Statistics of ``(stats, norms)`` of the attacked images: ``fooled``, the share of them that were; ``median`` and
    ``mean`` of each norm over those; ``untouched``, how many of those were wrong enough as they are, at distance 0, and
    ``median_touched``, of each norm over the others: what had to be done to an image that was right; ``median_of_all``,
    of the norm minimised, a failure being infinitely far (None where half or more failed); ``curve``:
    ``[norm, share of images fooled at that or less]``.

    >>> one = lambda met, l2: ({"asked": 100, "met": met}, {"l2": l2, "linf": 0.1, "l0": 7})
    >>> found = distances([one(99, 1.0), one(100, 3.0), one(98, 0.5)], "l2", 0.99)
    >>> found["median"]["l2"], found["median_of_all"], found["curve"][0]
    (2.0, 3.0, [1.0, 0.3333333333333333])
    """
    known = [(s, n) for s, n in rows if s.get("asked")]
    fooled = [n for s, n in known if s["met"] / s["asked"] >= enough]
    touched = [n for n in fooled if n[norm] > 0]
    reached = np.sort(np.array([n[norm] for n in fooled], dtype=float))
    missing = len(known) - len(reached)
    everyone = np.concatenate([reached, np.full(missing, np.inf)])
    middle = float(np.quantile(everyone, 0.5, method="higher")) if len(everyone) else np.inf
    at = np.unique(np.linspace(0, len(reached) - 1, min(POINTS, len(reached))).round().astype(int))
    return {
        "norm": norm,
        "threshold": enough,
        "images": len(known),
        "fooled": len(fooled) / len(known) if known else None,
        "median": {k: float(np.median([n[k] for n in fooled])) if fooled else None for k in NORMS},
        "untouched": len(fooled) - len(touched),
        "median_touched": {k: float(np.median([n[k] for n in touched])) if touched else None for k in NORMS},
        "mean": {k: float(np.mean([n[k] for n in fooled])) if fooled else None for k in NORMS},
        "median_of_all": middle if np.isfinite(middle) else None,
        "curve": [[float(reached[k]), (int(k) + 1) / len(known)] for k in at.tolist()],
    }
