"""The worst an attacker can do to the panoptic quality of a data set with a set of attacks. numpy only.

``PQ_c = S_c / D_c``, the sum of IoUs over D = TP + ½FP + ½FN, is a ratio of two sums over images, as IoU is; so the two
joint searches for mIoU serve (``worst_case``): linear prices ``dS/D - S dD/D²`` at the present choice, and greedy
exchanges. Both start from every single attack too, so that the result is never above any of them. After SEA's
composition (Croce, Singh, Hein, ECCV 2024); for PQ it is our own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.worst_case import lowest_ratio, mean_ratio

__all__ = ["lowest_pq"]

Array = NDArray[np.float64]


def lowest_pq(iou: Array, tp: Array, fp: Array, fn: Array, *, seed: int = 0) -> NDArray[np.int_]:
    """``iou, tp, fp, fn (A,n,C)`` -> ``(n,)`` a choice of attacks with low PQ over the data set.

    >>> one, nothing = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    >>> lowest_pq(np.array([[[0.9]], [[0.6]]]), one, nothing, nothing).tolist()
    [1]
    """
    attacks, images, _ = iou.shape
    if attacks == 1 or not images:
        return np.zeros(images, dtype=int)
    size = tp + (fp + fn) / 2
    starts = [mean_ratio(iou, size).argmin(0), iou.sum(-1).argmin(0), (iou.sum(-1) - size.sum(-1)).argmin(0)]
    return lowest_ratio(iou, size, starts, seed=seed)
