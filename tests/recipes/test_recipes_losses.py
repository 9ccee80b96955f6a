"""Loss values that can be worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from recipes.losses import loss

from robustseg.defenses.training.classes import class_weights, counts

ONES = torch.ones(3)


def plain(scores, target, weights, dice, ignore=255):
    """The same loss written with library functions, differentiated by autograd."""
    ce = F.cross_entropy(scores, target, weights.to(scores.dtype), ignore_index=ignore)
    known = (target != ignore)[:, None]
    truth = F.one_hot(target.where(known[:, 0], 0), scores.shape[1]).movedim(-1, 1) * known
    p = scores.softmax(1) * known
    present = truth.sum((0, 2, 3)) > 0
    per_class = 2 * (p * truth).sum((0, 2, 3)) / (p + truth).sum((0, 2, 3))
    return ce + dice * (1 - per_class[present].mean())


def test_dice_by_hand():
    # two pixels, truth 0 and 1, probability of class 0: 0.8 and 0.4 -> Dice 1.6/2.2 and 1.2/1.8
    p0 = torch.tensor([0.8, 0.4])
    log_p = torch.stack([p0, 1 - p0]).log().view(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]])
    dice = loss(log_p, target, torch.ones(2), 1.0, 255) - loss(log_p, target, torch.ones(2), 0.0, 255)
    assert dice.item() == pytest.approx(1 - (1.6 / 2.2 + 1.2 / 1.8) / 2, abs=1e-6)


def test_uniform_scores_cost_log_c():
    target = torch.tensor([[[0, 1], [2, 255]]])
    assert loss(torch.zeros(1, 5, 2, 2), target, torch.ones(5), 0.0, 255).item() == pytest.approx(math.log(5))


def test_ignored_pixels_have_no_gradient():
    scores = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([[[0, 255], [1, 255]]])
    loss(scores, target, ONES, 1.0, 255).backward()
    assert scores.grad[..., 1].abs().max() == 0
    assert scores.grad[..., 0].abs().min() > 0


def test_only_void_costs_nothing():
    scores = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(scores, torch.full((1, 2, 2), 255), ONES, 1.0, 255)
    value.backward()
    assert value.item() == 0
    assert scores.grad.abs().max() == 0


@pytest.mark.parametrize("dice", [0.0, 1.0, 2.5])
def test_value_and_gradient_are_those_of_the_plain_form(dice):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.randint(0, 3, (2, 5, 6), generator=generator)  # class 3 never occurs
    target[:, 0] = 255
    weights = torch.tensor([0.5, 1.0, 3.0, 0.0], dtype=torch.float64)
    ours, theirs = loss(scores, target, weights, dice, 255), plain(scores, target, weights, dice)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, scores)[0], torch.autograd.grad(3 * theirs, scores)[0])


def test_small_logits_are_resized_to_the_label():
    scores = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([[[0, 1, 255, 0], [2, 1, 0, 0]]])
    wide = F.interpolate(scores, (2, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss(scores, target, ONES, 1.0, 255), plain(wide, target, ONES, 1.0))


def test_class_weights_by_hand():
    labels = torch.tensor([0] * 16 + [1] * 4 + [2] * 1 + [255] * 9, dtype=torch.uint8)
    weights = class_weights(counts([labels], 4), 0.5, 1.5)
    assert weights.tolist() == pytest.approx([0.5, 1.0, 1.5, 0.0])  # median 4: sqrt(4/16), 1, min(2, 1.5), never seen
