"""A real run with segments: a network of colour prototypes as queries, on pictures of a street with three cars."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from robustseg.evaluation.run import evaluate
from robustseg.types import ModelSpec, QueryOutput, Sample

CLASSES = ("road", "sky", "car", "bus")
PROTOTYPES = {  # class and colour of what stands in the pictures
    "road": (0.3, 0.3, 0.3), "sky": (0.3, 0.6, 0.9), "car": (0.9, 0.1, 0.1), "car 2": (0.1, 0.8, 0.1),
    "bus": (0.9, 0.8, 0.1),
}  # fmt: skip
SIZE = (32, 48)


class Prototypes(nn.Module):
    """A pixel belongs to a query when its colour is near the query's; gradients reach it everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(torch.tensor(list(PROTOTYPES.values())))

    def forward(self, x: Tensor) -> Tensor:
        far = (x.unsqueeze(1) - self.colours.view(1, -1, 3, 1, 1)).square().sum(2)
        return 60 * (0.12 - far)


class Network:
    """Mask classification whose queries know their class and are sure where their mask is seen at all."""

    def __init__(self, name: str = "toy:prototypes") -> None:
        self.module = Prototypes().eval().requires_grad_(False)
        self.spec = ModelSpec(name, "universal", CLASSES, "0" * 16)

    def __call__(self, images: Tensor, *, prompts=None, proposals=None, want=frozenset()) -> QueryOutput:
        masks = self.module(images)
        names = torch.tensor([CLASSES.index(n.split()[0]) for n in PROTOTYPES])
        seen = masks.flatten(2).topk(12, -1).values.mean(-1)
        logits = torch.zeros(len(images), len(names), len(CLASSES) + 1)
        logits = logits.scatter(2, names.view(1, -1, 1).expand(len(images), -1, 1), seen.unsqueeze(-1) * 4 + 2)
        return QueryOutput(logits, masks)


class Street:
    """Pictures of sky, road, two cars and a bus; the third car has the bus's colour, so that it is taken for a bus."""

    ref, task, classes, ignore, size = "toy:street", "semantic", CLASSES, 255, None
    things, tasks = ("car", "bus"), ("semantic", "instance", "panoptic")

    def __init__(self, number: int = 6) -> None:
        self.number = number

    @property
    def ids(self) -> list[str]:
        return [f"street/{i}" for i in range(self.number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, i: int) -> Sample:
        height, width = SIZE
        labels, objects = torch.zeros(SIZE, dtype=torch.int64), torch.zeros(SIZE, dtype=torch.int32)
        labels[: height // 2] = 1
        image = torch.tensor(PROTOTYPES["road"]).view(3, 1, 1).repeat(1, height, width)
        image[:, : height // 2] = torch.tensor(PROTOTYPES["sky"]).view(3, 1, 1)
        for number, (name, c, x) in enumerate((("car", 2, 4), ("car 2", 2, 18), ("bus", 2 + (i % 2), 32)), 1):
            at = slice(14 + number, 24 + number), slice(x + i % 3, x + 10 + i % 3)
            labels[at], objects[at] = c, number
            image[:, at[0], at[1]] = torch.tensor(PROTOTYPES[name]).view(3, 1, 1)
        noise = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(i))
        labels[0, :4] = 255
        return Sample(f"street/{i}", (image + 0.08 * (noise - 0.5)).clamp(0, 1), labels, objects)

    def digest(self) -> str:
        return f"street {self.number}"


def make_segment_run(folder: Path, name: str = "toy:prototypes", **options) -> Path:
    """Evaluates the network under two attacks and keeps pictures of two images."""
    given = {"eps": "16/255,64/255", "keep": 2, "device": "cpu"} | options
    evaluate(Network(name), Street(), ["pgd:steps=4", "fgsm"], out=folder, **given)
    return folder
