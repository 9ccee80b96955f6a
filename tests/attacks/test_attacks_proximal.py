"""ALMAprox: its proximity operator, its penalty, its constraints, and distances that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import attack_toys as toys
from robustseg.catalog import attack
from robustseg.objectives.almaprox import almaprox, hardest, slope, violation
from robustseg.ops.prox import prox_linf
from robustseg.types import DenseOutput, SemanticTarget, View

W = (3.0, -2.0, 1.0)


def total(p: Tensor, v: Tensor, h: Tensor, weight: float) -> float:
    return float(weight * p.abs().max() + 0.5 * (h * (p - v).square()).sum())


@pytest.mark.parametrize("weight", [1e-6, 0.02, 0.3, 2.0])
def test_nothing_is_better_than_the_proximity_operator(weight):
    g = torch.Generator().manual_seed(3)
    v, h = torch.randn(2, 40, generator=g), torch.rand(2, 40, generator=g) + 0.05
    low, high = -torch.rand(2, 40, generator=g), torch.rand(2, 40, generator=g)
    found = prox_linf(v, h, torch.full((2,), weight), low, high)
    assert (found >= low).all()
    assert (found <= high).all()
    for i in range(2):
        ours = total(found[i], v[i], h[i], weight)
        # the best point of a given radius is the nearest one, so all radii are all there is to try
        for r in torch.linspace(0, 1, 2001):
            other = torch.minimum(torch.maximum(v[i], torch.maximum(low[i], -r)), torch.minimum(high[i], r))
            assert ours <= total(other, v[i], h[i], weight) + 1e-5


def test_the_norm_decides_alone_where_it_weighs_much():
    v, one = torch.tensor([[0.4, -0.3]]), torch.ones(1, 2)
    assert torch.allclose(prox_linf(v, one, torch.tensor([10.0]), -one, one), torch.zeros(1, 2), atol=2e-6)
    assert torch.allclose(prox_linf(v, one, torch.tensor([0.0]), -one, one), v, atol=2e-6)


def penalty(d: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    above = mu * d + mu * rho * d**2 + rho**2 * d**3 / 6
    return torch.where(d >= 0, above, mu * d / (1 - rho.clamp_min(1) * d.clamp_max(0)))


def test_the_slope_is_the_derivative_of_the_penalty_and_the_published_one_is_not():
    d = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
    for rho, mu in ((0.01, 1.0), (0.3, 0.7), (40.0, 0.01)):
        rho_, mu_ = torch.full_like(d, rho).detach(), torch.full_like(d, mu).detach()
        true = torch.autograd.grad(penalty(d, rho_, mu_).sum(), d)[0]
        assert torch.allclose(slope(d.detach(), rho_, mu_), true)
    y, rho, mu = (torch.tensor([v], dtype=torch.float64) for v in (0.2, 0.3, 0.7))
    assert slope(y, rho, mu).item() == pytest.approx(0.7858)
    assert slope(y, rho, mu, published=True).item() == pytest.approx(0.2258)
    assert slope(-y, rho, mu, published=True).item() == slope(-y, rho, mu).item()


def test_ratios_by_hand():
    z = torch.tensor([4.0, 3.0, 1.0, 0.0]).view(1, 4, 1, 1)
    right, wrong = (SemanticTarget(torch.full((1, 1, 1), k)) for k in (0, 1))
    assert violation(DenseOutput(z), right).item() == pytest.approx((1 + 1e-4) / 3)
    assert violation(DenseOutput(z), wrong).item() == pytest.approx((-1 + 1e-4) / 3)
    assert violation(DenseOutput(z), wrong, targeted=True).item() == pytest.approx((1 + 1e-4) / 3.5)
    two = DenseOutput(z[:, :2])
    assert violation(two, right).item() == pytest.approx(1 + 1e-4)


def test_the_hardest_constraints_are_let_go_by_their_share_of_the_valid_ones():
    d = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, 9.0]])
    valid = torch.tensor([[True, True, True, True, True, False]])
    assert hardest(d, valid, 0.0).sum() == 0
    assert hardest(d, valid, 0.4).nonzero()[:, 1].tolist() == [0, 1]
    assert hardest(d, valid, 0.39).nonzero()[:, 1].tolist() == [0]


def look(made, state, z):
    target = SemanticTarget(torch.zeros(1, 1, z.shape[1], dtype=torch.int64))
    scores = torch.stack([z, torch.zeros_like(z), torch.full_like(z, -9.0)], 1).unsqueeze(2)
    x = torch.zeros(1, 3, 1, z.shape[1])
    view = View(x, x, x, DenseOutput(scores))
    state = made.init(view, target, {}) if state is None else state
    return made.value(view, target, state, 0.0)[1]


def test_constraints_that_do_not_get_better_stiffen_and_those_met_once_do_not():
    made, state = almaprox(0.99), None
    for k in range(10):
        fooled = -1.0 if k == 4 else 1.0
        state = look(made, state, torch.tensor([[2.0, fooled, 3.0 - 0.2 * k]]))
    assert state["stiffness"][0].tolist() == [0.02, 0.01, 0.01]  # the last one falls
    assert state["scale"].item() == 1  # never above
    assert not state["met"].any()  # a new window begins


def test_a_fooled_image_is_pushed_less():
    made, state = almaprox(0.5), None
    for _ in range(3):
        state = look(made, state, torch.tensor([[-2.0, 2.0]]))
    assert state["scale"].item() == pytest.approx(1.02**-3)
    assert (state["multiplier"] <= 1).all()
    assert state["multiplier"][0, 0] < state["multiplier"][0, 1]


# ------------------------------------------------------------------------------------------------ the search


class Everywhere(nn.Module):
    """Every pixel shows the same three scores, of one hyperplane for the whole image; the third is out of reach."""

    def __init__(self, weights: Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        s = ((x * self.weights).flatten(1).sum(1) - self.threshold).view(-1, 1, 1).expand(-1, *x.shape[2:])
        return torch.stack([s, -s, torch.full_like(s, -50)], 1)


def test_a_whole_image_moves_as_far_as_its_hyperplane_is():
    """``|s| / |w|_1``; at least, and at most 3 % more. The published slope dies on the way: ratios are small here."""
    weights = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    images = 0.3 + 0.4 * torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    model = toys.Toy(Everywhere(weights, float((images * weights).flatten(1).sum(1).min()) - 1.0), 3)
    labels = model.module(images).argmax(1)
    nearest = model.module(images)[:, 0, 0, 0] / weights.abs().sum()
    result = attack("almaprox:steps=300,rate=0.001")(model, images, labels)
    found = (result.images - images).abs().flatten(1).amax(1)
    assert (result.score == 1).all()
    assert (found >= nearest - 1e-6).all()
    assert (found <= 1.03 * nearest).all(), found / nearest
    assert attack("almaprox:steps=300,rate=0.001,slope=published")(model, images, labels).score.tolist() == [0, 1]


def test_one_pixel_of_two_classes_moves_as_far_as_its_hyperplane_is():
    images = 0.3 + 0.4 * torch.rand(5, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    model = toys.Toy(toys.PixelLinear(W), 2)
    scores = model.module(images)
    labels = scores.argmax(1)
    nearest = (scores[:, 0] - 10).abs().flatten() / sum(map(abs, W))
    result = attack("almaprox:steps=400")(model, images, labels)
    found = (result.images - images).abs().flatten(1).amax(1)
    assert toys.wrong(model, result.images, labels).all()
    assert (found >= nearest - 1e-6).all()
    assert (found <= 1.05 * nearest + 1e-3).all(), found / nearest


def test_more_steps_find_a_shorter_way_through_a_network():
    model = toys.trained()
    images, labels = toys.blocks(2, 0)
    few, many = (attack(f"almaprox:steps={n},rate=0.004,apsr=0.9")(model, images, labels) for n in (60, 240))
    size = [(r.images - images).abs().flatten(1).amax(1) for r in (few, many)]
    assert (few.score >= 0.9).all()
    assert (many.score >= 0.9).all()
    assert (size[1] < size[0]).all()
    aimed = attack("almaprox:steps=240,rate=0.004,apsr=0.9,target=class:person")(model, images, labels)
    reached = (model.module(aimed.images).argmax(1) == 1).flatten(1).float().mean(1)
    assert torch.allclose(aimed.score, reached)
    assert (reached >= 0.9).all()


@pytest.mark.parametrize("kind", ["exact", "published"])
def test_an_image_is_attacked_as_if_it_were_alone(kind):
    images = 0.3 + 0.4 * torch.rand(5, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    model = toys.Toy(toys.PixelLinear(W), 2)
    labels = model.module(images).argmax(1)
    made = attack(f"almaprox:steps=120,slope={kind}")
    together = made(model, images, labels)
    for i in range(len(images)):
        alone = made(model, images[i : i + 1], labels[i : i + 1])
        assert torch.allclose(alone.images[0], together.images[i], atol=1e-6)
        assert alone.score[0] == together.score[i]


@pytest.mark.parametrize("kind", ["exact", "published"])
def test_the_cost_is_what_the_network_was_asked(kind):
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    made = attack(f"almaprox:steps=12,slope={kind},reference=pred")
    result = made(model, images, labels)
    assert result.forwards.sum() == model.images
    assert result.backwards.sum() == model.backwards
    assert made.budget == (1 + 1 + 13 + 8, 12)
    assert result.trace.shape == (len(images), 13)
    assert (result.trace.diff(dim=1) >= 0).all()


def test_a_region_is_kept_bit_for_bit_and_so_is_an_image_without_labels():
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    labels[1] = 255
    region = torch.zeros_like(labels, dtype=torch.bool)
    region[:, :, :8] = True
    result = attack("almaprox:steps=8")(model, images, labels, region=region)
    changed = (result.images != images).any(1)
    assert not (changed & ~region).any()
    assert changed[0].any()
    assert not changed[1].any()
    assert result.images.min() >= 0
    assert result.images.max() <= 1


def test_a_network_that_gives_no_numbers_is_a_fault():
    class Broken(toys.PixelLinear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.nan

    images = torch.full((2, 3, 1, 1), 0.5)
    result = attack("almaprox:steps=3")(toys.Toy(Broken(W), 2), images, torch.zeros(2, 1, 1, dtype=torch.int64))
    assert (result.fault == 1).all()
    assert torch.equal(result.images, images)
