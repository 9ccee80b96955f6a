"""The one pass over the classes against torch's own log-softmax, and its gradient by finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robustseg.ops.classes import class_pass

G = torch.Generator().manual_seed(0)
Y = torch.randint(0, 5, (2, 3, 4), generator=G)


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e4, 1e30])
def test_values_are_those_of_log_softmax_at_any_scale(scale):
    z = torch.randn(2, 5, 3, 4, generator=G) * scale
    got = class_pass(z, Y)
    assert torch.allclose(got.log_p, -F.cross_entropy(z, Y, reduction="none"), rtol=1e-5, atol=1e-6)
    assert torch.allclose(got.norm, z.softmax(1).norm(dim=1), rtol=1e-5)
    assert torch.equal(got.lead, z.gather(1, Y.unsqueeze(1)).squeeze(1) - z.amax(1))


def test_gradient_by_finite_differences():
    z = torch.randn(2, 5, 3, 4, dtype=torch.float64, generator=G).requires_grad_()
    weight = torch.rand(2, 3, 4, dtype=torch.float64, generator=G)
    assert torch.autograd.gradcheck(lambda v: (weight * class_pass(v, Y).log_p).sum(1), z)


def test_gradient_is_that_of_torch_in_float32():
    z = (torch.randn(2, 5, 3, 4, generator=G) * 8).requires_grad_()
    weight = torch.rand(2, 3, 4, generator=G)
    (mine,) = torch.autograd.grad((weight * class_pass(z, Y).log_p).sum(), z)
    (theirs,) = torch.autograd.grad(-(weight * F.cross_entropy(z, Y, reduction="none")).sum(), z)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-7)


def test_by_products_carry_no_gradient():
    got = class_pass(torch.randn(1, 3, 2, 2, requires_grad=True), Y[:1, :2, :2] % 3)
    assert got.log_p.requires_grad
    assert not (got.lead.requires_grad)
    assert not (got.powers.requires_grad)
    assert not (got.norm.requires_grad)
