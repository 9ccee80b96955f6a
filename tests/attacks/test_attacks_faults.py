"""Dead gradients: what the result says of them, and that nothing but the dead image is touched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attack_toys as toys
from robustseg.attacks.loop import MOVED, ZERO, joined_faults


class NanFrom(torch.nn.Module):
    """A network whose gradient is NaN on images with a first pixel below ``bar``, from call number ``call`` on."""

    def __init__(self, bar: float, call: int = 0) -> None:
        super().__init__()
        self.net, self.bar, self.call, self.calls = toys.conv_net(), bar, call, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        bad = (x.detach()[:, :1, :1, :1] < self.bar).float() * float(self.calls > self.call)
        return self.net(x + 0 * torch.sqrt(x * 0 + (1 - bad)))


UPDATES = ["sign", "momentum", "adam", "apgd"]


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("kind", ["linf", "l2"])
@pytest.mark.parametrize("call", [0, 5])
def test_a_nan_gradient_is_named_and_leaves_the_batch_alone(update, kind, call):
    images, labels = toys.scene()
    images[:, :, 0, 0] = torch.tensor([0.2, 0.8, 0.8]).view(3, 1)
    attack = toys.ready(f"pgd:update={update},norm={kind},eps=0.05,steps=12", 4)
    result = attack(toys.Toy(NanFrom(0.5, call), 4), images, labels, ids=["a", "b", "c"], early_stop=False)
    assert result.fault.tolist() == [1, 0, 0]
    assert result.images.isfinite().all()
    sound = attack(toys.Toy(NanFrom(0.0), 4), images, labels, ids=["a", "b", "c"], early_stop=False)
    assert sound.fault.tolist() == [0, 0, 0]
    assert torch.equal(result.images[1:], sound.images[1:])
    assert torch.equal(result.score[1:], sound.score[1:])


def test_it_is_remembered_when_solved_images_leave_the_batch():
    """After step ten the batch is compacted; what is written down then still belongs to the right image."""
    images, labels = toys.scene()
    images[:, :, 0, 0] = torch.tensor([0.8, 0.8, 0.2]).view(3, 1)
    net = NanFrom(0.5, call=11)
    scores = torch.nn.functional.interpolate(net.net(images), images.shape[-2:], mode="bilinear")
    labels[0] = torch.where(labels[0] == 255, 255, (scores[0].argmin(0)))  # solved, but for chance, from the start
    result = toys.ready("pgd:eps=1/2550,steps=20,reference=gt", 4)(toys.Toy(net, 4), images, labels)
    assert result.backwards.tolist() == [10, 20, 20]
    assert result.fault.tolist() == [0, 0, 1]


class Flat(torch.nn.Module):
    """Rounds its input: right scores, no gradient at all."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.conv_net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * 255).round() / 255)


@pytest.mark.parametrize("name", [n for n in toys.UNTARGETED if n != "fgsm"])
def test_a_gradient_that_is_zero_at_every_step_is_named(name):
    images, labels = toys.scene()
    result = toys.ready(name, 4, steps=10)(toys.Toy(Flat(), 4), images, labels)
    assert result.fault.tolist() == [2, 2, 2]
    assert result.fault.dtype == torch.uint8
    sound = toys.ready(name, 4, steps=10)(toys.Toy(toys.conv_net(), 4), images, labels)
    assert sound.fault.tolist() == [0, 0, 0]


def test_one_live_member_or_restart_is_enough():
    """The saturated softmax: the cross-entropy is dead where all is right, the cosine is not."""
    model, scene = toys.trained(1e4, kernel=1, noise=0.02), toys.blocks(4, 0, noise=0.02)
    images, labels = scene
    labels = torch.where(toys.wrong(model, images, labels), 255, labels)
    assert (toys.ready("bim:eps=1/2550", 3)(model, images, labels).fault == 2).any()
    assert toys.ready("strong:eps=1/2550,steps=10", 3)(model, images, labels).fault.tolist() == [0] * 4


def test_nothing_to_do_no_steps_and_nothing_to_write_are_no_faults():
    images, labels = toys.scene()
    labels[0] = 255
    for spec in ("pgd:steps=0", "noise"):
        assert toys.ready(spec, 4)(toys.Toy(Flat(), 4), images, labels).fault.tolist() == [0, 0, 0]
    assert toys.ready("pgd:steps=3", 4)(toys.Toy(Flat(), 4), images, labels).fault.tolist() == [0, 2, 2]


def test_order_does_not_matter_when_faults_are_joined():
    every = torch.tensor([0, 1, 2, 3], dtype=torch.uint8)
    first, second = (t.flatten() for t in torch.meshgrid(every, every, indexing="ij"))
    assert torch.equal(joined_faults(first, second), joined_faults(second, first))
    assert joined_faults(torch.tensor(ZERO), torch.tensor(MOVED)) == MOVED


@pytest.mark.parametrize("update", UPDATES)
def test_the_model_never_sees_an_iterate_that_is_no_number(update):
    images, labels = toys.scene()
    net, seen = NanFrom(2.0), []
    net.register_forward_hook(lambda m, x, y: seen.append(bool(x[0].isfinite().all())))
    toys.ready(f"pgd:update={update},steps=6", 4)(toys.Toy(net, 4), images, labels)
    assert len(seen) == 7
    assert all(seen)


def test_an_infinite_objective_with_a_finite_gradient_is_a_fault():
    images, labels = toys.scene()
    attack = toys.ready(lambda output, target: output.scores.flatten(1).sum(1) + float("inf"), 4, steps=3)
    assert attack(toys.Toy(toys.conv_net(), 4), images, labels).fault.tolist() == [1, 1, 1]
