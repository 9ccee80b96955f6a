"""Gradient rules on linear terms, whose gradients are known."""

from __future__ import annotations

import pytest
import torch

from robustseg.attacks.rules import blended, summed
from robustseg.types import DenseOutput, SemanticTarget, View

W = torch.tensor([[1.0, -2.0, 4.0], [100.0, 300.0, -100.0]]).view(2, 1, 3, 1, 1)
TARGET = SemanticTarget(torch.zeros(2, 1, 1, dtype=torch.int64))


def setting(scales: tuple[float, float] = (1.0, 1.0)) -> tuple[dict[str, torch.Tensor], View, torch.Tensor]:
    """Two images; the terms ``W_m · θ``, times a factor an image."""
    theta = torch.zeros(2, 3, 1, 1, requires_grad=True)
    x = theta + 0.5
    by_image = torch.tensor(scales)
    terms = {str(m): (W[m] * x).flatten(1).sum(1) * by_image for m in range(2)}
    return terms, View(x, x, theta, DenseOutput(x)), theta


def none(view, target):
    return [None, None]


def test_summed_is_the_gradient_of_the_sum():
    terms, view, theta = setting()
    torch.testing.assert_close(summed(terms, view, TARGET, theta), (W[0] + W[1]).expand(2, -1, -1, -1))


def test_given_weights_multiply_the_gradients():
    terms, view, theta = setting()
    got = blended((0.5, 0.01), none)(terms, view, TARGET, theta)
    torch.testing.assert_close(got, (0.5 * W[0] + 0.01 * W[1]).expand(2, -1, -1, -1))


def test_auto_gives_every_member_and_image_the_same_say():
    terms, view, theta = setting((1.0, 1e-4))
    got = blended(None, none)(terms, view, TARGET, theta)
    expected = W[0] / 7 + W[1] / 500
    torch.testing.assert_close(got, expected.expand(2, -1, -1, -1))


def test_phi_multiplies_its_member_alone_before_the_balance():
    phi = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)  # image 1 was not looked at

    def maps(view, target):
        return [phi, None]

    terms, view, theta = setting()
    got = blended((1.0, 1.0), maps)(terms, view, TARGET, theta)
    torch.testing.assert_close(got, torch.cat([W[0] + W[1], W[1]]))
    terms, view, theta = setting()
    half = blended(None, lambda v, t: [phi / 2, None])(terms, view, TARGET, theta)
    torch.testing.assert_close(half, torch.cat([W[0] / 7 + W[1] / 500, W[1] / 500]))  # ½ is balanced away, 0 is not


def test_a_weight_of_zero_leaves_a_member_out_whatever_its_gradient():
    terms, view, theta = setting()
    terms["1"] = terms["1"] * torch.nan
    got = blended((2.0, 0.0), none)(terms, view, TARGET, theta)
    torch.testing.assert_close(got, (2 * W[0]).expand(2, -1, -1, -1))


@pytest.mark.parametrize("weights", [None, (1.0, 1.0)])
def test_what_is_not_finite_stays_so_in_its_image_alone(weights):
    terms, view, theta = setting((1.0, float("nan")))
    got = blended(weights, none)(terms, view, TARGET, theta)
    assert got[0].isfinite().all()
    assert not got[1].isfinite().any()


def test_a_member_without_gradient_has_no_say():
    terms, view, theta = setting()
    terms["1"] = terms["1"] * 0
    torch.testing.assert_close(blended(None, none)(terms, view, TARGET, theta), (W[0] / 7).expand(2, -1, -1, -1))
