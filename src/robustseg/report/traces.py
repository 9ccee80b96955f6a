"""Curves of the best score against gradients spent, from the traces that the rows keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["curves"]

GRID = 32


def curves(rows: Sequence[Any]) -> list[tuple[int, float, float, float]]:
    """``(gradients, mean, lower quartile, upper quartile)`` of the best score so far over the attacked images.

    A row's ``trace`` lists scores at even distances from 0 to its planned ``budget_b``; an image that stopped early
    keeps its last one. ``None`` is unknown (a larger ball); a moment counts where half of the images are known.
    """
    kept = [(int(r.budget_b), r.trace) for r in rows if r.status == "ok" and r.trace and r.budget_b]
    if not kept:
        return []
    longest = max(planned for planned, _ in kept)
    grid = np.unique(np.linspace(0, longest, min(GRID, longest) + 1).round().astype(int))
    lines = []
    for planned, trace in kept:
        values = np.asarray([np.nan if v is None or not np.isfinite(v) else v for v in trace], dtype=float)
        at = np.linspace(0, planned, len(values)) if len(values) > 1 else np.array([planned])
        index = np.searchsorted(at, grid + 1e-9, side="right") - 1
        best = np.fmax.accumulate(values)
        lines.append(np.where(index < 0, np.nan, best[np.maximum(index, 0)]))
    table = np.stack(lines)
    known = 2 * (~np.isnan(table)).sum(0) >= len(table)
    if not known.any():
        return []
    grid, table = grid[known], table[:, known]
    low, high = np.nanquantile(table, (0.25, 0.75), axis=0)
    mean = np.nanmean(table, axis=0)
    return [(int(k), float(m), float(a), float(b)) for k, m, a, b in zip(grid, mean, low, high, strict=True)]
