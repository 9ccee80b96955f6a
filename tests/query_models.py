"""A model of queries without training: it finds one street where the image is dark, for tests of whole attacks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from query_toys import answer, street
from robustseg.types import ModelSpec, QueryOutput, Sample

NAMES = ("sky", "road", "car", "man")


class Shaded(torch.nn.Module):
    """Brighter pixels lose their masks, slowly the names too."""

    def __init__(self):
        super().__init__()
        perfect = answer(street(), sure=3.0, dtype=torch.float32)
        self.register_buffer("z", perfect.class_logits)
        self.register_buffer("m", perfect.mask_logits)

    def forward(self, images):
        light = images.mean(1, keepdim=True)
        z = self.z - 60 * light.mean((2, 3)).unsqueeze(-1) * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
        return QueryOutput(z, self.m - 400 * light)


@dataclass
class Universal:
    """The module behind the face that attacks see; counts the images it is shown."""

    module: Shaded = field(default_factory=Shaded)
    spec: ModelSpec = field(
        default_factory=lambda: ModelSpec("toy", "universal", NAMES, "0" * 16, things=("car", "man"))
    )
    calls: int = 0

    def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
        self.calls += len(images)
        return self.module(images)


class Streets:
    """Dark images of one street."""

    ref, task, classes, ignore, things, tasks = "toy:streets", "panoptic", NAMES, 255, ("car", "man"), ("panoptic",)

    def __init__(self, number=5):
        self.ids = [str(i) for i in range(number)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        target = street()
        ids = (target.masks[0] * torch.tensor([0, 0, 1, 2]).view(-1, 1, 1)).sum(0).int()
        return Sample(str(i), torch.full((3, 8, 16), 0.0), target.labels[0], ids)

    def digest(self):
        return "0"
