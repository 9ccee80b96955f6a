"""The doctor looks at models that give regions or answer prompts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny_maskrcnn
from region_toys import Squares, ToyRegions, grid
from robustseg.models import check, maskrcnn
from robustseg.models.segment_check import found, objects
from robustseg.types import ModelSpec, QueryOutput, Sample


class Asked:
    """Answers a box with the pixels inside it that are brighter than a half."""

    def __init__(self, forward=lambda masks: masks):
        self.spec, self.module, self.change = ModelSpec("asked", "prompted", ("object",), "x"), nn.Identity(), forward

    def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
        y, x = (torch.arange(n, device=images.device) + 0.5 for n in images.shape[-2:])
        x0, y0, x1, y1 = (v[..., None, None] for v in prompts.unbind(-1))
        inside = (x > x0) & (x < x1) & (y[:, None] > y0) & (y[:, None] < y1)
        logits = 10 * (images.mean(1, keepdim=True) - 0.5)
        masks = torch.where(inside, logits, -10 + 0 * logits)
        quality = masks.flatten(2).mean(2)[..., None]
        return QueryOutput(torch.cat([quality, 0 * quality], -1), self.change(masks))


def names(findings):
    return {f.name for f in findings}


def toy(forward=lambda output: output):
    model = ToyRegions(grid(24, 32), gain=8)

    class Changed(ToyRegions):
        def __call__(self, images, **more):
            return forward(super().__call__(images, **more))

    model.__class__ = Changed
    return model


def test_healthy_models_have_no_findings():
    assert check.diagnose(toy(), Squares()) == []
    assert check.diagnose(Asked(), Squares()) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            lambda o: replace(o, class_logits=o.class_logits.detach(), objectness=o.objectness.detach()),
            "gradient-missing",
        ),
        (lambda o: replace(o, class_logits=o.class_logits.round()), "gradient-zero"),
        (lambda o: replace(o, objectness=o.objectness * torch.nan), "not-finite-output"),
        (lambda o: replace(o, objectness=o.objectness + torch.rand(())), "random-output"),
        (lambda o: replace(o, objectness=o.objectness - o.objectness.mean()), "batch-dependence"),
        (lambda o: replace(o, class_logits=-o.class_logits), "clean-accuracy-low"),
        (lambda o: replace(o, boxes=o.boxes + 6), "clean-accuracy-low"),
    ],
)
def test_faults_of_regions_are_named(change, finding):
    findings = check.diagnose(toy(change), Squares())
    assert finding in names(findings)
    assert check.failed(findings)


@pytest.mark.parametrize(
    ("change", "finding"),
    [(torch.detach, "gradient-missing"), (lambda m: m * torch.nan, "not-finite-output"),
     (lambda m: m - 20, "clean-accuracy-low")],
)  # fmt: skip
def test_faults_of_answers_are_named(change, finding):
    def changed(masks):
        return change(masks)

    assert finding in names(check.diagnose(Asked(changed), Squares()))


def test_an_untrained_network_is_told_so_and_nothing_else():
    model = maskrcnn.adapter(tiny_maskrcnn.network(2, min_size=24, max_size=32), ("background", "a"), "tiny", "t")
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    assert names(check.diagnose(model, Squares(), limit=2)) <= {"clean-accuracy-low"}
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())


def test_a_wrong_preparation_is_named():
    """A network that wants its colours the other way round; red squares."""

    class Red(Squares):
        def __getitem__(self, index):
            s = super().__getitem__(index)
            return replace(s, image=s.image * torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))

    class Blue(ToyRegions):
        def __call__(self, images, **more):
            return super().__call__(images[:, 2:].expand(-1, 3, -1, -1), **more)

    findings = check.diagnose(Blue(grid(24, 32)), Red())
    assert names(findings) == {"clean-accuracy-low"}
    assert "channel order" in findings[0].message


def test_only_countable_classes_must_be_known():
    class Street(Squares):
        classes = ("sky", "a")

    assert check.diagnose(ToyRegions(grid(24, 32)), Street()) == []

    class Other(Squares):
        classes, things = ("ground", "b"), ("b",)

    assert names(check.diagnose(ToyRegions(grid(24, 32)), Other())) >= {"class-names"}


def test_objects_from_labels_and_instances():
    labels, ids = torch.zeros(4, 6, dtype=torch.int64), torch.zeros(4, 6, dtype=torch.int32)
    labels[:, 2:], ids[:2, 2:4], ids[2:, 4:] = 1, 7, 9
    masks, classes = objects(Sample("x", torch.zeros(3, 4, 6), labels, ids), Squares(), torch.tensor([0, 1]))
    assert masks.sum((1, 2)).tolist() == [4, 4]
    assert classes.tolist() == [1, 1]


def test_found():
    model = ToyRegions(grid(24, 32))
    sample = Squares()[0]
    output = model(sample.image[None])
    masks = sample.segments.masks
    assert found(output, masks, torch.tensor([1, 1])) == [1.0, 1.0]
    assert found(output, masks.roll(5, 2), torch.tensor([1, 1])) == [0.0, 0.0]
    assert found(output, masks, torch.tensor([-1, 1])) == [1.0]
