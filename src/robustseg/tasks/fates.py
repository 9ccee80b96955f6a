"""What became of every segment: kept, lost, flipped, split, merged, invented. numpy only.

Every true segment that counts has exactly one fate, the first of these that holds (IoU as for PQ: true void is in no
union):

* kept: a predicted segment of its class has IoU > 1/2 with it (a true positive of PQ);
* flipped: one of another class has;
* merged: one of its class covers more than half of it, and more than half of another true segment too;
* split: two or more of its class lie by more than half inside it and together cover more than half of it;
* lost: everything else; its pixels went to void or to segments that are about something else.

A predicted segment is *invented* when PQ counts it as a false positive and it explains none of the above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.tasks.overlap import joint

__all__ = ["FATES", "Overlaps", "entries", "of_maps", "score"]

Array = NDArray[Any]
FATES = ("kept", "lost", "flipped", "split", "merged", "invented")


@dataclass(frozen=True)
class Overlaps:
    """How the segments of an image lie: ``inter (T,P)`` common pixels, ``truth, predicted`` areas ``(T,), (P,)``.

    ``void (P,)`` pixels on true void, ``excused (P,)`` on void or a crowd of the same class; ``classes (T,)`` and
    ``named (P,)`` class indices. Crowds are no true segments.
    """

    inter: Array
    truth: Array
    predicted: Array
    void: Array
    excused: Array
    classes: Array
    named: Array

    def iou(self) -> Array:
        """IoU ``(T,P)`` without true void."""
        union = self.truth[:, None] + self.predicted[None] - self.inter - self.void[None]
        return self.inter / np.maximum(union, 1)


def entries(now: Overlaps, before: Overlaps | None = None, seen_before: Array | None = None) -> list[list[Any]]:
    """``[class, fate, area, iou, other, before]`` of every true and every invented segment, JSON-able.

    ``iou``: with the segment that decided, else the best of its class. ``other``: the class it was flipped to, or of
    the true segment it was merged with, or that holds most of its pixels when lost or invented; None = void or none.
    ``before``: its fate in ``before`` (the clean prediction, same truth), None where that is not given; of an invented
    one "invented" where ``seen_before (P,)`` says that the clean prediction had it too.
    """
    found, used = _truth(now)
    earlier = [None] * len(found) if before is None else [e[1] for e in _truth(before)[0]]
    rows: list[list[Any]] = [[*e, was] for e, was in zip(found, earlier) if e[2] > 0]
    iou = now.iou()
    same = now.classes[:, None] == now.named[None]
    matched = (same & (iou > 0.5)).any(0)
    alarm = (now.predicted > 0) & ~matched & ~used & (2 * now.excused <= now.predicted)
    for p in np.flatnonzero(alarm).tolist():
        best = float(np.where(same[:, p], iou[:, p], 0.0).max(initial=0.0))
        other = _holder(now.inter[:, p], now.classes, int(now.predicted[p]))
        was = "invented" if seen_before is not None and seen_before[p] else None
        rows.append([int(now.named[p]), "invented", int(now.predicted[p]), best, other, was])
    return rows


def _truth(o: Overlaps) -> tuple[list[list[Any]], Array]:
    """``[class, fate, area, iou, other]`` of every true segment, and which predicted ones these explain ``(P,)``."""
    iou = o.iou()
    same = o.classes[:, None] == o.named[None]
    covers = 2 * o.inter > o.truth[:, None]
    within = 2 * o.inter > o.predicted[None]
    shared = covers & (covers.sum(0) > 1)
    used = np.zeros(len(o.predicted), bool)
    found = []
    for t, (c, area) in enumerate(zip(o.classes.tolist(), o.truth.tolist())):
        own = np.where(same[t], iou[t], 0.0)
        best = float(own.max(initial=0.0))
        strongest = int(iou[t].argmax()) if iou.shape[1] else -1
        over_both = np.flatnonzero(same[t] & shared[t])
        parts = np.flatnonzero(same[t] & within[t])
        if best > 0.5:
            found.append([c, "kept", area, best, c])
        elif strongest >= 0 and iou[t, strongest] > 0.5:
            used[strongest] = True
            found.append([c, "flipped", area, float(iou[t, strongest]), int(o.named[strongest])])
        elif len(over_both):
            p = int(over_both[iou[t, over_both].argmax()])
            used[p] = True
            others = np.where(covers[:, p], o.inter[:, p], -1)
            others[t] = -1
            found.append([c, "merged", area, float(iou[t, p]), int(o.classes[others.argmax()])])
        elif len(parts) > 1 and 2 * o.inter[t, parts].sum() > area:
            used[parts] = True
            found.append([c, "split", area, best, c])
        else:
            found.append([c, "lost", area, best, _holder(o.inter[t], o.named, area)])
    return found, used


def _holder(pixels: Array, classes: Array, area: int) -> int | None:
    """The class with most of a segment's pixels; None where void or nothing has as many."""
    if not len(pixels) or not pixels.any():
        return None
    each = np.bincount(classes, weights=pixels)
    best = int(each.argmax())
    return best if each[best] > area - each.sum() else None


def of_maps(prediction: Any, truth: Any) -> Overlaps:
    """The overlaps of two ``PanopticMap``s."""
    s, t = len(prediction.categories) + 1, len(truth.categories) + 1
    common = joint(truth.ids, prediction.ids, t, s)
    crowd = np.zeros(t - 1, bool) if truth.crowd is None else np.asarray(truth.crowd, bool)
    same = truth.categories[:, None] == prediction.categories[None]
    void, inter = common[0, 1:], common[1:, 1:]
    excused = void + np.where(same & crowd[:, None], inter, 0).sum(0)
    one = ~crowd
    return Overlaps(
        inter[one],
        common.sum(1)[1:][one],
        common.sum(0)[1:],
        void,
        excused,
        truth.categories[one],
        prediction.categories,
    )


def score(rows: Sequence[Sequence[Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Counts over a set of images: ``all`` and ``classes``, fate -> number; ``newly``: what the attack changed.

    ``newly`` counts the true segments kept on the clean image by their fate now, and the invented ones that the clean
    prediction did not have; None where the clean prediction was not given.

    >>> s = score([[[0, "lost", 9, 0.1, None, "kept"], [1, "invented", 4, 0.0, 0, None]]], ["road", "car"])
    >>> s["newly"], s["classes"]["car"]["invented"]
    ({'kept': 0, 'lost': 1, 'flipped': 0, 'split': 0, 'merged': 0, 'invented': 1}, 1)
    """

    def none() -> dict[str, int]:
        return dict.fromkeys(FATES, 0)

    total, newly = none(), none()
    each: dict[str, dict[str, int]] = {name: none() for name in classes}
    known = any(e[5] is not None for row in rows for e in row)
    for row in rows:
        for entry in row:
            fate, before = entry[1], entry[5]
            total[fate] += 1
            each[classes[int(entry[0])]][fate] += 1
            newly[fate] += before == "kept" if fate != "invented" else before is None
    return {"all": total, "classes": each, "newly": newly if known else None}
