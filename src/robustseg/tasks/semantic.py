"""Semantic segmentation: output -> label map -> per-image statistics that add."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustseg.ops.size import at_label_size
from robustseg.types import DenseOutput, Output, QueryOutput, RegionOutput, UserError

__all__ = ["dense", "predict", "statistics"]

LARGEST_TABLE = 1 << 22  # bins of a count; beyond, object ids are numbered first, which sorts the pixels


def dense(output: Output, size: tuple[int, int] | None = None) -> DenseOutput:
    """The dense scores of any output, at ``size = (H,W)`` if given; differentiable.

    Mask classification becomes ``S[c] = Σ_q softmax(class_q)_c · sigmoid(mask_q)`` (Mask2Former's own semantic
    inference), which are scores, never logits; masks are brought to label size first, as the original does.
    """
    if isinstance(output, QueryOutput):
        from robustseg.ops.query import semantic_scores

        masks = output.mask_logits if size is None else at_label_size(output.mask_logits, size)
        return DenseOutput(semantic_scores(output.class_logits, masks), "scores", dict(output.extras))
    if isinstance(output, RegionOutput):
        raise UserError("regions have no scores of every pixel; their label maps are painted (tasks.predict)")
    # extras are copied, never shared: what is remembered with this output must not outlive it in the model's own dict
    scores = output.scores if size is None else at_label_size(output.scores, size)
    return DenseOutput(scores, output.kind, dict(output.extras))


def predict(output: Output, size: tuple[int, int]) -> Tensor:
    """Label map ``(B,H,W)`` int64: the argmax of the scores at label size; ties go to the lower class."""
    return dense(output, size).scores.max(1).indices  # argmax(1) of the same is three times slower on a CPU


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
    return [
        _row(
            prediction[i],
            labels[i],
            classes,
            ignore,
            None if instances is None else instances[i],
            None if clean_prediction is None else clean_prediction[i],
        )
        for i in range(len(labels))
    ]


def _row(p: Tensor, y: Tensor, classes: int, ignore: int, ids: Tensor | None, before: Tensor | None) -> dict[str, Any]:
    """One image. Every count comes from one pass: each pixel votes for (truth, prediction, right before)."""
    valid = y != ignore
    code = torch.add(p, y, alpha=classes).mul_(2)
    if before is not None:
        code += before == y
    void = 2 * classes * classes
    votes = torch.bincount(code.masked_fill_(~valid, void).flatten(), minlength=void + 1)[:void]
    votes = votes.view(classes, classes, 2).cpu()
    confusion, right_before = votes.sum(2), votes[..., 1]
    inter = confusion.diagonal()
    row: dict[str, Any] = {
        "inter": inter.tolist(),
        "pred": confusion.sum(0).tolist(),
        "target": confusion.sum(1).tolist(),
        "valid": int(confusion.sum()),
        "right": int(inter.sum()),
    }
    if before is not None:
        row["clean_right"] = int(right_before.sum())
        row["flipped"] = int(right_before.sum() - right_before.diagonal().sum())
    if ids is not None:
        row["objects"] = _objects(ids, y, p == y, valid, classes)
    return row


def _objects(ids: Tensor, y: Tensor, hit: Tensor, valid: Tensor, classes: int) -> list[list[int]]:
    """``[class, area, hit]`` of every object, ids rising; the class is that of most of its pixels."""
    number = ids.long().clamp_min(0)
    bins = 2 * classes * (int(number.max()) + 1)
    if bins > LARGEST_TABLE:
        values, number = torch.unique(number, return_inverse=True)
        number += values[0] > 0  # 0 stays what is no object
        bins = 2 * classes * (len(values) + 1)
    code = number.mul_(classes).add_(y).mul_(2).add_(hit).mul_(valid)  # pixels that do not count vote for no object
    votes = torch.bincount(code.flatten(), minlength=bins).view(-1, classes, 2)[1:].cpu()
    area = votes.sum((1, 2))
    rows = torch.stack([votes.sum(2).argmax(1), area, votes[..., 1].sum(1)], 1)
    return rows[area > 0].tolist()
