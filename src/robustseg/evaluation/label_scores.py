"""The scores of a classifier: what is left of the scores of pixels where an image is one pixel. numpy only.

The counts of a row are then those of one image: ``right`` is 0 or 1, and data-set accuracy, attack success rate and
accuracy per class follow from the same sums. What has no meaning for one label (IoU, recall by size) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.evaluation.bootstrap import FEWEST, interval, intervals
from robustseg.evaluation.tally import Tally, ratio

__all__ = ["label_scores"]

OF_PIXELS = (
    "aAcc", "mIoU", "NmIoU", "IoU", "recall", "objects", "APSR", "solved", "relative_drop", "drop", "mBIoU",
)  # fmt: skip


def label_scores(found: Mapping[str, Any], tally: Tally, weights: NDArray[np.float64]) -> dict[str, Any]:
    """``found`` (scores of pixels) as those of a classifier; ``tally`` is what they were made from.

    ``accuracy``: right / all images; ``mAcc``: its mean over classes; ``accuracy_per_class``: None where the truth has
    none of a class; of attacked images ``ASR``: right on the clean image and wrong now / right on the clean image.
    ``weights (R,n)``: the resamples, a column an image.
    """
    per_class = ratio(tally.inter.sum(0), tally.target.sum(0)).tolist()
    kept = {name: value for name, value in found.items() if name not in OF_PIXELS}
    sure = intervals(tally, weights)
    made: dict[str, Any] = {
        "accuracy": found["aAcc"],
        "accuracy_per_class": dict(zip(found["IoU"], per_class, strict=True)),
        "ci95": {"accuracy": sure["aAcc"], "mAcc": sure["mAcc"]},
    }
    if tally.clean_right.sum() > 0:
        made["ASR"] = float(ratio(tally.flipped.sum(), tally.clean_right.sum()))
        drawn = ratio(weights @ tally.flipped, weights @ tally.clean_right)
        made["ci95"]["ASR"] = interval(drawn) if len(tally) >= FEWEST else None
    return {**kept, **made}
