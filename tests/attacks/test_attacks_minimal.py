"""Minimal-norm attacks on models whose nearest wrong image is known, and the rules that every one of them keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import attack_toys as toys
from robustseg.attacks.minimal import in_box, out_of_box
from robustseg.catalog import attack

W = (3.0, -2.0, 1.0)
FINE = {  # settings that converge on toys, in a second
    "cw-l2": "cw-l2:descents=9,steps=100,slack=0.01",
    "cw-linf": "cw-linf:descents=20,slack=0.01",
    "cw-l0": "cw-l0:descents=8,steps=60",
}
NAMES = list(FINE)


@pytest.fixture
def linear() -> toys.Toy:
    return toys.Toy(toys.PixelLinear(W), 2)


class Everywhere(nn.Module):
    """Every pixel shows the same two scores ``±(Σ_j a_j·x_j - threshold)``: one hyperplane for the whole image."""

    def __init__(self, weights: torch.Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = ((x * self.weights).flatten(1).sum(1) - self.threshold).view(-1, 1, 1).expand(-1, *x.shape[2:])
        return torch.stack([s, -s], 1)


def pixels(n: int = 5, seed: int = 0) -> torch.Tensor:
    """Images of one pixel, away from black and white."""
    return 0.3 + 0.4 * torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(seed))


def size(delta: torch.Tensor, kind: str) -> torch.Tensor:
    flat = delta.flatten(2)
    if kind == "l0":
        return (flat != 0).any(1).sum(1).float()
    return flat.flatten(1).norm(dim=1) if kind == "l2" else flat.abs().flatten(1).amax(1)


@pytest.mark.parametrize(("name", "length"), [("cw-l2", sum(w * w for w in W) ** 0.5), ("cw-linf", sum(map(abs, W)))])
def test_one_pixel_moves_as_far_as_its_hyperplane_is(linear, name, length):
    """Distance ``|s| / |w|_2`` in L2, ``|s| / |w|_1`` in L∞, s = w·x + b."""
    images = pixels()
    scores = linear.module(images)
    labels = scores.argmax(1)
    nearest = (scores[:, 0] - 10).abs().flatten() / length
    result = attack(FINE[name])(linear, images, labels)
    found = size(result.images - images, name[3:])
    assert (result.score == 1).all()
    assert toys.wrong(linear, result.images, labels).all()
    assert (found >= nearest - 1e-6).all()
    assert (found <= 1.05 * nearest + 1e-3).all(), found / nearest


def test_l2_moves_a_whole_image_along_its_normal():
    weights = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    images = 0.3 + 0.4 * torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    model = toys.Toy(Everywhere(weights, float((images * weights).flatten(1).sum(1).min()) - 1.0), 2)
    labels = model.module(images).argmax(1)
    nearest = model.module(images)[:, 0, 0, 0] / weights.norm()
    result = attack(FINE["cw-l2"])(model, images, labels)
    delta = result.images - images
    assert torch.allclose(size(delta, "l2"), nearest, rtol=0.03)
    cosine = torch.nn.functional.cosine_similarity(-delta.flatten(1), weights.flatten()[None])
    assert (cosine > 0.99).all()


def test_l0_finds_the_one_pixel_that_suffices():
    """Its weight is 40 times that of any other; the others together could do it too, one of them alone never."""
    weights = torch.full((3, 5, 6), 0.05)
    weights[:, 2, 3] = 2.0
    images = torch.full((1, 3, 5, 6), 0.5)
    model = toys.Toy(Everywhere(weights, float((images * weights).sum()) - 1.0), 2)
    labels = torch.zeros(1, 5, 6, dtype=torch.int64)
    result = attack("cw-l0:descents=30,steps=60")(model, images, labels)
    changed = (result.images != images).any(1)[0]
    assert result.score.item() == 1
    assert changed.nonzero().tolist() == [[2, 3]]


@pytest.mark.parametrize("name", NAMES)
def test_targeted_reaches_its_goal_and_no_pixel_more_than_needed(name):
    model = toys.trained()
    images, labels = toys.blocks(2, 0)
    result = attack(f"{name}:target=class:person,apsr=0.9,descents=6,steps=15,c=1")(model, images, labels)
    predicted = model.module(result.images).argmax(1)
    assert torch.allclose(result.score, (predicted == 1).flatten(1).float().mean(1))
    assert (result.score >= 0.9).all()


def test_more_confidence_needs_a_longer_way(linear):
    images = pixels()
    labels = linear.module(images).argmax(1)
    lengths = []
    for kappa in (0, 0.5, 1.5):
        result = attack(f"{FINE['cw-l2']},confidence={kappa}")(linear, images, labels)
        z = linear.module(result.images)
        lead = torch.where(labels == 0, z[:, 1] - z[:, 0], z[:, 0] - z[:, 1])
        assert (lead > kappa).all()
        lengths.append(size(result.images - images, "l2"))
    assert (lengths[0] < lengths[1]).all()
    assert (lengths[1] < lengths[2]).all()


# --------------------------------------------------------------------------------------------- what all of them keep


def test_the_box_is_exact():
    """What the model sees, ``x + (box - x)``, is in [0,1] to the last bit, for all w and from every x."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(100_000, generator=g)
    x[:3] = torch.tensor([0.0, 1.0, 1e-8])
    for w in (40 * torch.randn(100_000, generator=g), out_of_box(x), torch.full_like(x, 1e4), torch.full_like(x, -1e4)):
        seen = x + (in_box(w) - x)
        assert seen.min() >= 0
        assert seen.max() <= 1
    assert (in_box(out_of_box(x)) - x).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_what_is_fooled_already_is_left_alone(linear, name):
    images = pixels()
    labels = linear.module(images).argmax(1)
    labels[1], labels[3] = 1 - labels[1], 1 - labels[3]
    result = attack(f"{name}:descents=2,steps=3")(linear, images, labels)
    for i in (1, 3):
        assert torch.equal(result.images[i], images[i])
        assert (result.score[i], result.forwards[i], result.backwards[i], result.fault[i]) == (1, 1, 0, 0)
    assert (result.backwards[[0, 2, 4]] > 0).all()
    assert (result.images[[0, 2, 4]] != images[[0, 2, 4]]).flatten(1).any(1).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_attacked_as_if_it_were_alone(linear, name):
    images = pixels()
    labels = linear.module(images).argmax(1)
    # a loss that stalls is looked for in long descents only
    made = attack(f"{name}:descents=1,steps=500,settle=1" if name == "cw-l2" else f"{name}:descents=6,steps=20,c=0.05")
    together = made(linear, images, labels)
    for i in range(len(images)):
        alone = made(linear, images[i : i + 1], labels[i : i + 1])
        assert torch.allclose(alone.images[0], together.images[i], atol=1e-6)
        assert alone.backwards[0] == together.backwards[i]
    assert together.backwards.unique().numel() > 1  # they leave at different times


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("early_stop", [True, False])
def test_the_cost_is_what_the_network_was_asked(name, early_stop):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    made = attack(f"{name}:descents=3,steps=12,c=100,reference=pred")
    result = made(model, images, labels, early_stop=early_stop)
    planned = made.budget
    assert result.forwards.sum() == model.images
    assert result.backwards.sum() == model.backwards
    assert (result.forwards <= planned[0]).all()
    assert (result.backwards <= planned[1]).all()
    assert result.trace.shape == (3, planned[1] + 1)
    assert (result.trace.diff(dim=1) >= 0).all()
    if name == "cw-l2" and not early_stop:
        assert planned == (1 + 1 + 3 * 13 + 8, 36)
        assert (result.backwards == 36).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_region_is_kept_bit_for_bit_and_so_is_an_image_without_labels(name):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    labels[1] = 255
    region = torch.zeros_like(labels, dtype=torch.bool)
    region[:, :, :8] = True
    result = attack(f"{name}:descents=2,steps=6,c=10")(model, images, labels, region=region)
    changed = (result.images != images).any(1)
    assert not (changed & ~region).any()
    assert changed[0].any()
    assert not changed[1].any()
    assert result.applicable.tolist() == [True, False, True]
    assert result.score[1].isnan()


class Flat(toys.PixelLinear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x).detach() + 0 * x[:, :1]) * self.factor


@pytest.mark.parametrize(("factor", "fault"), [(1.0, 2), (float("nan"), 1)])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_gradient_is_a_fault_not_a_robust_one(name, factor, fault):
    """The norm has a gradient of its own, which must not hide that the network has none."""
    net = Flat(W)
    net.factor = factor
    model = toys.Toy(net, 2)
    images = pixels()
    labels = toys.PixelLinear(W)(images).argmax(1)
    result = attack(f"{name}:descents=2,steps=4")(model, images, labels)
    assert (result.fault == fault).all()
