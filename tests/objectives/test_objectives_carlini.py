"""The margins of Carlini & Wagner: with one pixel the objective of their paper, with more a sum of it."""

from __future__ import annotations

import pytest
import torch

from robustseg.objectives.carlini import carlini, confident
from robustseg.types import DenseOutput, SemanticTarget, View


def value(z, labels, kappa=0.0, slack=0.0, targeted=False):
    x = torch.zeros(len(z), 3, *z.shape[2:])
    terms, _ = carlini(kappa, slack, targeted=targeted).value(
        View(x, x, x, DenseOutput(z)), SemanticTarget(labels), {}, 0.0
    )
    return terms["margins"]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_one_pixel_is_the_classifiers_objective(targeted, kappa):
    """f_6 as in the authors' code: ``max(0, other - real + κ)`` towards a class, ``real - other`` away from one."""
    z = 3 * torch.randn(50, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50).remainder(5).view(50, 1, 1)
    for i in range(50):
        row = z[i, :, 0, 0].tolist()
        real = row.pop(int(labels[i]))
        gap = max(row) - real if targeted else real - max(row)
        assert -value(z, labels, kappa, targeted=targeted)[i] == pytest.approx(max(0.0, gap + kappa), abs=1e-6)


def test_pixels_add_and_ignored_ones_have_no_influence():
    z = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(2))
    single = value(z, labels)
    parts = sum(
        value(z[:, :, i : i + 1, j : j + 1], labels[:, i : i + 1, j : j + 1]) for i in range(3) for j in range(5)
    )
    assert torch.allclose(single, parts, atol=1e-5)
    labels[:, 0] = 255
    (gradient,) = torch.autograd.grad(value(z, labels, 1.0).sum(), z)
    assert (gradient[:, :, 0] == 0).all()
    assert (gradient[:, :, 1:] != 0).any()


def test_a_pixel_that_is_fooled_with_confidence_rests():
    z = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.5]]]], requires_grad=True)  # pixel 0 right by 2, pixel 1 wrong by 0.5
    labels = torch.zeros(1, 1, 2, dtype=torch.int64)
    for kappa, slack, expected, pulls in ((0.0, 0.0, -2.0, 0), (0.4, 0.0, -2.4, 0), (0.4, 0.2, -2.6 - 0.1, 1)):
        found = value(z, labels, kappa, slack)
        assert found.item() == pytest.approx(expected)
        (gradient,) = torch.autograd.grad(found.sum(), z)
        assert (gradient[0, :, 0, 1] != 0).any() == bool(pulls)


def test_the_score_asks_for_confidence():
    z = torch.tensor([[[[2.0, 0.0, 0.0, 0.0]], [[0.0, 0.5, 1.5, 0.0]]]])
    labels = torch.tensor([[[0, 0, 0, 0]]])
    x = torch.zeros(1, 3, 1, 4)
    view = View(x, x, x, DenseOutput(z))
    for kappa, share in ((0.0, 0.5), (1.0, 0.25), (2.0, 0.0)):
        assert confident(kappa)(view, SemanticTarget(labels), {}).item() == share
    assert confident(1.0, targeted=True)(view, SemanticTarget(torch.ones_like(labels)), {}).item() == 0.25
