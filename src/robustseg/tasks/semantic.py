"""Semantic segmentation: output -> label map -> per-image statistics that add."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustseg.ops.size import at_label_size
from robustseg.types import DenseOutput, Output, QueryOutput

__all__ = ["dense", "predict", "statistics"]


def dense(output: Output, size: tuple[int, int] | None = None) -> DenseOutput:
    """The dense scores of any output, at ``size = (H,W)`` if given; differentiable.

    Mask classification becomes ``S[c] = Σ_q softmax(class_q)_c · sigmoid(mask_q)`` (Mask2Former's own semantic
    inference), which are scores, never logits; masks are brought to label size first, as the original does.
    """
    if isinstance(output, QueryOutput):
        from robustseg.ops.query import semantic_scores

        masks = output.mask_logits if size is None else at_label_size(output.mask_logits, size)
        return DenseOutput(semantic_scores(output.class_logits, masks), "scores", dict(output.extras))
    # extras are copied, never shared: what is remembered with this output must not outlive it in the model's own dict
    scores = output.scores if size is None else at_label_size(output.scores, size)
    return DenseOutput(scores, output.kind, dict(output.extras))


def predict(output: Output, size: tuple[int, int]) -> Tensor:
    """Label map ``(B,H,W)`` int64: the argmax of the scores at label size; ties go to the lower class."""
    return dense(output, size).scores.argmax(1)


def statistics(
    prediction: Tensor,
    labels: Tensor,
    *,
    classes: int,
    ignore: int,
    instances: Tensor | None = None,
    clean_prediction: Tensor | None = None,
) -> list[dict[str, Any]]:
    """Sufficient statistics of every image, JSON-able and additive over images.

    Shapes: ``prediction, labels, clean_prediction (B,H,W)`` int64 in class indices, ``instances (B,H,W)`` with 0 = no
    object. Per image: ``inter, pred, target`` ``[C]`` pixel counts over valid pixels; ``valid``, ``right`` pixels;
    ``clean_right`` and ``flipped`` (right on the clean image, wrong now); ``objects`` ``[class, area, hit pixels]`` of
    each truth object, class and area over its valid pixels.

    >>> y = torch.tensor([[[0, 1, 255]]])
    >>> statistics(torch.tensor([[[0, 0, 0]]]), y, classes=2, ignore=255)[0]["inter"]
    [1, 0]
    """
    rows = []
    for i in range(len(labels)):
        valid = labels[i] != ignore
        y, p = labels[i][valid], prediction[i][valid]
        hit = p == y
        row: dict[str, Any] = {
            "inter": torch.bincount(y[hit], minlength=classes).tolist(),
            "pred": torch.bincount(p, minlength=classes).tolist(),
            "target": torch.bincount(y, minlength=classes).tolist(),
            "valid": int(valid.sum()),
            "right": int(hit.sum()),
        }
        if clean_prediction is not None:
            before = clean_prediction[i][valid] == y
            row["clean_right"], row["flipped"] = int(before.sum()), int((before & ~hit).sum())
        if instances is not None:
            row["objects"] = _objects(instances[i][valid], y, hit)
        rows.append(row)
    return rows


def _objects(ids: Tensor, labels: Tensor, hit: Tensor) -> list[list[int]]:
    """``[class, area, hit]`` of every object with a valid pixel; the class is that of most of its pixels."""
    thing = ids > 0
    if not bool(thing.any()):
        return []
    _, index = torch.unique(ids[thing], return_inverse=True)
    count = int(index.max()) + 1
    area = torch.bincount(index, minlength=count)
    found = torch.bincount(index, weights=hit[thing].double(), minlength=count).long()
    width = int(labels.max()) + 1
    votes = torch.bincount(index * width + labels[thing], minlength=count * width).view(count, width)
    return torch.stack([votes.argmax(1), area, found], 1).tolist()
