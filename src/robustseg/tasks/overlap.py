"""Boxes, areas and intersections of many masks, at the cost of their boxes and not of the image. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["areas", "box_iou", "intersections", "iou_of", "joint", "layers", "mask_boxes"]

Array = NDArray[Any]


def mask_boxes(masks: Array) -> Array:
    """Tight boxes ``(N,4)`` int (x0,y0,x1,y1) of ``masks (N,H,W)`` bool, ends past the last pixel; empty: zeros.

    >>> mask_boxes(np.array([[[0, 1, 1], [0, 0, 0]]], bool))
    array([[1, 0, 3, 1]])
    """
    ends = []
    lines: tuple[Array, Array] = (np.any(masks, axis=1), np.any(masks, axis=2))
    for line in lines:
        there = np.any(line, axis=1)
        if not line.size:
            ends.append((np.zeros(len(line), np.int64),) * 2)
            continue
        ends.append((np.where(there, line.argmax(1), 0), np.where(there, line.shape[1] - line[:, ::-1].argmax(1), 0)))
    (x0, x1), (y0, y1) = ends
    return np.stack([x0, y0, x1, y1], 1)


def areas(masks: Array, boxes: Array | None = None) -> Array:
    """Pixels ``(N,)`` int64 of ``masks (N,H,W)`` bool; ``boxes`` where they are known."""
    if boxes is None:
        return np.array([np.count_nonzero(m) for m in masks], dtype=np.int64)
    parts = (m[y0:y1, x0:x1] for m, (x0, y0, x1, y1) in zip(masks, boxes.tolist()))
    return np.array([np.count_nonzero(p) for p in parts], dtype=np.int64)


def layers(masks: Array, boxes: Array | None = None) -> list[Array]:
    """Id maps ``(H,W)`` int64 that hold ``masks (M,H,W)`` between them, mask k as ``k + 1``: one map if none overlap.

    >>> [m.tolist() for m in layers(np.array([[[1, 1, 0]], [[0, 1, 1]], [[0, 0, 1]]], bool))]
    [[[1, 1, 3]], [[0, 2, 2]]]
    """
    found: list[Array] = []
    known = mask_boxes(masks) if boxes is None else boxes
    for k, (x0, y0, x1, y1) in enumerate(known.tolist()):
        mask = masks[k, y0:y1, x0:x1]
        for layer in found:
            if not layer[y0:y1, x0:x1][mask].any():
                break
        else:
            layer = np.zeros(masks.shape[1:], np.int64)
            found.append(layer)
        layer[y0:y1, x0:x1][mask] = k + 1
    return found


def intersections(masks: Array, truth: Array, maps: Sequence[Array] | None = None) -> Array:
    """Common pixels ``(N,M)`` int64 of ``masks (N,H,W)`` and ``truth (M,H,W)`` bool; both may overlap themselves.

    ``maps``: the :func:`layers` of ``truth`` where they are known.
    """
    number = len(truth)
    found = np.zeros((len(masks), number), np.int64)
    if not found.size:
        return found
    maps = layers(truth) if maps is None else maps
    for n, (x0, y0, x1, y1) in enumerate(mask_boxes(masks).tolist()):
        mask = masks[n, y0:y1, x0:x1]
        for ids in maps:
            found[n] += np.bincount(ids[y0:y1, x0:x1][mask], minlength=number + 1)[1:]
    return found


def joint(first: Array, second: Array, a: int, b: int) -> Array:
    """How many pixels have which pair of ids: ``(a,b)`` int64 of id maps with ids below ``a`` and ``b``.

    Maps of segments are in pieces: runs along the rows are counted, each with its length, in the narrowest type.

    >>> joint(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]), 2, 2).tolist()
    [[1, 1], [0, 1]]
    """
    narrow = np.min_scalar_type(max(a * b - 1, 0))
    code = first.ravel().astype(narrow)
    code *= narrow.type(b)
    np.add(code, second.ravel(), out=code, casting="unsafe", dtype=narrow)
    changes = code[1:] != code[:-1]
    if not len(code) or 4 * np.count_nonzero(changes) > len(code):
        return np.bincount(code, minlength=a * b).reshape(a, b)
    ends = np.append(np.flatnonzero(changes), len(code) - 1)
    lengths = np.diff(ends, prepend=-1)
    return np.bincount(code[ends], weights=lengths, minlength=a * b).astype(np.int64).reshape(a, b)


def iou_of(inter: Array, area: Array, area_truth: Array, crowd: Array) -> Array:
    """IoU ``(N,M)`` of intersections and areas; with a crowd, the intersection over the detection's own area."""
    inter = np.asarray(inter, np.float64)
    whole = np.asarray(area, np.float64)[:, None]
    union = np.where(np.asarray(crowd, bool)[None], whole, whole + np.asarray(area_truth)[None] - inter)
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def box_iou(boxes: Array, truth: Array, crowd: Array) -> Array:
    """IoU ``(N,M)`` of boxes (x0,y0,x1,y1), ``(N,4)`` and ``(M,4)``; with a crowd, over the detection's own area.

    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [0, 0, 4, 4]]), np.array([False, True])).round(3)
    array([[0.333, 1.   ]])
    """
    a, b = np.asarray(boxes, np.float64)[:, None], np.asarray(truth, np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = sides.clip(0).prod(-1)
    return iou_of(inter, (a[:, 0, 2:] - a[:, 0, :2]).prod(-1), (b[0, :, 2:] - b[0, :, :2]).prod(-1), crowd)
