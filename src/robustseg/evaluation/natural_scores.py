"""What is left of an attack that must look natural: likeness of the garment, and whom one sees through JPEG files.

A row's ``extra`` holds ``ssim`` of the rectangle around the region, and ``jpeg``: for each quality, and for ``none``,
what is seen of the class to hide on the attacked and on the clean image, both compressed alike. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["PLAIN", "in_short", "seen", "through_jpeg"]

PLAIN = "none"  # no compression


def seen(stats: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Of one image's statistics what says whether class ``index`` is seen: pixels of the truth and how many of them
    are found, objects and how many of them by half, and the matches of detections, where there are any.

    >>> seen({"inter": [3, 1], "target": [4, 2], "objects": [[1, 2, 1], [0, 9, 9]]}, 1)
    {'pixels': 2, 'right': 1, 'objects': 1, 'found': 1}
    """
    mine = [(area, hit) for label, area, hit in stats.get("objects") or () if label == index]
    about: dict[str, Any] = {
        "pixels": (stats.get("target") or {index: 0})[index],
        "right": (stats.get("inter") or {index: 0})[index],
        "objects": len(mine),
        "found": sum(2 * hit >= area for area, hit in mine),
    }
    return {**about, "instance": stats["instance"]} if stats.get("instance") is not None else about


def through_jpeg(extras: Sequence[Mapping[str, Any]], classes: Sequence[str], name: str) -> dict[str, Any]:
    """Scores of a set of images from the ``extra`` of their rows: mean ``ssim``; for each quality the share of the
    class's pixels and of its objects that are found, and its AP, ``clean`` and attacked. Empty without any.

    >>> about = lambda right: {"pixels": 4, "right": right, "objects": 1, "found": right // 4}
    >>> extra = {"ssim": 0.9, "jpeg": {"10": {"clean": about(4), "attacked": about(1)}}}
    >>> through_jpeg([extra], ["person"], "person")["jpeg"]["10"]["attacked"]
    {'pixel_recall': 0.25, 'object_recall': 0.0}
    """
    known = [e for e in extras if "jpeg" in e]
    if not known:
        return {}

    def scores(quality: str, which: str) -> dict[str, float | None]:
        rows = [e["jpeg"][quality][which] for e in known]
        add = {key: sum(r[key] for r in rows) for key in ("pixels", "right", "objects", "found")}
        found: dict[str, float | None] = {
            "pixel_recall": add["right"] / add["pixels"] if add["pixels"] else None,
            "object_recall": add["found"] / add["objects"] if add["objects"] else None,
        }
        if all("instance" in r for r in rows):
            from robustseg.tasks.instance import average_precision

            found["AP"] = average_precision([r["instance"] for r in rows], classes)["per_class"].get(name)
        return found

    qualities = sorted(known[0]["jpeg"], key=lambda q: -1 if q == PLAIN else int(q))
    return {
        "class": name,
        "images": len(known),
        "ssim": float(np.mean([e["ssim"] for e in known])),
        "jpeg": {q: {which: scores(q, which) for which in ("clean", "attacked")} for q in qualities},
    }


def in_short(natural: Mapping[str, Any]) -> dict[str, float | None]:
    """The same as one flat table for reports: likeness, and the share of the class's pixels still found.

    >>> in_short({"class": "person", "ssim": 0.9, "jpeg": {"none": {"attacked": {"pixel_recall": 0.2}}}})
    {'SSIM_of_clothing': 0.9, 'person_seen': 0.2}
    """
    if not natural:
        return {}
    seen = {q: v["attacked"]["pixel_recall"] for q, v in natural["jpeg"].items()}
    return {
        "SSIM_of_clothing": natural["ssim"],
        **{f"{natural['class']}_seen{'' if q == PLAIN else f'_in_JPEG_{q}'}": value for q, value in seen.items()},
    }
