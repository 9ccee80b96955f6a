"""What a segment of each class is worth once a model is under attack: a pilot attack on images that are not scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.tasks import panoptic, truth
from robustseg.tasks.predict import predict
from robustseg.tasks.rows import truth_map
from robustseg.types import DataSet, Model, Sample

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack

__all__ = ["KIND", "PILOT", "PILOT_IMAGES", "fit_prices", "prices", "uniform"]

KIND = "panoptic-prices"
PILOT = {"eps": "2/255", "steps": "10"}
PILOT_IMAGES, BATCH = 32, 4


def uniform(classes: int) -> Artefact:
    """Every class alike, quality ½: the prices of the pilot itself."""
    return Artefact(KIND, {"quality": torch.full((classes,), 0.5), "segments": torch.ones(classes)}, "nothing")


def prices(sums: Tensor) -> dict[str, Tensor]:
    """``sums (4,C)`` IoU, TP, FP, FN over images -> ``quality (C,)`` PQ_c, ``segments (C,)`` P_c + G_c = 2TP + FP + FN.

    A class without a segment has quality 0 and one segment.

    >>> prices(torch.tensor([[1.6], [2.0], [1.0], [1.0]]))
    {'quality': tensor([0.5333]), 'segments': tensor([6.])}
    """
    iou, tp, fp, fn = sums
    segments = 2 * tp + fp + fn
    quality = torch.where(segments > 0, 2 * iou / segments.clamp_min(1), 0)
    return {"quality": quality.float(), "segments": segments.clamp_min(1).float()}


def fit_prices(attack: Attack, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
    """Class prices from a pilot: ``pq-price`` with uniform prices on the first images of ``dataset``.

    The pilot is the same for every attack, radius and norm, so that all of them share one artefact. ``dataset`` yields
    samples in the model's class indices and knows its ``things``. Gradients are counted.
    Raises: UserError where the data does not say what is countable.
    """
    from robustseg.catalog import attack as named

    names = tuple(getattr(dataset, "things", ()))
    if not names:
        raise UserError(f"{dataset.ref} does not say which classes are countable; fit {attack.name} on panoptic data")
    things = [name in names for name in model.spec.classes]
    pilot = named("pq-price", **PILOT).with_artefact(uniform(len(things)))
    sums = torch.zeros(4, len(things), dtype=torch.float64)
    forwards = backwards = 0
    for samples in _batches(dataset, min(PILOT_IMAGES, len(dataset))):
        images, target = torch.stack([s.image for s in samples]), truth.target(samples, things, dataset.ignore)
        result = pilot(model, images, target, ids=seeds.content_ids(images), seed=seed)
        with torch.no_grad():
            output = model(result.images)
        found = predict(output, (int(images.shape[-2]), int(images.shape[-1])), things, ("panoptic",)).panoptic
        assert found is not None
        for i, one in enumerate(found):
            row = panoptic.statistics(one, truth_map(target, i), len(things))
            sums += torch.tensor([row[name] for name in ("iou", "tp", "fp", "fn")], dtype=torch.float64)
        forwards += int(result.forwards.sum()) + len(samples)
        backwards += int(result.backwards.sum())
    return Artefact(KIND, prices(sums), dataset.ref, forwards, backwards)


def _batches(dataset: DataSet, number: int) -> Iterator[list[Sample]]:
    """Runs of at most ``BATCH`` images of one size."""
    batch: list[Sample] = []
    for i in range(number):
        sample = dataset[i]
        if batch and (len(batch) == BATCH or batch[0].image.shape != sample.image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch
