"""Label maps that a targeted attack aims at, made from the clean prediction; the attacker has no ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robustseg.ops.shift import shifted
from robustseg.types import SemanticTarget, UserError

__all__ = ["displaced", "embedded", "hide_nearest", "least_likely", "permuted"]


def hide_nearest(prediction: Tensor, hidden: int, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The dynamic target: pixels predicted as ``hidden`` take the label of the nearest other pixel.

    Shapes: ``prediction (B,H,W)`` int64 -> goal ``(B,H,W)``, applicable ``(B,)`` bool (the class is there, and not
    everywhere). Convention: exact Euclidean nearest neighbour between pixel centres; ``valid`` pixels only lend their
    label. Source: Metzen et al., ICCV 2017, section 3.2.

    >>> hide_nearest(torch.tensor([[[1, 1, 5, 2]]]), 5)[0].tolist() in ([[[1, 1, 1, 2]]], [[[1, 1, 2, 2]]])
    True
    """
    from scipy.ndimage import distance_transform_edt

    goals, applicable = [], []
    lenders = prediction != hidden if valid is None else (prediction != hidden) & valid
    for labels, lend in zip(prediction.cpu().numpy(), lenders.cpu().numpy()):
        here = labels == hidden
        ok = bool(here.any() and lend.any())
        if ok:
            nearest = distance_transform_edt(~lend, return_distances=False, return_indices=True)
            labels = np.where(here, labels[tuple(np.asarray(nearest))], labels)
        goals.append(torch.from_numpy(np.ascontiguousarray(labels)))
        applicable.append(ok)
    return torch.stack(goals).to(prediction), torch.tensor(applicable, device=prediction.device)


def least_likely(scores: Tensor) -> Tensor:
    """Per pixel the class with the lowest clean score, fixed for the whole attack. ``(B,C,H,W) -> (B,H,W)``.

    Source: Kurakin et al., ICLR 2017 workshop (fixed target; Arnab et al. recompute it every step, which we do not).
    """
    return scores.argmin(1)


def embedded(prediction: Tensor, fake: int, masks: Tensor) -> Tensor:
    """Pixels of ``masks (B,H,W)`` bool take the label ``fake``, others keep theirs. ``(B,H,W) -> (B,H,W)``.

    Source: Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732 ("embedding fake labels").

    >>> embedded(torch.tensor([[[1, 2]]]), 7, torch.tensor([[[False, True]]])).tolist()
    [[[1, 7]]]
    """
    return torch.where(masks, fake, prediction)


def displaced(prediction: Tensor, moved: int, dx: int, dy: int, valid: Tensor | None = None) -> Tensor:
    """Pixels predicted as ``moved`` appear ``dx`` pixels to the right and ``dy`` down; the rest keeps its label.

    What they uncover takes the label of the nearest pixel of another class (``hide_nearest``).
    Raises UserError where the whole image would be left. Source: Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732
    ("displacing target objects"), reconstructed.

    >>> displaced(torch.tensor([[[1, 5, 2, 2]]]), 5, 1, 0).tolist() in ([[[1, 1, 5, 2]]], [[[1, 2, 5, 2]]])
    True
    """
    h, w = prediction.shape[-2:]
    if abs(dx) >= w or abs(dy) >= h:
        raise UserError(f"dx={dx}, dy={dy} moves everything out of an image of {h}x{w}; move less, or use kind=vanish")
    here = prediction == moved if valid is None else (prediction == moved) & valid
    return torch.where(shifted(here, dx, dy), moved, hide_nearest(prediction, moved, valid)[0])


def permuted(reference: SemanticTarget, background: Sequence[bool], draws: Sequence[torch.Generator]) -> Tensor:
    """DAG: every class becomes another, by a permutation without fixed point, image ``i`` from ``draws[i]``.

    ``background``: which classes of the model are no objects; their pixels have no goal (the ignore value) and no class
    becomes one of them. Where only one class is left it has no other, and no pixel has a goal.
    Shapes: ``reference.labels (B,H,W)`` -> ``(B,H,W)``. All permutations without fixed point are
    equally likely. Source: Xie et al., ICCV 2017, arXiv 1703.08603, section 3.3.

    >>> truth = SemanticTarget(torch.tensor([[[0, 1, 1, 255]]]))
    >>> permuted(truth, [False, False], [torch.Generator()]).tolist()
    [[[1, 0, 0, 255]]]
    """
    objects = torch.tensor([i for i, empty in enumerate(background) if not empty], dtype=torch.int64)
    ignore, made = reference.ignore, []
    for own, index, valid in zip(draws, reference.index, reference.valid, strict=True):
        table = torch.full((len(background),), ignore, dtype=torch.int64)
        if len(objects) > 1:
            table[objects] = objects[_derangement(len(objects), own)]
        made.append(torch.where(valid, table.to(index.device)[index], ignore))
    return torch.stack(made)


def _derangement(number: int, draws: torch.Generator) -> Tensor:
    while True:  # one draw in e has no fixed point
        found = torch.randperm(number, generator=draws)
        if bool((found != torch.arange(number)).all()):
            return found
