"""An expectation over transformations, as any search takes it: means, draws, memory, budget, and what it is for."""

from __future__ import annotations

import weakref

import pytest
import torch

import attack_toys as toys
from robustseg.attacks.expectation import FIXED, Expectation, through
from robustseg.attacks.looks import added
from robustseg.objectives.semantic import semantic
from robustseg.ops import seeds
from robustseg.ops import warp as wp
from robustseg.types import SegmentTarget, SemanticTarget, View


def draws(ids=("a", "b", "c"), seed=0):
    return lambda *draw: [seeds.generator(seed, i, *draw) for i in ids]


def mean_gradient(expectation, images, labels, model):
    """The gradient that a search would follow in its first step."""
    theta, found = torch.zeros_like(images).requires_grad_(), []
    target, goal = SemanticTarget(labels), semantic("ce")
    for look in through(expectation)(draws(), 0, 0, False):
        if look.follow:
            x, moved, _ = look.apply(images, theta, target, {})
            terms, _ = goal.value(View(images, x, theta, model(x)), moved, {}, 0.0)
            found.append(torch.autograd.grad(terms["ce"].sum(), theta)[0])
    return torch.stack(found)


class Linear(toys.PixelLinear):
    """Logits so small that the softmax is flat, and the gradient of the loss that of a linear function."""

    def forward(self, x):
        return super().forward(x - 0.5) * 1e-3


def test_noise_on_a_linear_model_leaves_the_gradient_and_a_curved_one_converges_at_the_root_of_k():
    images, labels = toys.scene(n=3, classes=2)
    images = 0.3 + 0.4 * images
    linear = toys.Toy(Linear(), 2)
    (plain,) = mean_gradient(Expectation(), images, labels, linear)
    noisy = mean_gradient(Expectation(noise=(0.02, 0.02), samples=4), images, labels, linear)
    assert torch.allclose(noisy.mean(0), plain, rtol=1e-3)
    curved = toys.Toy(toys.PixelLinear(), 2)
    each = mean_gradient(Expectation(noise=(0.05, 0.05), samples=64), images, labels, curved)
    truth = each.mean(0)
    errors = [(each[:k].mean(0) - truth).norm() for k in (1, 4, 16)]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2] > 0  # halved every time, within what chance allows


def test_the_error_of_an_expectation_falls_with_the_root_of_its_draws():
    """``1/√k`` for k = 1, 4, 16, 64, measured against the mean of 256 other draws, which has an error of its own."""
    images, labels = toys.scene(n=3, size=(24, 32), classes=2)
    made = Expectation(noise=(0.05, 0.05), samples=512)
    each = mean_gradient(made, 0.3 + 0.4 * images, labels, toys.Toy(toys.PixelLinear(), 2))
    truth = each[256:].mean(0)
    one = [
        torch.stack([(part.mean(0) - truth).norm() for part in each[:256].split(k)]).mean() / (1 / k + 1 / 256) ** 0.5
        for k in (1, 4, 16, 64)
    ]
    torch.testing.assert_close(torch.stack(one), one[0].expand(4), rtol=0.05, atol=0)


def test_gain_scales_the_gradient_and_an_offset_leaves_it():
    images, labels = 0.3 + 0.2 * toys.scene(n=3, classes=2)[0], toys.scene(n=3, classes=2)[1]
    linear = toys.Toy(Linear(), 2)
    (plain,) = mean_gradient(Expectation(), images, labels, linear)
    (scaled,) = mean_gradient(Expectation(gain=(1.5, 1.5)), images, labels, linear)
    (offset,) = mean_gradient(Expectation(brightness=0.1), images, labels, linear)
    assert torch.allclose(scaled, 1.5 * plain, rtol=1e-3)
    assert torch.allclose(offset, plain, rtol=1e-3)


@pytest.mark.parametrize("spec", ["pgd:steps=4", "apgd:steps=4", "js:steps=7", "hide:steps=4,class=car,reference=gt"])
def test_the_identity_is_the_plain_attack(spec):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    plain = toys.ready(spec, 4)(model, images, labels, early_stop=False)
    same = toys.ready(spec, 4, eot="brightness=0", eot_samples=2)(model, images, labels, early_stop=False)
    assert torch.equal(plain.images, same.images)
    assert torch.equal(plain.score, same.score)


@pytest.mark.parametrize("spec", ["pgd:steps=4,restarts=2", "js:steps=7", "noise", "pgd:steps=0"])
@pytest.mark.parametrize("early_stop", [False, True])
def test_what_is_counted_is_spent_and_planned(spec, early_stop):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    attack = toys.ready(spec, 4, **({} if spec == "noise" else {"eot": "noise=0.02,shift=0.1", "eot_samples": 3}))
    result = attack(model, images, labels, early_stop=early_stop)
    assert int(result.forwards.sum()) == model.images
    assert int(result.backwards.sum()) == model.backwards
    assert model.images <= 3 * attack.budget[0]
    if not early_stop:
        assert (result.forwards == attack.budget[0]).all()
        assert (result.backwards == attack.budget[1]).all()
        assert result.trace.shape[1] == attack.budget[1] + 1


def test_one_look_in_memory():
    """When the network is called again, nothing that the look before kept for its backward is still there."""
    alive, most = weakref.WeakSet(), []

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            alive.add(self)

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = toys.conv_net()

        def forward(self, x):
            most.append(len(alive))
            with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
                return self.net(x)

    images, labels = toys.scene()
    toys.ready("cospgd:steps=2,eot=noise:0.02,eot_samples=4", 4)(toys.Toy(Watched(), 4), images, labels)
    assert len(most) == 2 * 2 * 4 + 4
    assert max(most) == 0
    x = images.clone().requires_grad_()
    held = Watched()(x)
    assert len(alive) > 0  # it would have been seen
    del held


def test_draws_belong_to_the_image():
    everything = Expectation(
        perspective=0.1, rotate=10, shift=0.1, scale=(0.9, 1.4), gain=(0.7, 1.3), brightness=0.1, blur=(0, 2),
        noise=(0, 0.1), jpeg=(20, 90),
    )  # fmt: skip
    images, _ = toys.scene(n=3, size=(16, 24))
    shown = everything.draw(draws()(0, 5, 1), images).pixels(images)
    alone = everything.draw(draws(("b",))(0, 5, 1), images[1:2]).pixels(images[1:2])
    assert torch.allclose(shown[1:2], alone, atol=1e-5)
    for other in (draws()(0, 5, 2), draws()(0, 4, 1), draws()(1, 5, 1), draws(seed=1)(0, 5, 1)):
        assert not torch.allclose(everything.draw(other, images).pixels(images), shown)
    again = everything.draw(draws()(0, 5, 1), images).pixels(images)
    assert torch.equal(again, shown)


def test_an_image_meets_the_same_attack_in_any_batch_also_after_others_have_left():
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    scores = torch.nn.functional.interpolate(model.module(images[:1]), (12, 16), mode="bilinear")
    labels[0] = scores.argmin(1)  # soon solved
    attack = toys.ready("pgd:steps=13,eot=noise:0.01+shift:0.2", 4)
    together = attack(model, images, labels, ids=["x", "y", "z"])
    assert together.backwards[0] < 13
    for i, name in enumerate("xyz"):
        alone = attack(model, images[i : i + 1], labels[i : i + 1], ids=[name])
        assert torch.allclose(alone.images, together.images[i : i + 1], atol=1e-5)


def test_scores_are_taken_on_the_same_draws_at_every_step_and_restart():
    seen = {}
    images, labels = toys.scene()
    for restart in (0, 1):
        for step in (0, 3):
            looks = list(through(Expectation(noise=(0.1, 0.1), samples=2))(draws(), restart, step, False))
            for n, look in enumerate(looks):
                x = look.apply(images, torch.zeros_like(images), SemanticTarget(labels), {})[0]
                seen.setdefault((look.judge, look.follow, n), []).append(x)
    assert sorted(seen) == [(False, True, 0), (False, True, 1), (True, False, 2), (True, False, 3)]
    for (judge, _, _), shown in seen.items():
        equal = [torch.equal(shown[0], other) for other in shown[1:]]
        assert all(equal) if judge else not any(equal)
    assert FIXED < 0  # no step of a search


def test_labels_masks_prompts_and_maps_of_the_state_move_with_the_pixels():
    still = torch.zeros(1, dtype=torch.float64)
    right = wp.similarity(
        (8, 10), degrees=still, factor=still + 1, shift=torch.tensor([[0.3, 0.0]], dtype=torch.float64)
    )
    draw = Expectation(shift=0.1).draw(draws(("a",))(0), torch.zeros(1, 3, 8, 10))
    draw = type(draw)(warp=right)
    labels = torch.zeros(1, 8, 10, dtype=torch.int64)
    masks = torch.zeros(1, 2, 8, 10, dtype=torch.bool)
    masks[0, 0, 2:4, 1:3] = True
    masks[0, 1, :, 8:] = True  # leaves the picture
    labels[0, 2:4, 1:3] = 1
    prompts = torch.tensor([[[1.0, 2, 3, 4], [8, 0, 10, 8]]])
    target = SegmentTarget(
        labels, 7, masks, torch.tensor([[1, 0]]), torch.zeros(1, 2).bool(), torch.ones(2).bool(), prompts
    )
    moved = draw.target(target)
    assert isinstance(moved, SegmentTarget)
    assert (moved.labels[..., :3] == 7).all()
    assert moved.labels[0, 2, 3:7].tolist() == [0, 1, 1, 0]
    assert torch.equal(moved.masks[0, 0], moved.labels[0] == 1)
    assert moved.categories.tolist() == [[1, -1]]
    assert torch.allclose(moved.prompts, torch.tensor([[[4.0, 2, 6, 4], [0, 0, 0, 0]]]), atol=1e-4)
    state = {
        "aimed": labels == 1,
        "weight": torch.ones(1, 10),
        "cells": masks[:, :, ::2, ::2].float(),
        "proposals": prompts,
    }
    after = draw.state(state, (8, 10))
    assert torch.equal(after["aimed"], moved.labels == 1)
    assert after["weight"] is state["weight"]
    assert not torch.equal(after["cells"], state["cells"])
    assert torch.equal(after["proposals"], moved.prompts)


def test_the_plain_look_adds():
    images, theta = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    target = SemanticTarget(torch.zeros(2, 4, 4, dtype=torch.int64))
    x, same, state = added(images, theta, target, {})
    assert torch.equal(x, images + theta)
    assert same is target
    assert state == {}


def test_what_an_objective_changes_in_its_state_is_kept_and_its_maps_stay_where_they_were():
    """Steps are counted although every look moves the state; a map is moved once, not once a step."""
    from robustseg.attacks.constraints import Ball
    from robustseg.attacks.loop import Problem, gradient_search
    from robustseg.attacks.updates import sign
    from robustseg.objectives.base import Objective

    images, labels = toys.scene()
    maps, seen = torch.rand(3, 12, 16), []

    def value(view, target, state, progress):
        seen.append((state["map"], int(state["steps"][0])))
        return {"x": view.output.scores.flatten(1).mean(1)}, {**state, "steps": state["steps"] + 1}

    search = gradient_search(
        Objective("count", value), sign(0.01), 3, lambda v, t, s: v.x.flatten(1).mean(1),
        looks=through(Expectation(shift=0.3, samples=2)),
    )  # fmt: skip
    model = toys.Toy(toys.conv_net(), 4)
    state = {"map": maps, "steps": torch.zeros(3, dtype=torch.int64)}
    problem = Problem(lambda x, t, s: model(x), images, SemanticTarget(labels), state, draws(), early_stop=False)
    search(problem, Ball("linf", 0.05), None, 0)
    assert [n for _, n in seen] == [0, 0, 1, 1, 2, 2]
    drawn = [through(Expectation(shift=0.3, samples=2))(draws(), 0, k, False) for k in range(3)]
    for k, looks in enumerate(drawn):
        for (shown, _), look in zip(seen[2 * k : 2 * k + 2], [x for x in looks if x.follow], strict=True):
            moved = look.apply(images, torch.zeros_like(images), SemanticTarget(labels), {"map": maps})[2]
            assert torch.equal(shown, moved["map"])


def survived(model, images, labels, expectation):
    """Share of wrong pixels through draws that no attack has seen."""
    wrong = []
    for sample in range(16):
        draw = expectation.draw([seeds.generator(99, str(i), 0, 0, sample) for i in range(len(images))], images)
        moved = draw.target(SemanticTarget(labels)).labels
        wrong.append(toys.wrong(model, draw.pixels(images), moved).float().mean())
    return torch.stack(wrong).mean()


def test_an_attack_made_for_a_transformation_survives_it_better():
    model = toys.trained()
    images, labels = toys.blocks(6, seed=5)
    images = images.clamp(0, 1)
    text, expectation = "blur=0.8-1.6", Expectation(blur=(0.8, 1.6))
    plain = toys.ready("pgd:steps=16,eps=6/255", 3)(model, images, labels).images
    aware = toys.ready("pgd:steps=16,eps=6/255", 3, eot=text, eot_samples=2)(model, images, labels).images
    clean = survived(model, images, labels, expectation)
    lost = [survived(model, x, labels, expectation) - clean for x in (plain, aware)]
    assert lost[1] > 1.2 * lost[0] > 0
