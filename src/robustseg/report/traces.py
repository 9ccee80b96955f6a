"""Curves of the best score against gradients spent, from the traces that the rows keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["curves"]

GRID = 32


def curves(rows: Sequence[Any]) -> list[tuple[int, float, float, float]]:
    """``(gradients, mean, lower quartile, upper quartile)`` over the images that were attacked.

    A row's ``trace`` lists the best score at evenly spaced moments of its ``backwards``; an image that stopped early keeps
    its last score, as its adversarial image is found by then.
    """
    kept = [(max(int(r.backwards), 1), r.trace) for r in rows if r.status == "ok" and r.trace]
    if not kept:
        return []
    longest = max(spent for spent, _ in kept)
    grid = np.unique(np.linspace(0, longest, min(GRID, longest) + 1).round().astype(int))[1:]
    lines = []
    for spent, trace in kept:
        values = np.asarray([np.nan if v is None else v for v in trace], dtype=float)
        at = np.ceil(np.arange(1, len(values) + 1) * spent / len(values)).astype(int)
        index = np.clip(np.searchsorted(at, grid, side="right") - 1, 0, len(values) - 1)
        lines.append(np.fmax.accumulate(values)[index])
    table = np.stack(lines)
    low, high = np.nanquantile(table, (0.25, 0.75), axis=0)
    mean = np.nanmean(table, axis=0)
    return [(int(k), float(m), float(a), float(b)) for k, m, a, b in zip(grid, mean, low, high, strict=True)]
