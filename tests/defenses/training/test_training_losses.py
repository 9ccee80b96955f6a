"""Training losses that can be worked out by hand, and what every one of them must keep to."""

import math

import pytest
import torch

from robustseg.defenses.training.losses import (
    cross_entropy,
    divergence,
    log_probabilities,
    mean_of_pixels,
    soft_cross_entropy,
)
from robustseg.types import DenseOutput, SemanticTarget


def logits(*p):
    """One pixel with these probabilities."""
    return DenseOutput(torch.tensor(p).log().view(1, -1, 1, 1))


ONE = SemanticTarget(torch.tensor([[[0]]]))


def test_cross_entropy_at_a_temperature_by_hand():
    z = DenseOutput(torch.tensor([2.0, 0.0]).view(1, 2, 1, 1))
    for T in (1.0, 4.0):
        assert cross_entropy(z, ONE, temperature=T).item() == pytest.approx(math.log1p(math.exp(-2 / T)), rel=1e-5)


def test_soft_labels_by_hand():
    # teacher (3/4, 1/4) at temperature 1, student (1/2, 1/2): log 2; a student that agrees has the teacher's entropy
    teacher = logits(0.75, 0.25)
    assert soft_cross_entropy(logits(0.5, 0.5), teacher, ONE, 1.0).item() == pytest.approx(math.log(2))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert soft_cross_entropy(teacher, teacher, ONE, 1.0).item() == pytest.approx(entropy, rel=1e-5)


def test_divergence_by_hand():
    clean = log_probabilities(logits(0.75, 0.25), (1, 1))
    wanted = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergence(logits(0.5, 0.5), clean, ONE).item() == pytest.approx(wanted, rel=1e-5)
    assert divergence(logits(0.75, 0.25), clean, ONE).item() == pytest.approx(0, abs=1e-7)


def test_scores_that_are_no_logits_are_normalised():
    scores = DenseOutput(torch.tensor([3.0, 1.0]).view(1, 2, 1, 1), "scores")
    assert log_probabilities(scores, (1, 1)).exp().flatten().tolist() == pytest.approx([0.75, 0.25])


def test_the_gradient_of_a_linear_model_falls_with_the_temperature():
    """d log F_T / dx = (1/T) (w_y - Σ F_T w): at equal probabilities exactly 1/T of that at 1."""
    w = torch.tensor([[1.0, -2.0], [-1.0, 2.0]])
    grads = []
    for T in (1.0, 20.0):
        x = torch.zeros(1, 2, 1, 1, requires_grad=True)
        out = DenseOutput(torch.einsum("kc,bchw->bkhw", w, x))
        (g,) = torch.autograd.grad(cross_entropy(out, ONE, temperature=T).sum(), x)
        grads.append(g)
    torch.testing.assert_close(grads[0], 20 * grads[1])


@pytest.mark.parametrize("kind", ["ce", "soft", "kl"])
def test_ignored_pixels_have_no_gradient_and_images_do_not_mix(kind):
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 2, 2, generator=g, requires_grad=True)
    other = torch.randn(2, 3, 2, 2, generator=g)
    target = SemanticTarget(torch.tensor([[[0, 255], [1, 2]], [[2, 1], [0, 0]]]))
    value = {
        "ce": lambda: cross_entropy(DenseOutput(z), target),
        "soft": lambda: soft_cross_entropy(DenseOutput(z), DenseOutput(other), target, 3.0),
        "kl": lambda: divergence(DenseOutput(z), other.log_softmax(1), target),
    }[kind]()
    (grad,) = torch.autograd.grad(value[0], z)
    assert not grad[0, :, 0, 1].any()
    assert grad[0, :, 0, 0].any()
    assert not grad[1].any()


def test_an_image_without_labels_costs_nothing():
    nothing = SemanticTarget(torch.full((1, 2, 2), 255))
    z = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = cross_entropy(DenseOutput(z), nothing)
    (grad,) = torch.autograd.grad(value.sum(), z)
    assert value.item() == 0
    assert not grad.any()


def test_class_weights_average_by_weight():
    y = SemanticTarget(torch.tensor([[[0, 1, 255]]]))
    assert mean_of_pixels(torch.tensor([[[1.0, 4.0, 99.0]]]), y, torch.tensor([1.0, 2.0])).item() == pytest.approx(3.0)
