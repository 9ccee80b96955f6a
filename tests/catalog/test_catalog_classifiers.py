"""Attacks on classifiers: the published equations, a second implementation, and a closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attack_toys import UNTARGETED
from labelled_toys import CLASSES, Labelled, linear
from robustseg.catalog import Artefact, attack
from robustseg.errors import UserError
from robustseg.models import wrap
from robustseg.ops.seeds import generator


@pytest.fixture(scope="module")
def curved():
    """A small CNN classifier and images on which it is mostly right."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4))
    model = wrap(network, task="classification", classes=list("abcd"), mean=(0.5,) * 3, std=(0.2,) * 3)
    images = torch.rand(6, 3, 9, 11)
    with torch.no_grad():
        labels = model(images).scores.flatten(1).argmax(1)
    labels[5] = (labels[5] + 1) % 4  # wrong from the start
    return model, images, labels


def reference_pgd(network, x, y, eps, alpha, steps, start):
    """Madry et al., ICLR 2018, in ten lines; of the iterates the last that is wrong, else the last."""
    delta = start.clamp(-eps, eps)
    delta = (x + delta).clamp(0, 1) - x
    kept = delta.clone()
    wrong = torch.zeros(len(x), dtype=torch.bool)
    for k in range(steps + 1):
        delta.requires_grad_()
        z = network((x + delta - 0.5) / 0.2)
        now = z.argmax(1) != y
        kept = torch.where((now | ~wrong).view(-1, 1, 1, 1), delta.detach(), kept)
        wrong = wrong | now
        if k < steps:
            (g,) = torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"), delta)
            delta = (delta.detach() + alpha * g.sign()).clamp(-eps, eps)
            delta = (x + delta).clamp(0, 1) - x
    return x + kept, wrong


def test_pgd_is_the_reference_pgd(curved):
    model, x, y = curved
    ids, eps = [str(i) for i in range(6)], 6 / 255
    start = torch.stack([torch.empty(3, 9, 11).uniform_(-1, 1, generator=generator(0, i)) for i in ids]) * eps
    theirs, wrong = reference_pgd(model.module, x, y, eps, eps / 4, 7, start)
    ours = attack("pgd:eps=6/255,steps=7")(model, x, y, ids=ids, early_stop=False)
    assert torch.equal(ours.score.bool(), wrong)
    assert 0 < wrong[:5].sum() < 5  # neither too easy nor too hard: both branches were looked at
    assert (ours.images - theirs).abs().max() < 1e-6
    assert (ours.images - x).abs().max() <= eps + 1e-6
    assert (ours.backwards == 7).all()


def test_fgsm_is_equation_one(curved):
    model, x, y = curved
    eps = 4 / 255
    at = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(at).scores.flatten(1), y, reduction="sum"), at)
    expected = (x + eps * g.sign()).clamp(0, 1)
    found = attack("fgsm:eps=4/255")(model, x, y).images
    assert (found - expected).abs().max() < 1e-6


def test_a_linear_classifier_falls_exactly_where_its_margin_does():
    """FGSM fools a linear two-class model if and only if eps |w_y - w_o|_1 exceeds the margin (x away from the box)."""
    model = linear((4, 5), ("no", "yes"))
    w = model.module.get_buffer("w")
    reach = (w[0] - w[1]).abs().sum().item()
    direction = (w[0] - w[1]).sign() / reach  # moves the margin by 1 for every unit
    margins = torch.tensor([0.30, 0.61, 0.98, 1.02, 1.5]) * 0.02 * reach
    x = (0.5 + margins.view(-1, 1) * direction).view(-1, 3, 4, 5)
    result = attack("fgsm:eps=0.02")(model, x, torch.zeros(5, dtype=torch.int64))
    assert result.score.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("name", UNTARGETED)
def test_every_attack_on_pixels_fools_a_classifier(name):
    model, data = linear(), Labelled()
    x = torch.stack([data[i].image for i in range(3)])
    y = torch.tensor([0, 1, 2])
    with torch.no_grad():
        assert torch.equal(model(x).scores.flatten(1).argmax(1), y)
    run = attack(f"{name}:eps=0.2")
    if run.needs_fit:
        run = run.with_artefact(Artefact("class-pixels", {"class_pixels": torch.ones(3)}, "equal counts"))
    result = run(model, x, y)
    with torch.no_grad():
        assert (model(result.images).scores.flatten(1).argmax(1) != y).all()
    assert (result.score == 1).all()
    assert (result.images - x).abs().max() <= 0.2 + 1e-6


@pytest.mark.parametrize("target", ["class:bee", "least-likely"])
def test_targeted(target):
    model, data = linear(), Labelled()
    x = torch.stack([data[i].image for i in (0, 2)])
    with torch.no_grad():
        goal = torch.tensor([1, 1]) if target == "class:bee" else model(x).scores.flatten(1).argmin(1)
    result = attack(f"pgd:eps=0.2,steps=10,target={target}")(model, x, torch.tensor([0, 2]))
    with torch.no_grad():
        assert torch.equal(model(result.images).scores.flatten(1).argmax(1), goal)
    assert torch.equal(result.goal, goal.view(2, 1, 1))


def test_a_function_of_ones_own():
    model, data = linear(), Labelled()
    x, y = data[0].image[None], torch.tensor([0])

    def away(output, target):
        return output.scores[:, 1, 0, 0] - output.scores[:, 0, 0, 0]

    assert attack(away, eps="0.2")(model, x, y).score.item() == 1


def test_labels_are_one_an_image_in_either_form(curved):
    model, x, y = curved
    plain, mapped = (attack("pgd:steps=2")(model, x, labels).images for labels in (y, y.view(-1, 1, 1)))
    assert torch.equal(plain, mapped)
    with pytest.raises(
        UserError, match=r"\(B,H,W\) = \(6, 1, 1\), got \(6, 9, 11\); a classifier has one label an image"
    ):
        attack("pgd")(model, x, torch.zeros(6, 9, 11, dtype=torch.int64))
    with pytest.raises(UserError, match="label 7 is neither one of the model's 4 classes"):
        attack("pgd")(model, x, torch.full((6,), 7))


def test_the_clean_prediction_as_reference(curved):
    model, x, _ = curved
    result = attack("pgd:steps=3,reference=pred,eps=0.1")(model, x)
    with torch.no_grad():
        before, after = (model(v).scores.flatten(1).argmax(1) for v in (x, result.images))
    assert torch.equal(result.score.bool(), before != after)
    assert result.score.any()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hide:class=ant", "hide changes part of a label map"),
        ("pgd:target=nearest,class=ant", "target=nearest changes part of a label map"),
        ("pq-price", "pq-price attacks mask classification"),
        ("rpn-objectness", "rpn-objectness attacks regions"),
        ("mask-removal", "mask-removal attacks prompted masks"),
    ],
)
def test_attacks_without_a_sense_say_so(spec, says):
    data = Labelled()
    run = attack(spec)
    if run.needs_fit:
        run = run.with_artefact(Artefact("panoptic-prices", {"price": torch.ones(len(CLASSES))}, "x"))
    with pytest.raises(UserError, match=says):
        run(linear(), data[0].image[None], torch.tensor([0]))
