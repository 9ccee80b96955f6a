"""From queries to segments and instances, by the rules of the original Mask2Former.

Masks are brought to label size as logits (bilinear, never through a fixed square), a segment is where its query wins
*and* its own mask reaches 1/2, and ids are given once. The usual post-processing libraries break each of these rules
just where an attack leaves few confident queries. Source: Cheng et al., CVPR 2022, arXiv 2112.01527, section 4 and the
authors' inference code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.ops.size import at_label_size
from robustseg.tasks.panoptic import PanopticMap
from robustseg.types import QueryOutput

__all__ = ["Instances", "instances", "panoptic"]


@dataclass(frozen=True)
class Instances:
    """Detections of one image: ``masks (N,H,W)`` bool, ``scores (N,)``, ``labels (N,)``, best first."""

    masks: Tensor
    scores: Tensor
    labels: Tensor


def panoptic(
    output: QueryOutput,
    size: tuple[int, int],
    things: Sequence[bool],
    *,
    score_threshold: float = 0.8,
    mask_threshold: float = 0.5,
    overlap: float = 0.8,
) -> list[PanopticMap]:
    """One panoptic map an image; what no kept query claims stays void.

    A query is kept when "no object" is not its best class and its best probability exceeds ``score_threshold``; every
    pixel goes to the kept query with the highest score x mask; a segment is what it won where its mask reaches
    ``mask_threshold``, dropped when it won less than ``overlap`` of its mask. Segments of a stuff class are one.
    """
    maps = []
    for class_logits, mask_logits in zip(output.class_logits, at_label_size(output.mask_logits, size)):
        scores, labels = class_logits.softmax(-1).max(-1)
        keep = (labels < class_logits.shape[-1] - 1) & (scores > score_threshold)
        maps.append(_segments(scores[keep], labels[keep], mask_logits[keep].sigmoid(), things, mask_threshold, overlap))
    return maps


def _segments(
    scores: Tensor, labels: Tensor, masks: Tensor, things: Sequence[bool], mask_threshold: float, overlap: float
) -> PanopticMap:
    ids = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    categories: list[int] = []
    if not len(scores):
        return PanopticMap(ids.cpu().numpy(), torch.tensor(categories, dtype=torch.int64).numpy())
    winner = (scores.view(-1, 1, 1) * masks).argmax(0)
    solid = masks >= mask_threshold
    won = torch.bincount(winner.flatten(), minlength=len(scores))
    own = solid.flatten(1).sum(1)
    claimed = solid.gather(0, winner.unsqueeze(0)).squeeze(0)
    left = torch.bincount(winner[claimed], minlength=len(scores))
    stays = (left > 0) & (won >= overlap * own)
    stuff: dict[int, int] = {}
    number = torch.zeros(len(scores), dtype=torch.int64)
    for k in stays.nonzero().flatten().tolist():
        label = int(labels[k])
        if not things[label] and label in stuff:
            number[k] = stuff[label]
            continue
        categories.append(label)
        number[k] = len(categories)
        if not things[label]:
            stuff[label] = len(categories)
    ids = torch.where(claimed, number.to(winner.device)[winner], 0)
    return PanopticMap(ids.cpu().numpy(), torch.tensor(categories, dtype=torch.int64).numpy())


def instances(
    output: QueryOutput, size: tuple[int, int], things: Sequence[bool], *, most: int = 100
) -> list[Instances]:
    """The ``most`` best (query, class) pairs of each image, thing classes only.

    The mask is where the logit is positive; the score is the class probability times the mean mask probability inside.
    """
    found = []
    thing = torch.tensor(list(things))
    for class_logits, mask_logits in zip(output.class_logits, at_label_size(output.mask_logits, size)):
        probability = class_logits.softmax(-1)[:, :-1]
        classes = probability.shape[1]
        best, index = probability.flatten().topk(min(most, probability.numel()))
        labels = index % classes
        kept = thing.to(labels.device)[labels]
        best, labels, query = best[kept], labels[kept], (index // classes)[kept]
        masks = mask_logits[query] > 0
        inside = masks.flatten(1).sum(1)
        mean = (mask_logits[query].sigmoid() * masks).flatten(1).sum(1) / (inside + 1e-6)
        order = (best * mean).argsort(descending=True, stable=True)
        found.append(Instances(masks[order], (best * mean)[order], labels[order]))
    return found
