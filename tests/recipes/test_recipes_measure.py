"""Scores of a network whose answers are known."""

import dataclasses

import pytest
import torch
from recipes.measure import in_training, measure
from torch import nn

from robustseg.tasks.semantic import predict


class Threshold(nn.Module):
    """Class 1 where the red channel is above the mean of the normalisation, else class 0; never class 2."""

    def forward(self, pixels):
        red = pixels[:, :1]
        return torch.cat([-red, red, torch.full_like(red, -1e3)], 1)


def images_of(bright):
    return (torch.tensor(bright) * 255).to(torch.uint8)[:, None].repeat(1, 3, 1, 1)


def test_scores_by_hand(hf_recipe):
    # predictions: 1 1 0 0 | 1 1 1 1; truth: 1 0 0 void | 1 1 0 void
    images = images_of([[[1, 1, 0, 0]], [[1, 1, 1, 1]]])
    labels = torch.tensor([[[1, 0, 0, 255]], [[1, 1, 0, 255]]], dtype=torch.uint8)
    scores = measure(in_training(Threshold(), hf_recipe), images, labels, batch=1)
    assert scores["aAcc"] == pytest.approx(4 / 6)
    assert scores["IoU"]["dark"] == pytest.approx(1 / 3)
    assert scores["IoU"]["bright"] == pytest.approx(3 / 5)
    assert scores["IoU"]["never seen"] is None
    assert scores["mIoU"] == pytest.approx((1 / 3 + 3 / 5) / 2)


def test_padding_does_not_move_the_prediction(hf_recipe):
    images = images_of((torch.rand(2, 7, 10, generator=torch.Generator().manual_seed(0)) > 0.5).int().tolist())
    for multiple in (1, 4, 32):
        recipe = dataclasses.replace(hf_recipe, multiple=multiple)
        output = in_training(Threshold(), recipe)(images.float() / 255)
        assert torch.equal(predict(output, (7, 10)), (images[:, 0] > 127).long())
