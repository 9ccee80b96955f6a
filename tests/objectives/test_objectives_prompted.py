"""Prompted masks: removal and masked cross-entropy by hand; prompts that do not count have no influence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from robustseg.catalog import attack
from robustseg.objectives.prompted import OBJECTIVES, harm, mask_removal, masked_prompt
from robustseg.types import DenseOutput, ModelSpec, QueryOutput, SegmentTarget, SemanticTarget, UserError, View


def truth(masks, categories=None, crowd=None, labels=None):
    """``masks (B,S,H,W)``; prompts are not looked at here."""
    B, S, H, W = masks.shape
    categories = torch.ones(B, S, dtype=torch.int64) if categories is None else torch.tensor(categories)
    crowd = torch.zeros(B, S, dtype=torch.bool) if crowd is None else torch.tensor(crowd)
    labels = torch.zeros(B, H, W, dtype=torch.int64) if labels is None else labels
    return SegmentTarget(labels, 255, masks, categories, crowd, torch.ones(2, dtype=torch.bool))


def view(z):
    x = torch.zeros(len(z), 3, *z.shape[-2:])
    return View(x, x, x, QueryOutput(torch.zeros(*z.shape[:2], 2), z))


HALF = torch.zeros(1, 1, 2, 4, dtype=torch.bool)
HALF[..., :2] = True


def test_removal_by_hand():
    z = torch.tensor([[[[-12.0, -10.0, -8.0, 2.0]]]]).requires_grad_()
    terms, _ = mask_removal().value(view(z), truth(torch.ones(1, 1, 1, 4, dtype=torch.bool)), {}, 0.0)
    assert terms["mask-removal"].item() == -(2**2 + 12**2) / 4
    (g,) = torch.autograd.grad(terms["mask-removal"].sum(), z)
    assert g.flatten().tolist() == [0, 0, -1, -6]  # what is removed rests


def test_masked_cross_entropy_by_hand():
    z = torch.where(HALF, 2.0, -1.0)
    wrong = z.clone()
    wrong[..., 0, 0] = -3
    z, wrong = z.requires_grad_(), wrong.requires_grad_()
    right_in, right_out = math.log1p(math.exp(-2)), math.log1p(math.exp(-1))
    value = masked_prompt().value(view(z), truth(HALF), {}, 0.0)[0]["masked-prompt"]
    assert value.item() == pytest.approx((right_in + right_out) / 2, rel=1e-5)
    value = masked_prompt().value(view(wrong), truth(HALF), {}, 0.0)[0]["masked-prompt"]
    assert value.item() == pytest.approx(((3 * right_in + math.log(2)) / 4 + right_out) / 2, rel=1e-5)
    (g,) = torch.autograd.grad(value.sum(), wrong)
    assert g[..., 0, 0] == 0
    assert (g[HALF] <= 0).all()
    assert (g[~HALF] > 0).all()


def test_score_by_hand():
    z = torch.where(HALF, 2.0, -1.0)
    assert harm(view(z), truth(HALF), {}).item() == 0
    assert harm(view(-z), truth(HALF), {}).item() == 1
    two = torch.cat([z, torch.ones_like(z)], 1)  # the second answer is everything: IoU 1/2
    masks = HALF.expand(1, 2, 2, 4)
    assert harm(view(two), truth(masks), {}).item() == 0.25
    assert harm(view(two), truth(masks, [[1, -1]]), {}).item() == 0
    assert harm(view(two), truth(masks, crowd=[[False, True]]), {}).item() == 0
    assert harm(view(two), truth(masks, [[-1, -1]]), {}).item() == 0


def test_ignored_pixels_have_no_influence():
    labels = torch.zeros(1, 2, 4, dtype=torch.int64)
    labels[..., 3] = 255
    z = torch.where(HALF, 2.0, -1.0)
    other = z.clone()
    other[..., 3] = 50
    z, other = z.requires_grad_(), other.requires_grad_()
    for v in (z, other):
        value = masked_prompt().value(view(v), truth(HALF, labels=labels), {}, 0.0)[0]["masked-prompt"]
        assert value.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2, rel=1e-5)
        (g,) = torch.autograd.grad(value.sum(), v)
        assert not g[..., 3].any()
        assert harm(view(v), truth(HALF, labels=labels), {}).item() == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_prompt_that_does_not_count_has_no_gradient(name):
    z = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    masks = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5
    objective = OBJECTIVES[name]({})
    terms, _ = objective.value(view(z), truth(masks, [[1, -1, 1]], [[False, False, True]]), {}, 0.0)
    alone, _ = objective.value(view(z[:, :1]), truth(masks[:, :1]), {}, 0.0)
    (g,) = torch.autograd.grad(terms[name].sum(), z)
    assert torch.equal(terms[name], alone[name])
    assert g[:, 0].any()
    assert not g[:, 1:].any()
    with pytest.raises(UserError, match="needs SAM"):
        objective.value(replace(view(z), output=DenseOutput(z)), truth(masks), {}, 0.0)
    with pytest.raises(UserError, match="SegmentTarget"):
        objective.value(view(z), SemanticTarget(torch.zeros(1, 4, 4, dtype=torch.int64)), {}, 0.0)


class Bright:
    """Answers a box with the pixels inside it that are brighter than a half; counts its calls."""

    def __init__(self):
        self.spec, self.module = ModelSpec("bright", "prompted", ("object",), "x"), torch.nn.Identity()

    def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
        y, x = (torch.arange(n) + 0.5 for n in images.shape[-2:])
        x0, y0, x1, y1 = (v[..., None, None] for v in prompts.unbind(-1))
        inside = (x > x0) & (x < x1) & (y[:, None] > y0) & (y[:, None] < y1)
        z = torch.where(inside, 20 * (images.mean(1, keepdim=True) - 0.5), -10.0)
        return QueryOutput(torch.zeros(*z.shape[:2], 2), z)


@pytest.mark.parametrize("name", ["mask-removal", "masked-prompt"])
def test_the_attack_beats_noise_and_stays_in_its_ball(name):
    from robustseg.ops.prompts import boxes

    g = torch.Generator().manual_seed(0)
    images = 0.3 + 0.1 * torch.rand(2, 3, 16, 16, generator=g)
    masks = torch.zeros(2, 2, 16, 16, dtype=torch.bool)
    masks[0, 0, 2:7, 2:7] = masks[0, 1, 9:14, 8:15] = masks[1, 0, 4:12, 4:12] = True
    for image, mask in zip(images, masks):
        image[:, mask.any(0)] += 0.25
    t = replace(truth(masks, [[1, 1], [1, -1]]), prompts=boxes(masks))
    noise = attack("noise:eps=0.15")(Bright(), images, t)
    found = attack(f"{name}:eps=0.15,steps=20")(Bright(), images, t)
    assert (noise.score < 0.3).all()
    assert (found.score == 1).all()
    assert (found.images - images).abs().max() <= 0.15 + 1e-6
    assert torch.equal(attack(f"{name}:eps=0.15,steps=20")(Bright(), images, t).images, found.images)
    assert attack("mask-removal@paper").params["steps"] == "40"
