"""From queries to segments and instances, by the rules of the original Mask2Former.

Masks are brought to label size as logits (bilinear, never through a fixed square), a segment is where its query wins
*and* its own mask reaches 1/2, and ids are given once. The usual post-processing libraries break each of these rules
just where an attack leaves few confident queries. Source: Cheng et al., CVPR 2022, arXiv 2112.01527, section 4 and the
authors' inference code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustseg.ops.planes import counts, winners
from robustseg.ops.size import at_label_size
from robustseg.tasks.overlap import mask_boxes
from robustseg.tasks.panoptic import PanopticMap
from robustseg.types import QueryOutput

__all__ = ["Instances", "best_pairs", "confident", "instances", "panoptic", "ranked", "segments"]

SCORE, MASK, OVERLAP, MOST = 0.8, 0.5, 0.8, 100


@dataclass(frozen=True)
class Instances:
    """Detections of one image on the CPU, best first.

    Shapes: ``masks (N,H,W)`` bool; ``scores (N,)``; ``labels (N,)``; ``boxes (N,4)`` float (x0,y0,x1,y1): the tight box
    of the mask for queries, the network's own box for regions. ``query (N,)``: equal numbers share one mask.
    """

    masks: Tensor
    scores: Tensor
    labels: Tensor
    boxes: Tensor
    query: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)


# ------------------------------------------------------------------------------------------------ panoptic


def panoptic(
    output: QueryOutput,
    size: tuple[int, int],
    things: Sequence[bool],
    *,
    score_threshold: float = SCORE,
    mask_threshold: float = MASK,
    overlap: float = OVERLAP,
) -> list[PanopticMap]:
    """One panoptic map an image; what no kept query claims stays void.

    A query is kept when "no object" is not its best class and its best probability exceeds ``score_threshold``; every
    pixel goes to the kept query with the highest score x mask; a segment is what it won where its mask reaches
    ``mask_threshold``, dropped when it won less than ``overlap`` of its mask. Segments of a stuff class are one.
    """
    maps = []
    for class_logits, mask_logits in zip(output.class_logits, output.mask_logits):
        scores, labels, kept = confident(class_logits, score_threshold)
        inside = upsampled(mask_logits[kept], size).sigmoid()
        maps.append(segments(scores[kept], labels[kept], inside, things, mask_threshold, overlap))
    return maps


def confident(class_logits: Tensor, threshold: float = SCORE) -> tuple[Tensor, Tensor, Tensor]:
    """Best probability ``(Q,)`` and class ``(Q,)`` of each query, and the indices of those that are kept."""
    scores, labels = class_logits.softmax(-1).max(-1)
    keep = (labels < class_logits.shape[-1] - 1) & (scores > threshold)
    return scores, labels, keep.nonzero().flatten()


def upsampled(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits ``(Q,h,w)`` at label size; no query is no error."""
    return at_label_size(mask_logits[None], size)[0] if len(mask_logits) else mask_logits.new_zeros(0, *size)


def segments(
    scores: Tensor,
    labels: Tensor,
    inside: Tensor,
    things: Sequence[bool],
    mask_threshold: float = MASK,
    overlap: float = OVERLAP,
) -> PanopticMap:
    """The map of the kept queries: ``scores, labels (K,)``, ``inside (K,H,W)`` mask probabilities at label size."""
    categories: list[int] = []
    if not len(scores):
        return PanopticMap(np.zeros(tuple(inside.shape[1:]), np.int64), np.zeros(0, np.int64))
    winner = winners(scores.view(-1, 1, 1) * inside)
    solid = inside >= mask_threshold
    claimed = solid.gather(0, winner.unsqueeze(0)).squeeze(0)
    own = counts(solid).cpu()
    won = torch.bincount(winner.flatten(), minlength=len(scores)).cpu()
    left = torch.bincount(winner[claimed], minlength=len(scores)).cpu()
    stays = (left > 0) & (won >= overlap * own)
    number = torch.zeros(len(scores), dtype=torch.int64)
    names = labels.tolist()
    stuff: dict[int, int] = {}
    for k in stays.nonzero().flatten().tolist():
        label = names[k]
        if not things[label] and label in stuff:
            number[k] = stuff[label]
            continue
        categories.append(label)
        number[k] = len(categories)
        if not things[label]:
            stuff[label] = len(categories)
    ids = number.to(winner.device)[winner].mul_(claimed)
    return PanopticMap(ids.cpu().numpy(), np.array(categories, dtype=np.int64))


# ------------------------------------------------------------------------------------------------ instances


def instances(
    output: QueryOutput, size: tuple[int, int], things: Sequence[bool], *, most: int = MOST
) -> list[Instances]:
    """The ``most`` best (query, class) pairs of each image, thing classes only.

    The mask is where the logit is positive; the score is the class probability times the mean mask probability inside.
    """
    found = []
    for class_logits, mask_logits in zip(output.class_logits, output.mask_logits):
        best, labels, query = best_pairs(class_logits, things, most)
        used, at = query.unique(return_inverse=True)
        logits = upsampled(mask_logits[used], size)
        found.append(ranked(best, labels, at, logits, logits.sigmoid()))
    return found


def best_pairs(class_logits: Tensor, things: Sequence[bool], most: int = MOST) -> tuple[Tensor, Tensor, Tensor]:
    """Probability, class and query of the best pairs of ``class_logits (Q,K+1)``; the stuff among them is dropped."""
    probability = class_logits.softmax(-1)[:, :-1]
    classes = probability.shape[1]
    best, index = probability.flatten().topk(min(most, probability.numel()))
    labels = index % classes
    kept = torch.tensor(list(things), dtype=torch.bool, device=labels.device)[labels]
    return best[kept], labels[kept], (index // classes)[kept]


def ranked(best: Tensor, labels: Tensor, query: Tensor, logits: Tensor, inside: Tensor) -> Instances:
    """Instances of pairs ``(N,)`` whose query is an index into ``logits, inside (Q,H,W)`` at label size."""
    masks = logits > 0
    weights = masks.to(inside.dtype).flatten(1)
    mean = torch.linalg.vecdot(inside.flatten(1), weights) / (weights.sum(1) + 1e-6)
    scores = best * mean[query]
    order = scores.argsort(descending=True, stable=True)
    at, masks = query[order].cpu(), masks.cpu()
    boxes = torch.from_numpy(mask_boxes(masks.numpy())).float()
    return Instances(masks[at], scores[order].cpu(), labels[order].cpu(), boxes[at], at)
