"""Loss values that can be worked out by hand."""

import math

import pytest
import torch
from recipes.losses import class_weights, loss, soft_dice


def test_soft_dice_by_hand():
    # two pixels, truth 0 and 1, probability of class 0: 0.8 and 0.4 -> Dice 1.6/2.2 and 1.2/1.8
    p0 = torch.tensor([0.8, 0.4])
    log_p = torch.stack([p0, 1 - p0]).log().view(1, 2, 1, 2)
    expected = 1 - (1.6 / 2.2 + 1.2 / 1.8) / 2
    assert soft_dice(log_p, torch.tensor([[[0, 1]]]), 255).item() == pytest.approx(expected, abs=1e-6)


def test_uniform_scores_cost_log_c():
    target = torch.tensor([[[0, 1], [2, 255]]])
    assert loss(torch.zeros(1, 5, 2, 2), target, torch.ones(5), 0.0, 255).item() == pytest.approx(math.log(5))


def test_ignored_pixels_have_no_gradient():
    scores = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([[[0, 255], [1, 255]]])
    loss(scores, target, torch.ones(3), 1.0, 255).backward()
    assert scores.grad[..., 1].abs().max() == 0
    assert scores.grad[..., 0].abs().min() > 0


def test_only_void_costs_nothing_in_dice():
    log_p = torch.zeros(1, 3, 2, 2).log_softmax(1)
    assert soft_dice(log_p, torch.full((1, 2, 2), 255), 255).item() == 0


def test_gradient_matches_finite_differences():
    scores = torch.randn(1, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([[[0, 1, 255], [2, 1, 0]]])
    scores.requires_grad_()
    torch.autograd.gradcheck(lambda s: soft_dice(s.log_softmax(1), target, 255), scores)


def test_class_weights_by_hand():
    labels = torch.tensor([0] * 16 + [1] * 4 + [2] * 1 + [255] * 9, dtype=torch.uint8)
    weights = class_weights(labels, 4, 0.5, 1.5)
    assert weights.tolist() == pytest.approx([0.5, 1.0, 1.5, 0.0])  # median 4: sqrt(4/16), 1, min(2, 1.5), never seen
