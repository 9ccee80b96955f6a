"""Scores of a model on held-out images, clean and attacked, by the path of every score: predict, count, add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog import Attack
from robustseg.defenses.training.data import IGNORE, Pool, target_of
from robustseg.tasks.instance import MOST
from robustseg.tasks.predict import predict as predict_tasks
from robustseg.tasks.rows import rows as rows_of
from robustseg.tasks.scoring import score
from robustseg.tasks.segment_scoring import score_panoptic
from robustseg.tasks.semantic import predict, statistics
from robustseg.tasks.truth import target
from robustseg.types import Model, Sample

__all__ = ["held_out", "rows", "scores", "segment_rows"]


@torch.no_grad()
def rows(
    model: Model, batches: Iterable[tuple[Tensor, Tensor]], *, ignore: int = IGNORE, bfloat16: bool = False
) -> list[dict[str, Any]]:
    """The statistics of every image, in order; batches of float images ``(b,3,H,W)`` and int64 labels ``(b,H,W)``."""
    found = []
    for pixels, labels in batches:
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
            output = model(pixels)
        prediction = predict(output, (labels.shape[-2], labels.shape[-1]))
        found += statistics(prediction, labels, classes=len(model.spec.classes), ignore=ignore)
    return found


@torch.no_grad()
def segment_rows(
    model: Model,
    batches: Iterable[tuple[Tensor, Tensor]],
    things: Sequence[bool],
    tasks: Sequence[str],
    *,
    ignore: int = IGNORE,
    bfloat16: bool = False,
    most: int = MOST,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The statistics of every image, of pixels and of segments; codes (label + 256 * object) instead of labels.

    ``tasks`` begin with "semantic"; ``most`` detections an image are judged (`Data.detections` where a data set says).
    """
    pixel_rows, found = [], []
    for pixels, codes in batches:
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
            output = model(pixels)
        samples = [Sample("", x, c & 255, c >> 8) for x, c in zip(pixels.cpu(), codes.cpu())]
        said = predict_tasks(output, (codes.shape[-2], codes.shape[-1]), things, tasks, most=most)
        truth = target(samples, things, ignore)
        assert said.labels is not None
        pixel_rows += statistics(said.labels.cpu(), truth.labels, classes=len(model.spec.classes), ignore=ignore)
        found += rows_of(said, truth, tasks=tasks[1:], most=most)
    return pixel_rows, found


def held_out(pool: Pool, number: int, device: torch.device) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Ids, image and label of up to ``number`` images, evenly spread, one at a time: they may have any size."""
    count = min(number, len(pool))
    for i in range(count):
        index = i * len(pool) // count
        image, label = pool[index]
        yield [f"held-out/{index}"], image[None].float().to(device) / 255, label[None].long().to(device)


def scores(model: Model, pool: Pool, number: int, device: torch.device, attack: Attack | None = None) -> dict[str, Any]:
    """aAcc, mIoU over the images and IoU per class, of clean images or of attacked ones; of segments PQ as well."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for ids, pixels, labels in held_out(pool, number, device):
            if attack is not None:
                truth = target_of(pixels, labels, pool.things)
                pixels = attack(model, pixels, truth, ids=ids).images.clamp(0, 1)
            yield pixels, labels

    names = model.spec.classes
    if not pool.things:
        return score(rows(model, batches()), names)
    dense, segments = segment_rows(model, batches(), pool.things, ("semantic", "panoptic"))
    return score(dense, names) | score_panoptic(segments, pool.things, names)
