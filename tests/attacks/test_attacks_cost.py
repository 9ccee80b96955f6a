"""What is counted is what was spent, and what was planned: by a model that counts for itself."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys

SPECS = [
    "noise",
    "noise:restarts=3",
    *(f"{name}:steps=5" for name in toys.UNTARGETED),
    "fgsm",
    "pgd:steps=5,restarts=3",
    "js:steps=7,restarts=2",
    "pgd:steps=0",
    "pgd:steps=4,reference=pred",
    "pgd:steps=4,target=least-likely",
    "cospgd:steps=4,target=class:car",
    "strong:steps=4,reference=pred",
    "hide:steps=4,class=car,reference=gt",
    "segpgd:steps=4,update=apgd",
    "mi-fgsm:steps=4,norm=l2",
]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("early_stop", [False, True])
def test_counted_is_spent_and_spent_is_planned(spec, early_stop):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    attack = toys.ready(spec, 4)
    result = attack(model, images, labels, early_stop=early_stop)
    assert result.applicable.all()
    assert int(result.forwards.sum()) == model.images
    assert int(result.backwards.sum()) == model.backwards
    planned = torch.tensor(attack.budget).expand(3, 2)
    spent = torch.stack([result.forwards, result.backwards], 1)
    assert (spent <= planned).all()
    if not early_stop:
        assert torch.equal(spent, planned)
        assert model.calls == attack.budget[0]
        assert result.trace.shape[1] == attack.budget[1] + 1


def test_images_with_nothing_to_do_cost_nothing():
    model = toys.Toy(toys.PixelLinear(), 2)
    images = 0.5 + 0.2 * torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[1] = torch.tensor([0.9, 0.1, 0.9]).view(3, 1, 1)  # the model sees nothing but road here
    attack = toys.ready("hide:class=person,steps=3,tau=1", 2)
    result = attack(model, images, None)
    assert result.applicable.tolist() == [True, False, True]
    assert torch.equal(result.images[1], images[1])
    assert result.score.isnan().tolist() == [False, True, False]
    assert result.forwards.tolist() == [5, 1, 5]  # 1: the clean prediction, which said so
    assert result.backwards.tolist() == [3, 0, 3]
    assert int(result.forwards.sum()) == model.images
    alone = attack(model, images[1:2], None)
    assert torch.equal(alone.images, images[1:2])
    assert alone.backwards.tolist() == [0]


@pytest.mark.parametrize("name", ["noise", "pgd", "strong"])
def test_no_counted_pixel_or_none_to_write_is_nothing_to_do(name):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    labels[0] = 255
    region = torch.ones(images[:, 0].shape, dtype=torch.bool)
    region[1] = False
    result = toys.ready(name, 4, **({} if name == "noise" else {"steps": 2}))(model, images, labels, region=region)
    assert result.applicable.tolist() == [False, False, True]
    assert torch.equal(result.images[:2], images[:2])
    assert not torch.equal(result.images[2], images[2])
    assert result.forwards[:2].tolist() == [0, 0]
