"""What is certified of an image in counts that add, and the scores that follow from their sums.

The bound on the mIoU holds for any contents of the patch at any place, chosen for each image: certified pixels keep
their class, and all others are taken to be wrong, and of every other class at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.tasks.scoring import mean_iou, nan_mean, ratio
from robustseg.tasks.semantic import statistics

__all__ = ["counts", "scores"]


def counts(labels: Tensor, truth: Tensor, sure: Tensor | None, classes: int, ignore: int) -> dict[str, Any]:
    """The counts of one image that add: those of `tasks.semantic.statistics`, and of what is certified.

    ``labels, truth (H,W)`` int64, ``sure (H,W)`` bool. By class: ``sure_right`` certified and right, ``sure_wrong``
    certified as this class and wrong, ``open`` not certified, by the class in the truth.

    >>> y = torch.tensor([[0, 0, 1, 255]])
    >>> found = counts(torch.tensor([[0, 1, 1, 1]]), y, torch.tensor([[True, True, False, True]]), 2, 255)
    >>> found["sure_right"], found["sure_wrong"], found["open"]
    ([1, 0], [0, 1], [0, 1])
    """
    found = statistics(labels[None], truth[None], classes=classes, ignore=ignore)[0]
    if sure is None:
        return found
    valid, right = truth != ignore, labels == truth

    def by_class(values: Tensor, where: Tensor) -> list[int]:
        return torch.bincount(values[where], minlength=classes)[:classes].tolist()

    return {
        **found,
        "sure_right": by_class(labels, valid & sure & right),
        "sure_wrong": by_class(labels, valid & sure & ~right),
        "open": by_class(truth, valid & ~sure),
    }


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Scores of added counts: ``mIoU``, ``aAcc`` of the prediction without a patch; where something is certified,
    ``certified`` the share of pixels, ``certified_right`` those that are right too, a bound on the accuracy, and
    ``certified_mIoU``, a bound on the mIoU over the classes of the truth.

    A class has at least its certified hits; its union is at most its truth, the pixels certified as it, and every open
    pixel of another class.

    >>> y = torch.tensor([[0, 0, 1, 1]])
    >>> one = counts(torch.tensor([[0, 0, 1, 1]]), y, torch.tensor([[True, True, True, False]]), 2, 255)
    >>> scores([one])["certified"], scores([one])["certified_mIoU"]  # (2/3 + 1/2) / 2
    (0.75, 0.5833333333333333)
    """

    def total(name: str) -> Any:
        return np.sum([r[name] for r in rows], axis=0, dtype=np.float64)

    target = total("target")
    found = {
        "mIoU": mean_iou(total("inter"), total("pred"), target),
        "aAcc": ratio(total("right"), total("valid")),
    }
    if rows and "open" in rows[0]:
        right, wrong, left = total("sure_right"), total("sure_wrong"), total("open")
        union = target + wrong + left.sum() - left
        bound = np.where(target > 0, ratio(right, union), np.nan)
        found |= {
            "certified": ratio(right.sum() + wrong.sum(), total("valid")),
            "certified_right": ratio(right.sum(), total("valid")),
            "certified_mIoU": nan_mean(bound),
        }
    return {k: None if np.isnan(v) else float(v) for k, v in found.items()}
