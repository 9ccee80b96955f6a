"""After an attack, and after a failed one, the network is exactly as it was found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import attack_toys as toys
from robustseg.ops.state import frozen


class Restless(nn.Module):
    """Does everything that a forward should not do in somebody else's hands."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.conv_net()
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("written", torch.zeros(2))
        self.fail_at: int | None = None
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen = self.seen + 1  # another tensor in its place
        self.written.add_(1)
        torch.rand(3)  # the global generator moves
        if self.calls == self.fail_at:
            raise ValueError("in the middle")
        return self.net(x)


def photograph(module: nn.Module):
    return (
        {name: p.requires_grad for name, p in module.named_parameters()},
        {name: m.training for name, m in module.named_modules()},
        {name: (id(b), b.clone()) for name, b in module.named_buffers()},
        {name: (id(p), p.detach().clone(), p.grad) for name, p in module.named_parameters()},
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    )


def same(a, b) -> bool:
    def tensors(x, y):
        return x.keys() == y.keys() and all(x[k][0] == y[k][0] and torch.equal(x[k][1], y[k][1]) for k in x)

    return (
        a[0] == b[0]
        and a[1] == b[1]
        and tensors(a[2], b[2])
        and tensors(a[3], b[3])
        and all(a[3][k][2] is b[3][k][2] for k in a[3])
        and torch.equal(a[4], b[4])
        and a[5] == b[5]
    )


def mixed() -> Restless:
    """Half in training, a BatchNorm frozen by its user, one parameter frozen."""
    module = Restless()
    module.train()
    module.net[1].eval()
    module.net[0].weight.requires_grad_(False)
    return module


@pytest.mark.parametrize("spec", ["pgd:steps=3", "js:steps=4", "padam-cos:steps=2", "hide:steps=2", "sea:steps=4"])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("fail_at", [None, 1, 3])
def test_everything_is_restored(spec, grad, fail_at):
    module = mixed()
    images, labels = toys.scene()
    with torch.no_grad():
        labels = toys.Toy(module.net, 4).module(images).argmax(1).repeat_interleave(2, 1).repeat_interleave(2, 2)
    before = photograph(module)
    module.fail_at = fail_at
    shown = toys.CLASSES[int(labels.flatten().mode().values)]
    attack = toys.ready(f"{spec},class={shown}" if spec.startswith("hide") else spec, 4)
    with torch.set_grad_enabled(grad):
        before = (*before[:5], torch.is_grad_enabled())
        if fail_at is None:
            attack(toys.Toy(module, 4), images, labels)
        else:
            with pytest.raises(ValueError, match="in the middle"):
                attack(toys.Toy(module, 4), images, labels)
        assert same(before, photograph(module))
    assert module.calls >= (fail_at or 3)


def test_inside_the_network_is_frozen_and_in_eval():
    module = mixed()
    with frozen(module):
        assert not any(p.requires_grad for p in module.parameters())
        assert not any(m.training for m in module.modules())


def test_untouched_buffers_leave_earlier_graphs_alone():
    """A loss taken before the attack can still be differentiated after it (adversarial training does so)."""
    net = toys.conv_net()
    images, labels = toys.scene()
    loss = net(images).square().mean()
    toys.ready("pgd:steps=2", 4)(toys.Toy(net, 4), images, labels)
    loss.backward()
    assert net[0].weight.grad is not None


def test_a_buffer_that_was_resized_comes_back():
    net = nn.BatchNorm2d(2)
    before = net.running_mean
    with frozen(net):
        net.running_mean.resize_(5)
    assert net.running_mean is before
    assert net.running_mean.tolist() == [0.0, 0.0]


def test_inference_mode_around_an_attack_does_not_disarm_it():
    net = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    expected = toys.ready("pgd:steps=3", 4)(net, images, labels)
    with torch.inference_mode():
        got = toys.ready("pgd:steps=3", 4)(net, images.clone(), labels.clone())
    assert torch.equal(got.images, expected.images)
    assert got.score.gt(toys.ready("noise", 4)(net, images, labels).score).all()


def test_images_that_want_a_gradient_are_attacked_all_the_same():
    net = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    result = toys.ready("pgd:steps=2", 4)(net, images.clone().requires_grad_(), labels)
    assert not result.images.requires_grad
