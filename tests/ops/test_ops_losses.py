"""Per-pixel losses against their definitions, their limits, and their ends."""

from __future__ import annotations

import math

import pytest
import torch

from robustseg.ops import losses

P = torch.tensor([1e-300, 1e-12, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)


def test_jensen_shannon_is_the_mean_of_two_divergences():
    """½ KL(p|m) + ½ KL(e_y|m) with m = (p + e_y)/2, over all classes, for any distribution of the rest."""
    z = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    p, truth = z.softmax(1), torch.zeros(50, 6, dtype=torch.float64)
    truth[torch.arange(50), torch.arange(50) % 6] = 1
    m = (p + truth) / 2
    two = 0.5 * (torch.special.xlogy(p, p / m).sum(1) + torch.special.xlogy(truth, truth / m).sum(1))
    closed = losses.jensen_shannon((z.log_softmax(1) * truth).sum(1))
    assert torch.allclose(closed, two, rtol=1e-12, atol=1e-14)


def test_jensen_shannon_ends():
    ends = losses.jensen_shannon(torch.tensor([0.0, -100.0, -1e30]))
    assert torch.allclose(ends, torch.tensor([0.0, math.log(2), math.log(2)]))


def test_jensen_shannon_gradient_dies_at_both_ends_and_nowhere_between():
    """SEA's motive: on the logit of the truth, ½ p log(p/(1+p)) (1 - p), it is bounded and fades as p -> 0."""
    log_p = P.log().requires_grad_()
    (slope,) = torch.autograd.grad(losses.jensen_shannon(log_p).sum(), log_p)
    expected = 0.5 * P * (P / (1 + P)).log()
    assert torch.allclose(slope, expected, rtol=1e-6, atol=1e-30)
    on_logit = slope * (1 - P)
    assert on_logit.abs().max() < 0.5
    assert on_logit[0].abs() < 1e-30
    assert on_logit[-1].abs() < 1e-8


@pytest.mark.parametrize("q", [-2.0, -1.0, 0.0, 0.5, 0.999999, 1.0])
def test_tsallis_definition_and_slope(q):
    log_p = P[1:].log().requires_grad_()
    value = losses.tsallis(log_p, q)
    expected = -log_p if abs(q - 1) < 1e-5 else (1 - P[1:] ** (1 - q)) / (1 - q)
    assert torch.allclose(value, expected, rtol=1e-4, atol=1e-12)
    (slope,) = torch.autograd.grad(value.sum(), log_p)
    assert torch.allclose(slope, -(P[1:] ** (1 - q)), rtol=1e-4)  # ∂ℓ_q = p^(1-q) ∂CE


def test_tsallis_is_continuous_at_the_cross_entropy():
    log_p = P[2:].log()
    for q in (1 - 1e-5, 1 + 1e-5):
        assert torch.allclose(losses.tsallis(log_p, q), -log_p, rtol=1e-3)


def test_segpgd_weights_never_let_wrong_pixels_outweigh():
    """λ_t = (t-1)/2T for t = 1 … T: from 0 to just under ½ (Gu et al., eq. 6)."""
    T = 7
    for t in range(1, T + 1):
        right, false = losses.segpgd_weight(torch.tensor([True, False]), (t - 1) / T).tolist()
        assert false == pytest.approx((t - 1) / (2 * T))
        assert right == pytest.approx(1 - false)
        assert right > false
