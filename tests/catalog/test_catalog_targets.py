"""Targeted attacks: the goal they aim at, what they reach, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import attack_toys as toys
from robustseg.catalog import attack, entries
from robustseg.errors import UserError
from robustseg.types import SemanticTarget

TARGETABLE = [
    e.name for e in entries() if e.targeted and not e.shared and not e.minimal and e.name not in ("hide", "static")
]


@pytest.fixture(scope="module")
def net() -> toys.Toy:
    return toys.trained()


@pytest.fixture(scope="module")
def scene():
    return toys.blocks(3, 0)


def predicted(model: toys.Toy, images: torch.Tensor) -> torch.Tensor:
    return model.module(images).argmax(1)


@pytest.mark.parametrize("name", TARGETABLE)
@pytest.mark.parametrize("target", ["class:car", "least-likely", "nearest,class=person", "map"])
def test_every_targetable_attack_gets_closer_to_every_kind_of_goal(net, scene, name, target, tmp_path):
    images, labels = scene
    if target == "map":
        target = str(tmp_path / "map.png")
        Image.fromarray(np.kron(np.arange(4).reshape(2, 2) % 3, np.ones((12, 12))).astype(np.uint8)).save(target)
    made = attack(f"{name}:target={target},eps=16/255" + ("" if name == "fgsm" else ",steps=12"))
    assert made.targeted
    result = made(net, images, labels)
    before = (predicted(net, images) == result.goal).flatten(1).float().mean(1)
    after = (predicted(net, result.images) == result.goal).flatten(1).float().mean(1)
    assert torch.allclose(result.score, after)
    noisy = attack("noise:eps=16/255")(net, images, labels).images
    noise = (predicted(net, noisy) == result.goal).flatten(1).float().mean(1)
    assert (after >= before).all()
    assert after.mean() > max(noise.mean(), before.mean()) + (0.02 if name == "fgsm" else 0.1)


def test_goals(net, scene, tmp_path):
    images, labels = scene
    labels = labels.clone()
    labels[:, :2] = 255
    seen = predicted(net, images)

    def goal(spec: str, **more):
        return attack(f"{spec},steps=1")(net, images, more.get("labels", labels)).goal

    assert (goal("pgd:target=class:car")[labels != 255] == 2).all()
    assert (goal("pgd:target=class:car")[labels == 255] == 255).all()
    assert torch.equal(goal("pgd:target=least-likely")[:, 2:], net.module(images).argmin(1)[:, 2:])
    hidden = goal("hide:class=person")[:, 2:]
    assert not (hidden == 1).any()
    assert torch.equal(hidden[seen[:, 2:] != 1], seen[:, 2:][seen[:, 2:] != 1])
    true = goal("hide:class=person,reference=gt")[:, 2:]
    assert torch.equal(true[labels[:, 2:] != 1], labels[:, 2:][labels[:, 2:] != 1])
    assert not (true == 1).any()
    free = attack("hide:class=person,steps=1")(net, images).goal
    assert torch.equal(free[seen != 1], seen[seen != 1])
    other = attack("pgd:target=class:car,steps=1")(
        net, images, SemanticTarget(labels.where(labels != 255, -7), -7)
    ).goal
    assert (other[labels == 255] == -7).all()


def test_reference_says_what_an_untargeted_attack_leaves(net, scene):
    images, labels = scene
    turned = (labels + 1) % 3
    by_truth = attack("pgd:steps=5")(net, images, turned)
    assert (by_truth.score > 0.9).all()  # nearly all was wrong before the attack
    by_prediction = attack("pgd:steps=5,reference=pred")(net, images, turned)
    expected = attack("pgd:steps=5")(net, images, predicted(net, images))
    assert torch.equal(by_prediction.images, expected.images)
    assert torch.equal(attack("pgd:steps=5,reference=pred")(net, images).images, expected.images)
    assert by_prediction.goal is None


def test_hide_hides_and_keeps_the_rest(net, scene):
    images, labels = scene
    seen = predicted(net, images)
    result = attack("hide:class=person,eps=16/255")(net, images, labels)
    person = seen == 1
    after = predicted(net, result.images)
    assert (after[person] != 1).float().mean() > 0.9
    assert (after[~person] == seen[~person]).float().mean() > 0.9
    aimed = ((after == result.goal) & person).flatten(1).sum(1) / person.flatten(1).sum(1)
    rest = ((after == result.goal) & ~person).flatten(1).sum(1) / (~person).flatten(1).sum(1)
    assert torch.allclose(result.score, (aimed + rest) / 2)


def test_omega_chooses_between_hiding_and_keeping(net, scene):
    """ω = 1 looks at the pixels to hide alone, ω = 0 at the others alone."""
    images, labels = scene
    seen = predicted(net, images)
    kept, hidden = {}, {}
    for omega in ("0", "1"):
        after = predicted(net, attack(f"hide:class=person,omega={omega}")(net, images, labels).images)
        hidden[omega] = (after != 1)[seen == 1].float().mean()
        kept[omega] = (after == seen)[seen != 1].float().mean()
    assert hidden["0"] < 0.2
    assert hidden["1"] > 0.5
    assert kept["0"] == 1 > kept["1"]


def test_keeping_what_is_confidently_kept_moves_nothing(net, scene):
    """ω = 0 weighs only pixels to keep, and those rest above τ (Metzen's acceptance test)."""
    images, labels = scene
    sure = net.module(images).softmax(1).amax(1) > 0.4
    labels = torch.where(sure, labels, 255)
    result = attack("hide:class=person,omega=0,tau=0.4,steps=5")(net, images, labels)
    assert result.applicable.all()
    assert torch.equal(result.images, images)


def test_label_maps_that_do_not_fit(net, scene, tmp_path):
    images, labels = scene
    path = tmp_path / "map.png"
    for picture, said in [
        (Image.new("L", (5, 7)), r"is \(7, 5\), the images are \(24, 24\)"),
        (Image.new("L", (24, 24), 9), "has label 9; the model has 3 classes"),
        (Image.new("RGB", (24, 24)), "is RGB"),
        (Image.new("I;16", (24, 24)), "is I;16"),
    ]:
        picture.save(path)
        with pytest.raises(UserError, match=said):
            attack(f"static:target={path}")(net, images, labels)
    path.write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match="cannot be read"):
        attack(f"static:target={path}")(net, images, labels)
    Image.new("L", (24, 24), 255).save(path)  # "do not care" everywhere: nothing to do
    result = attack(f"static:target={path}")(net, images, labels)
    assert not result.applicable.any()
    assert torch.equal(result.images, images)
