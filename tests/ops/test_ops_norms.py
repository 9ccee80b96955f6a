"""Balls: projections land on the nearest point, steps are steepest, starts are inside. Any input, by hypothesis."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg.attacks.constraints import Ball
from robustseg.ops import norms, seeds

settings.register_profile("fast", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("fast")

SEEDS = st.integers(0, 10_000)
EPS = st.sampled_from([0.0, 1 / 255, 8 / 255, 0.3, 2.0])
KINDS = st.sampled_from(norms.NORMS)
MASKED = st.booleans()


def drawn(seed: int, eps: float, kind: str, masked: bool):
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 3, 4, 5, generator=g).round(decimals=1)  # black and white pixels too
    mask = torch.rand(3, 4, 5, generator=g) < 0.5 if masked else None
    delta = torch.randn(3, 3, 4, 5, generator=g) * 10 ** torch.empty(1).uniform_(-3, 1, generator=g)
    return images, mask, delta, Ball(kind, eps).bind(images, mask)


def inside(images, mask, delta, kind, eps):
    assert (norms.norm(delta, kind) <= eps * (1 + 1e-5) + 1e-7).all()
    x = images + delta
    assert x.min() >= 0
    assert x.max() <= 1
    if mask is not None:
        outside = ~mask.unsqueeze(1).expand_as(x)
        assert torch.equal(x[outside], images[outside])


@given(SEEDS, EPS, KINDS, MASKED)
def test_projection_is_inside_and_idempotent(seed, eps, kind, masked):
    images, mask, delta, bound = drawn(seed, eps, kind, masked)
    once = bound.project(delta)
    inside(images, mask, once, kind, eps)
    assert torch.allclose(bound.project(once), once, rtol=1e-6, atol=0)


@given(SEEDS, EPS, KINDS, MASKED)
def test_points_inside_stay(seed, eps, kind, masked):
    _images, _mask, delta, bound = drawn(seed, eps, kind, masked)
    there = bound.project(delta) * 0.5
    assert torch.equal(bound.project(there), there)


@given(SEEDS, st.sampled_from([1 / 255, 0.3]), MASKED)
def test_linf_projection_is_the_nearest_point(seed, eps, masked):
    """Nearest in a box is nearest coordinate by coordinate: on a grid over the box nothing is nearer."""
    _images, _mask, delta, bound = drawn(seed, eps, "linf", masked)
    mine = (bound.project(delta) - delta).abs()
    for share in torch.linspace(0, 1, 11):
        grid = bound.low + share * (bound.high - bound.low)
        assert (mine <= (grid - delta).abs() + 1e-6).all()


@given(SEEDS, st.floats(0.1, 3))
def test_l2_projection_is_the_nearest_point(seed, eps):
    """Brute force in the plane: no point of the circle or its inside is nearer."""
    point = torch.randn(1, 2, generator=torch.Generator().manual_seed(seed)) * 3
    mine = norms.project_l2(point, eps)
    angle = torch.linspace(0, 2 * torch.pi, 2001)
    circle = eps * torch.stack([angle.cos(), angle.sin()], 1)
    nearest = (circle - point).norm(dim=1).min()
    if point.norm() <= eps:
        assert torch.equal(mine, point)
    else:
        assert (mine - point).norm() <= nearest + 1e-5
        assert mine.norm() <= eps * (1 + 1e-6)


@given(SEEDS, EPS, KINDS, MASKED)
def test_start_is_inside_and_belongs_to_the_image(seed, eps, kind, masked):
    images, mask, _, bound = drawn(seed, eps, kind, masked)
    start = bound.start([seeds.generator(seed, f"im{i}") for i in range(3)])
    inside(images, mask, start, kind, eps)
    one = bound.select(torch.tensor([1]))
    assert torch.equal(one.start([seeds.generator(seed, "im1")])[0], start[1])
    if eps and not masked:
        assert start.abs().max() > 0


@given(SEEDS, KINDS)
def test_the_step_is_steepest(seed, kind):
    """No unit step raises a linear function more: the dual norm is attained, at any scale of the gradient."""
    g = torch.Generator().manual_seed(seed)
    gradient = torch.randn(2, 7, generator=g) * 10.0 ** int(torch.randint(-30, 10, (1,), generator=g))
    step = norms.steepest(gradient, kind)
    dual = gradient.abs().sum(1) if kind == "linf" else gradient.double().norm(dim=1).float()
    assert torch.allclose((step * gradient).sum(1), dual, rtol=1e-4)
    assert torch.allclose(norms.norm(step, kind), torch.ones(2))


@pytest.mark.parametrize("kind", norms.NORMS)
def test_no_gradient_no_step(kind):
    assert torch.equal(norms.steepest(torch.zeros(1, 4), kind), torch.zeros(1, 4))


def test_a_region_takes_the_whole_l2_step():
    images = torch.full((1, 3, 2, 2), 0.5)
    mask = torch.tensor([[[True, False], [False, False]]])
    step = Ball("l2", 1.0).bind(images, mask).direction(torch.ones_like(images))
    assert torch.allclose(step[0, :, 0, 0], torch.full((3,), 3**-0.5))
    assert step.count_nonzero() == 3


def test_l2_starts_fill_the_ball_and_noise_its_surface():
    images = torch.full((200, 3, 4, 4), 0.5)
    bound = Ball("l2", 0.3).bind(images)
    draws = [seeds.generator(0, str(i)) for i in range(200)]
    assert norms.norm(bound.start(draws), "l2").quantile(0.2) < 0.1
    draws = [seeds.generator(0, str(i)) for i in range(200)]
    assert torch.allclose(norms.norm(bound.start(draws, outermost=True), "l2"), torch.tensor(0.3))


def test_l0_counts_changed_values():
    assert norms.norm(torch.tensor([[0.0, -2.0, 1e-9]]), "l0").tolist() == [2.0]
