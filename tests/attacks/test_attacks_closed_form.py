"""On a linear pixel model the best attack is known; every attack must find exactly it, and noise must not."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys

EPS = 8 / 255
W = (3.0, -2.0, 1.0)


@pytest.fixture
def linear() -> toys.Toy:
    return toys.Toy(toys.PixelLinear(W), 2)


def interior(n: int = 2, seed: int = 0) -> torch.Tensor:
    """Images so far from black and white that the box never binds."""
    return 0.1 + 0.8 * torch.rand(n, 3, 10, 12, generator=torch.Generator().manual_seed(seed))


def reach(images: torch.Tensor, labels: torch.Tensor, eps: float) -> torch.Tensor:
    """The largest fall of the margin ``z_y - z_other = ±2s`` inside ball and box, per pixel."""
    w = 2 * torch.tensor(W).view(1, 3, 1, 1)
    fall = torch.where(labels == 0, -1.0, 1.0).unsqueeze(1) * w  # the direction in which each channel should go
    room = torch.where(fall > 0, 1 - images, images).clamp_max(eps)
    return (fall.abs() * room).sum(1)


def margin(model: toys.Toy, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    z = model.module(images)
    return torch.where(labels == 0, z[:, 0] - z[:, 1], z[:, 1] - z[:, 0])


@pytest.mark.parametrize("name", toys.UNTARGETED)
@pytest.mark.parametrize("box", ["free", "binding"])
def test_flips_exactly_the_pixels_that_can_be_flipped(linear, name, box):
    images = interior()
    if box == "binding":
        images = torch.rand(images.shape, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    labels = linear.module(images).argmax(1)
    lead = margin(linear, images, labels)
    possible = lead < reach(images, labels, EPS)
    sure = (lead - reach(images, labels, EPS)).abs() > 1e-4  # float32 cannot tell the others apart
    result = toys.ready(name, 2)(linear, images, labels)
    flipped = toys.wrong(linear, result.images, labels)
    assert possible.any()
    assert not possible.all()
    assert torch.equal(flipped[sure], possible[sure])
    if box == "free":
        assert torch.allclose(reach(images, labels, EPS), torch.tensor(2 * EPS * sum(map(abs, W))))


def test_noise_stays_below_the_optimum(linear):
    images = interior()
    labels = linear.module(images).argmax(1)
    possible = margin(linear, images, labels) < reach(images, labels, EPS)
    flipped = toys.wrong(linear, toys.ready("noise", 2)(linear, images, labels).images, labels)
    assert 0 < flipped.sum() < possible.sum() / 2
    assert not (flipped & ~possible).any()


def test_fgsm_moves_every_margin_by_eps_times_the_one_norm(linear):
    images = interior()
    labels = linear.module(images).argmax(1)
    result = toys.ready("fgsm:eps=4/255", 2)(linear, images, labels)
    fall = margin(linear, images, labels) - margin(linear, result.images, labels)
    assert torch.allclose(fall, torch.full_like(fall, 2 * 4 / 255 * 6.0), atol=1e-5)


@pytest.mark.parametrize("name", ["fgsm", "bim", "mi-fgsm", "pgd", "segpgd", "cospgd", "apgd", "js", "padam-ce"])
def test_l2_flips_single_pixels_by_margin_over_two_norm(linear, name):
    images = 0.4 + 0.2 * torch.rand(200, 3, 1, 1, generator=torch.Generator().manual_seed(2))
    labels = linear.module(images).argmax(1)
    eps = 20 / 255
    distance = (margin(linear, images, labels) / (2 * torch.tensor(W).norm())).flatten()
    result = toys.ready(f"{name}:eps=20/255,norm=l2", 2)(linear, images, labels)
    flipped = toys.wrong(linear, result.images, labels).flatten()
    sure = (distance - eps).abs() > 1e-4
    assert (distance < eps).any()
    assert (distance > eps).any()
    if name == "padam-ce":  # Adam steps along signs: it gets there later, never beyond
        assert not flipped[distance > eps + 1e-4].any()
        assert flipped[distance < 0.9 * eps].all()
    else:
        assert torch.equal(flipped[sure], (distance < eps)[sure])
    assert ((result.images - images).flatten(1).norm(dim=1) <= eps * (1 + 1e-5)).all()


@pytest.mark.parametrize("name", toys.UNTARGETED)
def test_coupled_pixels_with_a_positive_kernel(name):
    """All pixels pull the same way, so darkening everything by eps is best, whatever the weights of a loss are."""
    model = toys.Toy(toys.PositiveBlur(), 2)
    images = torch.rand(2, 3, 10, 12, generator=torch.Generator().manual_seed(5))
    labels = torch.where(model.module(images).argmax(1) == 0, 0, 255)  # only pixels above the threshold count
    best = (images - EPS).clamp_min(0)
    possible = toys.wrong(model, best, labels)
    lead = model.module(best)[:, 0] - 10
    result = toys.ready(name, 2)(model, images, labels)
    flipped = toys.wrong(model, result.images, labels)
    assert possible.any()
    assert possible.sum() < (labels == 0).sum()
    assert torch.equal(flipped[lead.abs() > 1e-3], possible[lead.abs() > 1e-3])


@pytest.mark.parametrize(
    "spec", ["pgd", "segpgd", "cospgd", "apgd", "js", "tsallis", "masked-ce", "padam-ce", "padam-cos"]
)
def test_targeted_reaches_exactly_what_can_be_reached(linear, spec):
    images = interior(seed=4)
    labels = linear.module(images).argmax(1)
    result = toys.ready(f"{spec}:target=class:person", 2)(linear, images, labels)
    ones = torch.ones_like(labels)
    gap = margin(linear, images, ones)  # z_person - z_road; reached where it can be lifted above 0
    lift = reach(images, 1 - ones, EPS)
    sure = (gap + lift).abs() > 1e-4
    reached = linear.module(result.images).argmax(1) == 1
    assert torch.equal(reached[sure], (gap + lift > 0)[sure])
    assert torch.allclose(result.score, reached.flatten(1).float().mean(1))
    assert torch.equal(result.goal, ones)
