"""From a model's output to everything that can be scored, upsampled once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.ops.planes import winners
from robustseg.ops.size import WHOLE_IMAGE, at_label_size
from robustseg.tasks import decode, regions, semantic
from robustseg.tasks.decode import Instances
from robustseg.tasks.panoptic import PanopticMap
from robustseg.types import DenseOutput, Output, QueryOutput, RegionOutput

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What a model says about a batch, as far as it was asked; the rest is None.

    ``labels (B,H,W)`` int64 class indices; ``panoptic``: a map an image; ``instances``: detections an image, best
    first; ``masks (B,S,H,W)`` bool, the answer to each prompt.
    """

    labels: Tensor | None = None
    panoptic: list[PanopticMap] | None = None
    instances: list[Instances] | None = None
    masks: Tensor | None = None


@torch.no_grad()
def predict(
    output: Output,
    size: tuple[int, int],
    things: Sequence[bool] | Tensor,
    tasks: Collection[str],
    *,
    most: int = decode.MOST,
) -> Prediction:
    """The prediction at label size ``(H,W)`` for ``tasks``: semantic, panoptic, instance, prompted, classification.

    ``things (C,)`` says which of the model's classes are countable; ``most`` detections are taken from queries (regions
    have their model's own number). Semantic labels of regions are painted from
    instances with a score of at least 1/2. Raises UserError where the output cannot say what is asked.
    """
    things = [bool(t) for t in things]
    asked = set(tasks)
    if isinstance(output, DenseOutput):
        _refuse(asked - {"semantic", WHOLE_IMAGE}, "scores of every pixel")
        return Prediction(labels=semantic.predict(output, size))
    if isinstance(output, RegionOutput):
        _refuse(asked - {"semantic", "instance"}, "regions")
        found = regions.instances(output, size=size)
        labels = torch.stack([regions.painted(one, size) for one in found]).to(output.boxes.device)
        return Prediction(labels=labels if "semantic" in asked else None, instances=found)
    if "prompted" in asked:
        _refuse(asked - {"prompted"}, "masks of prompts")
        return Prediction(masks=at_label_size(output.mask_logits, size) > 0)
    return _of_queries(output, size, things, asked, most)


def _of_queries(
    output: QueryOutput, size: tuple[int, int], things: Sequence[bool], asked: set[str], most: int
) -> Prediction:
    """One upsampling for all tasks, of the queries that some task needs."""
    labels: list[Tensor] = []
    maps: list[PanopticMap] = []
    found: list[Instances] = []
    number = output.class_logits.shape[1]
    for i, class_logits in enumerate(output.class_logits):
        scores, names, kept = decode.confident(class_logits)
        pairs = decode.best_pairs(class_logits, things, most) if "instance" in asked else None
        needed = torch.zeros(number, dtype=torch.bool, device=class_logits.device)
        needed |= "semantic" in asked
        if "panoptic" in asked:
            needed[kept] = True
        if pairs is not None:
            needed[pairs[2]] = True
        at = needed.cumsum(0) - 1
        mask_logits = output.mask_logits[i]
        # indexing copies: not where every query is needed
        logits = decode.upsampled(mask_logits if "semantic" in asked else mask_logits[needed], size)
        inside = logits.sigmoid()
        if "semantic" in asked:
            weights = class_logits.softmax(-1)[:, :-1]
            labels.append(winners(torch.einsum("qk,qhw->khw", weights, inside)))
        if "panoptic" in asked:
            maps.append(decode.segments(scores[kept], names[kept], inside[at[kept]], things))
        if pairs is not None:
            used, which = at[pairs[2]].unique(return_inverse=True)
            every = len(used) == len(logits)
            parts = (logits, inside) if every else (logits[used], inside[used])
            found.append(decode.ranked(pairs[0], pairs[1], which, *parts))
    return Prediction(
        torch.stack(labels) if labels else None,
        maps if "panoptic" in asked else None,
        found if "instance" in asked else None,
    )


def _refuse(too_much: set[str], given: str) -> None:
    if too_much:
        raise UserError(f"{given} cannot be scored as {' or '.join(sorted(too_much))}; choose another --task")
