"""The images of a training: read once, kept as 8-bit numbers, cut into crops that belong to (seed, step, place)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustseg.data import load_data
from robustseg.data.classes import match, remap
from robustseg.defenses.training.augment import colour_jitter, scale_crop, uniform
from robustseg.defenses.training.recipe import Recipe
from robustseg.defenses.training.schedule import shuffled
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.tasks import truth
from robustseg.types import DataSet, ModelSpec, Sample, SemanticTarget

__all__ = ["IGNORE", "Pool", "crops", "opened", "target_of"]

IGNORE = 255
KEPT = 4 * 2**30  # bytes of images that stay in memory


@dataclass
class Pool:
    """Images ``(3,H,W)`` uint8 and labels ``(H,W)`` in the model's class indices, 255 where ignored.

    With ``things`` (a flag a class) labels are int32 codes, label + 256 * number of the object, so that both are cut
    and resized as one map. What fits into memory is read once.
    """

    data: DataSet
    table: Tensor
    at: range
    things: tuple[bool, ...] = ()
    _kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self._kept:
            return self._kept[index]
        sample = self.data[self.at[index]]
        if sample.labels is None:
            raise UserError(f"data {self.data.ref}: image {sample.id} has no labels to train on")
        labels = remap(sample.labels, self.table)
        if self.things:
            if sample.segments is not None or sample.instances is None:
                raise UserError(f"data {self.data.ref}: a universal model trains on label maps with object numbers")
            labels = labels + 256 * sample.instances.long()
        pair = (sample.image * 255).round().to(torch.uint8), labels.to(torch.int32 if self.things else torch.uint8)
        self._bytes += sum(t.nbytes for t in pair)
        if self._bytes <= KEPT:
            self._kept[index] = pair
        return pair

    def labels(self) -> Iterator[Tensor]:
        """All label maps, classes only."""
        for i in range(len(self)):
            yield self[i][1] & 255


def opened(recipe: Recipe, spec: ModelSpec) -> tuple[Pool, Pool]:
    """Training images and held-out ones of a recipe, with the classes of the model.

    Without ``validation`` and ``held_out`` an eighth of the images, at most 24, are held out: the last ones.
    """
    if len(spec.classes) > IGNORE:
        raise UserError(f"{recipe.start} has {len(spec.classes)} classes; a training takes at most {IGNORE}")
    data = load_data(recipe.data)
    kept = 0 if recipe.validation else recipe.held_out or min(24, max(1, len(data) // 8))
    if kept >= len(data):
        raise UserError(f"{recipe.data} has {len(data)} images; held_out = {kept} leaves none to train on")
    other = load_data(recipe.validation) if recipe.validation else data
    if recipe.validation and other.digest() == data.digest():
        raise UserError("validation is the training data itself; leave it out, and some images are held out")
    train = _pool(data, range(len(data) - kept), recipe, spec)
    held = range(len(other)) if recipe.validation else range(len(data) - kept, len(data))
    return train, _pool(other, held, recipe, spec)


def _pool(data: DataSet, at: range, recipe: Recipe, spec: ModelSpec) -> Pool:
    table = match(data.classes, spec.classes, class_map=recipe.class_map, data_ignore=data.ignore, ignore=IGNORE)
    things = tuple(name in spec.things for name in spec.classes) if spec.task == "universal" else ()
    return Pool(data, table, at, things)


def crops(
    pool: Pool, recipe: Recipe, step: int, places: Sequence[int], rows: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The images at some places of a step's batch: float ``(b,3,h,w)`` in [0,1] and int64 labels or codes ``(b,h,w)``.

    ``rows``: of every class, the class and the images that show it; a share ``recipe.aware`` of the crops is laid
    around a class drawn from them, all classes alike.
    """
    pixels, labels = [], []
    order = shuffled(recipe.seed, step * recipe.batch, recipe.batch, len(pool))
    for place in places:
        generator = seeds.generator(recipe.seed, f"crop/{place}", step=step)
        around, index = None, order[place]
        if rows and uniform(generator, 0, 1) < recipe.aware:
            row = rows[int(uniform(generator, 0, len(rows)))]
            around, index = int(row[0]), int(row[1 + int(uniform(generator, 0, len(row) - 1))])
        image, label = pool[index]
        x, y = scale_crop(image, label, recipe.crop, recipe.zoom, recipe.stretch, IGNORE, generator, around)
        pixels.append(colour_jitter(x[None].float() / 255, recipe.jitter, generator))
        labels.append(y.long())
    return torch.cat(pixels), torch.stack(labels)


def target_of(pixels: Tensor, labels: Tensor, things: Sequence[bool]) -> SemanticTarget:
    """The truth of a batch: labels, or of codes (label + 256 * object) segments."""
    if not things:
        return SemanticTarget(labels, IGNORE)
    samples = [Sample("", x, y & 255, (y >> 8).int()) for x, y in zip(pixels.cpu(), labels.cpu())]
    return truth.target(samples, things, IGNORE).to(pixels.device)
