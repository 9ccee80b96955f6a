"""What happens to the segments of an image when it is resized, its classes are renamed, or some pixels do not count."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustseg.data import resize
from robustseg.types import Segments

__all__ = ["kept_segments", "remap_segments", "remap_things", "resized_segments"]


def remap_things(
    things: Sequence[bool], table: Sequence[int] | Tensor, classes: int, others: Sequence[bool] | None = None
) -> tuple[bool, ...]:
    """Which of the new classes are countable: those with at least one old class whose old classes are all things.

    ``things``: one flag an old class; ``table``: old index -> new index, or anything outside 0..classes-1 = ignored;
    ``others``: one flag a new class, for those that no old class becomes (left out: not countable).

    >>> remap_things([True, True, False], [0, 0, 1], 3)
    (True, False, False)
    """
    parts: list[list[bool]] = [[] for _ in range(classes)]
    for thing, new in zip(things, table):
        if 0 <= int(new) < classes:
            parts[int(new)].append(bool(thing))
    rest = [False] * classes if others is None else others
    return tuple(all(part) if part else bool(other) for part, other in zip(parts, rest))


def remap_segments(
    segments: Segments, table: Sequence[int] | Tensor, ignore: int, things: Sequence[bool] | None = None
) -> Segments:
    """Segments under new class indices; those whose class becomes ``ignore`` are dropped: their pixels are void.

    ``table``: old index -> new index or ``ignore``. ``things``: one flag a *new* class (:func:`remap_things`); with it,
    all segments of one uncountable class become one, since two merged stuff classes are one region.

    >>> masks = torch.eye(3, dtype=torch.bool).reshape(3, 1, 3)
    >>> s = Segments(masks, torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.bool))
    >>> remap_segments(s, [0, 0, 255], 255, [False]).masks.long().tolist()
    [[[1, 1, 0]]]
    """
    new = torch.as_tensor(table, dtype=torch.int64)[segments.categories]
    segments = _take(Segments(segments.masks, new, segments.crowd), new != ignore)
    if things is None or not len(segments):
        return segments
    countable = torch.tensor(list(things), dtype=torch.bool)[segments.categories]
    if countable.all():
        return segments
    objects = _take(segments, countable)
    stuff = segments.categories[~countable].unique()
    merged = [segments.masks[segments.categories == c].any(0) for c in stuff]
    return Segments(
        torch.cat([objects.masks, torch.stack(merged)]),
        torch.cat([objects.categories, stuff]),
        torch.cat([objects.crowd, torch.zeros(len(stuff), dtype=torch.bool)]),
    )


def kept_segments(segments: Segments, keep: Tensor) -> Segments:
    """The segments inside ``keep (H,W)`` bool; the other pixels become void, and what is left without a pixel goes."""
    return _with_pixels(Segments(segments.masks & keep, segments.categories, segments.crowd))


def resized_segments(segments: Segments, size: tuple[int, int]) -> Segments:
    """Segments at (H,W), nearest as labels are; those that keep no pixel are dropped, nobody could find them."""
    masks = resize.nearest(segments.masks.movedim(0, -1), size).movedim(-1, 0)
    return _with_pixels(Segments(masks.contiguous(), segments.categories, segments.crowd))


def _with_pixels(segments: Segments) -> Segments:
    return _take(segments, segments.masks.flatten(1).any(1))


def _take(segments: Segments, keep: Tensor) -> Segments:
    return Segments(segments.masks[keep], segments.categories[keep], segments.crowd[keep])
