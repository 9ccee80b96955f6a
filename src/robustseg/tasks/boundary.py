"""Boundary IoU: the IoU of the inner bands of two masks. numpy only.

The band of a mask are its pixels within ``d`` of the outside, in the maximum metric; the image's edge is outside;
``d`` = 2 % of the image's diagonal, at least 1. Source: Cheng et al., CVPR 2021, arXiv 2103.16562, and the authors'
tool. All masks of an id map are done at once: a pixel is inside its mask's band unless the window of side ``2d+1``
around it has one id only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DILATION", "band", "classes", "pairs", "score", "width"]

Array = NDArray[Any]
DILATION = 0.02


def width(size: tuple[int, int]) -> int:
    """The width of the band in pixels.

    >>> width((480, 640)), width((8, 8))
    (16, 1)
    """
    return max(1, round(DILATION * float(np.hypot(*size))))


def band(ids: Array, d: int) -> NDArray[np.bool_]:
    """The pixels ``(H,W)`` of an id map (ids ≥ 0) that lie in the band of their own id's mask.

    >>> band(np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 1, 2, 2, 2]]), 1).astype(int)
    array([[1, 1, 1, 1, 1, 1],
           [1, 0, 1, 1, 1, 1],
           [1, 1, 1, 1, 1, 1]])
    """
    found = np.ones(ids.shape, bool)
    if min(ids.shape) > 2 * d:
        across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
        # a window of one id has no change across and none down
        changes = _window_sums(across, 2 * d + 1, 2 * d) + _window_sums(down, 2 * d, 2 * d + 1)
        found[d:-d, d:-d] = changes > 0
    return found


def _window_sums(marks: Array, high: int, wide: int) -> Array:
    """Sums over all windows ``high`` x ``wide`` that lie inside, from one integral image."""
    table = np.zeros((marks.shape[0] + 1, marks.shape[1] + 1), np.int32)
    marks.cumsum(0, dtype=np.int32).cumsum(1, out=table[1:, 1:])
    rows = table[high:] - table[:-high]
    return rows[:, wide:] - rows[:, :-wide]


def classes(prediction: Array, truth: Array, number: int, ignore: int) -> dict[str, list[int]]:
    """Common and joint band pixels of every class of two label maps ``(H,W)``; ignored pixels are in no mask.

    >>> y = np.array([[0, 0, 1, 1]])
    >>> classes(np.array([[0, 1, 1, 1]]), y, 2, 255)
    {'inter': [1, 2], 'union': [2, 3]}
    """
    valid = truth != ignore
    d = width(truth.shape)  # type: ignore[arg-type]
    a, b = np.where(valid, prediction + 1, 0), np.where(valid, truth + 1, 0)
    in_a, in_b = band(a, d), band(b, d)

    def count(ids: Array, where: Array) -> Array:
        return np.bincount(ids[where], minlength=number + 1)[1 : number + 1]

    inter = count(a, in_a & in_b & (a == b))
    return {"inter": inter.tolist(), "union": (count(a, in_a) + count(b, in_b) - inter).tolist()}


def pairs(prediction: Sequence[Array], truth: Sequence[Array], predicted: int, true: int) -> Array:
    """Boundary IoU ``(M,N)`` of M true and N predicted masks, given as id maps; several where masks overlap."""
    inter, area, area_true = np.zeros((true, predicted)), np.zeros(predicted), np.zeros(true)
    if not inter.size:
        return inter
    d = width(truth[0].shape)  # type: ignore[arg-type]
    bands, bands_true = [band(ids, d) for ids in prediction], [band(ids, d) for ids in truth]
    for ids, where in zip(prediction, bands):
        area += np.bincount(ids[where], minlength=predicted + 1)[1:]
    for ids_true, where_true in zip(truth, bands_true):
        area_true += np.bincount(ids_true[where_true], minlength=true + 1)[1:]
        for ids, where in zip(prediction, bands):
            both = where & where_true
            code = ids_true[both].astype(np.int64) * (predicted + 1) + ids[both]
            joint = np.bincount(code, minlength=(true + 1) * (predicted + 1))
            inter += joint.reshape(true + 1, predicted + 1)[1:, 1:]
    union = area_true[:, None] + area - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def score(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``mBIoU`` over the classes of label maps, ``BIoU_segments`` over true segments, both first per class; or None.

    Rows may have ``inter`` and ``union`` (label maps), ``sum`` and ``segments`` (true segments), each ``[C]``.

    >>> s = score([{"inter": [1, 0], "union": [2, 0]}, {"inter": [1, 0], "union": [2, 0]}]); s["mBIoU"], s["per_class"]
    (0.5, [0.5, None])
    """
    found: dict[str, Any] = {}
    for name, top, bottom in (("mBIoU", "inter", "union"), ("BIoU_segments", "sum", "segments")):
        given = [r for r in rows if top in r]
        if not given:
            found[name] = None
            continue
        above, below = (np.array([r[key] for r in given], np.float64).sum(0) for key in (top, bottom))
        each = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
        found[name] = None if np.isnan(each).all() else float(np.nanmean(each))
        if name == "mBIoU":
            found["per_class"] = [None if np.isnan(v) else float(v) for v in each]
    return found
