"""Scores of a network whose answers are known."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from recipes.measure import batches, in_training, measure, measure_segments
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


class Squares(nn.Module):
    """Three queries: the ground, the bright left half, the bright right half; an image without light has no object."""

    def forward(self, pixels):
        bright = pixels[:, 0] > 0
        half = torch.arange(pixels.shape[-1]) < pixels.shape[-1] // 2
        masks = torch.stack([~bright, bright & half, bright & ~half], 1)
        there = masks.flatten(2).any(2)
        classes = torch.where(there, torch.tensor([0, 1, 1]), 2)
        logits = 20 * F.one_hot(classes, 3).float()
        return SimpleNamespace(class_queries_logits=logits, masks_queries_logits=40.0 * masks - 20)


def test_segments_by_hand(universal_recipe):
    recipe = dataclasses.replace(universal_recipe, classes=("dark", "bright"), things=("bright",), multiple=1)
    code = torch.zeros(2, 8, 16, dtype=torch.int32)
    code[:, 2:6, 2:6] = 1 + 256 * 300
    code[0, 2:6, 10:14] = 1 + 256 * 301
    images = images_of((code > 0).int().tolist())
    scores = measure_segments(in_training(Squares(), recipe), images, code, recipe)
    assert scores["PQ"] == scores["AP50"] == scores["mIoU"] == 1
    # one of the two objects of the first image is twice as large as what is found: IoU 1/2 is a match for AP50 only
    code[0, :, 10:14] = 1 + 256 * 301
    scores = measure_segments(in_training(Squares(), recipe), images, code, recipe)
    assert scores["PQ_per_class"]["bright"] == pytest.approx(2 / 3)  # two right, one missed, one invented
    assert scores["AP50"] == 1
    assert scores["AP"] < 0.9
    assert 0.9 < scores["PQ_st"] < 1


class Beads(nn.Module):
    """A query for each of the 8x16 cells of 2x2 pixels, and one for the ground between them."""

    def forward(self, pixels):
        masks = torch.zeros(129, *pixels.shape[-2:])
        for k in range(128):
            y, x = 3 * (k // 16), 3 * (k % 16)
            masks[k, y : y + 2, x : x + 2] = 1
        masks[128] = 1 - masks.sum(0)
        classes = F.one_hot(torch.tensor([1] * 128 + [0]), 3).float()
        return SimpleNamespace(class_queries_logits=20 * classes[None], masks_queries_logits=40 * masks[None] - 20)


def test_as_many_detections_count_as_the_recipe_says(universal_recipe):
    recipe = dataclasses.replace(universal_recipe, classes=("dark", "bright"), things=("bright",), multiple=1)
    code = torch.zeros(1, 24, 48, dtype=torch.int32)
    for k in range(128):
        y, x = 3 * (k // 16), 3 * (k % 16)
        code[0, y : y + 2, x : x + 2] = 1 + 256 * (k + 1)
    images = images_of((code > 0).int().tolist())
    few = measure_segments(in_training(Beads(), recipe), images, code, recipe)
    assert few["AP50"] == pytest.approx(78 / 101)  # the ground and 99 of 128: precision 1 at the recalls 0 to 0.77
    all_of_them = dataclasses.replace(recipe, detections=500)
    assert measure_segments(in_training(Beads(), all_of_them), images, code, all_of_them)["AP50"] == 1


def test_images_of_one_size_share_a_batch():
    images = [torch.zeros(3, *s) for s in ((4, 4), (4, 4), (4, 8), (4, 4), (4, 4), (4, 4))]
    found = [len(x) for x, _ in batches(images, [i[0] for i in images], 2)]
    assert found == [2, 1, 2, 1]
