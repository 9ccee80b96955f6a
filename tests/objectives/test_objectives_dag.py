"""DAG on a detector: which proposals are targets, what is pushed, and that the active set shrinks to nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from region_toys import ToyRegions, grid, squares, target
from robustseg.catalog import attack
from robustseg.objectives.regions.dag import dag, derangement
from robustseg.types import View


def started(model, image, masks, **options):
    t = target([masks], classes=len(model.spec.classes))
    x = image[None].requires_grad_()
    objective = dag(**options)
    state = objective.init(View(x, x, x * 0, model(x)), t, {})
    return objective, state, View(x, x, x, model(x, proposals=state["proposals"])), t


def test_targets_and_value_by_hand():
    """Two bright squares of twelve; objects of one class go to the background: z_0 - z_1 = -2.4 each."""
    objective, state, view, t = started(ToyRegions(grid(24, 32)), *squares([0, 5]))
    assert objective.needs_clean
    assert state["proposals"].shape == (1, 12, 4)
    terms, after = objective.value(view, t, state, 0.0)
    assert terms["dag"].item() == pytest.approx(-4.8, rel=1e-5)
    at = view.output.proposals[0, after["label"][0] == 1]
    assert sorted(at.tolist()) == sorted(grid(24, 32)[[0, 5]].tolist())
    (g,) = torch.autograd.grad(terms["dag"].sum(), view.x)
    inside = squares([0, 5])[1].any(0)
    assert (g[0, :, inside] < 0).all()
    assert not g[0, :, ~inside].any()


def test_targets_are_fixed_and_rest_when_they_are_lost():
    model = ToyRegions(grid(24, 32))
    image, masks = squares([0, 5])
    objective, state, view, t = started(model, image, masks)
    _, state = objective.value(view, t, state, 0.0)
    dark = image.clone().detach()
    dark[:, masks[0]] = 0.2
    later = replace(view, output=model(dark[None], proposals=state["proposals"]))
    terms, again = objective.value(later, t, state, 0.5)
    assert terms["dag"].item() == pytest.approx(-2.4, rel=1e-5)  # one is background now
    assert torch.equal(again["label"], state["label"])


def test_dense_proposals():
    """Overlap 0.9 leaves neighbours that 0.7 would take; ``top`` cuts."""
    base = grid(24, 32)
    near = torch.cat([base, base + torch.tensor([1.0, 0, 1, 0])])  # IoU 7/9 with their twins
    image, masks = squares([5])
    counts = {}
    for nms in (0.9, 0.7):
        proposals = started(ToyRegions(near), image, masks, nms=nms)[1]["proposals"]
        counts[nms] = len(proposals[0].unique(dim=0))
    assert counts[0.9] > counts[0.7] + 5
    assert started(ToyRegions(near), image, masks, top=4)[1]["proposals"].shape[1] == 4


def test_the_other_class_is_drawn_per_image_and_never_the_same():
    images = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    goals = derangement(images, 6)
    assert (goals[:, 0] == 0).all()
    assert all(sorted(row[1:].tolist()) == [1, 2, 3, 4, 5] for row in goals)
    assert (goals[:, 1:] != torch.arange(1, 6)).all()
    assert len({tuple(row.tolist()) for row in goals}) > 2
    assert torch.equal(derangement(images[7:8], 6)[0], goals[7])  # its own content decides
    assert derangement(images, 2).sum() == 0


def test_with_three_classes_an_object_becomes_the_other():
    image, masks = squares([5])
    model = ToyRegions(grid(24, 32), classes=3, other=1.0)
    objective, state, view, t = started(model, image, masks)
    terms, _ = objective.value(view, t, state, 0.0)
    assert terms["dag"].item() == pytest.approx(-1.0 - 2.4, rel=1e-5)  # class b less class a


def test_the_attack_empties_the_active_set():
    image, masks = squares([0, 5, 10])
    model, t = ToyRegions(grid(24, 32)), target([masks])
    found = attack("dag@paper:steps=40,step_size=8/255")(model, image[None], t, early_stop=False)
    assert found.score.item() == 1
    assert (found.images - image).abs()[:, :, ~masks.any(0)].max() == 0  # nothing else is touched
    steps = (found.images - image).abs().max().item() / (8 / 255)
    assert abs(steps - round(steps)) < 1e-3  # every step had the largest entry 8/255
    assert attack("dag@paper").params["top"] == "3000"
