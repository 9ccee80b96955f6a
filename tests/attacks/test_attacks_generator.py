"""The network that makes perturbations: any size, never more than its radius, every image by itself."""

from __future__ import annotations

import pytest
import torch

from robustseg.attacks.generator import Generator
from robustseg.catalog.generators import rebuilt


def network(width=5, radius=0.1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(3, width, radius).eval()


def inputs(n, size):
    g = torch.Generator().manual_seed(n)
    return torch.rand(n, 3, *size, generator=g), torch.randint(-1, 2, (n, 1, *size), generator=g).float()


@pytest.mark.parametrize("size", [(8, 8), (9, 17), (24, 31)])
def test_any_size_and_never_more_than_the_radius(size):
    images, cue = inputs(2, size)
    made = network()
    with torch.no_grad():
        made.out.weight.mul_(100)
    theta = made(images, cue)
    assert theta.shape == images.shape
    assert 0.09 < theta.abs().max() <= 0.1


def test_an_image_never_sees_its_batch_and_the_cue_is_seen():
    images, cue = inputs(3, (16, 24))
    made = network()
    assert torch.allclose(made(images, cue)[1:2], made(images[1:2], cue[1:2]), atol=1e-6)
    assert not torch.allclose(made(images, cue), made(images, -cue), atol=1e-4)


def test_weights_come_back_in_any_precision():
    made = network(width=6, radius=8 / 255)
    exact = rebuilt(made.state_dict(), "here")
    images, cue = inputs(1, (16, 16))
    assert torch.equal(exact(images, cue), made(images, cue))
    assert not any(p.requires_grad for p in exact.parameters())
    half = rebuilt({n: t if n == "radius" else t.half() for n, t in made.state_dict().items()}, "here")
    assert half.radius == made.radius
    assert torch.allclose(half(images, cue), made(images, cue), atol=1e-4)
