"""Label maps that a targeted attack aims at, made from the clean prediction; the attacker has no ground truth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robustseg.ops.shift import shifted

__all__ = ["displaced", "embedded", "hide_nearest", "least_likely"]


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
    Source: Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732 ("displacing target objects"), reconstructed.

    >>> displaced(torch.tensor([[[1, 5, 2, 2]]]), 5, 1, 0).tolist() in ([[[1, 1, 5, 2]]], [[[1, 2, 5, 2]]])
    True
    """
    here = prediction == moved if valid is None else (prediction == moved) & valid
    return torch.where(shifted(here, dx, dy), moved, hide_nearest(prediction, moved, valid)[0])
