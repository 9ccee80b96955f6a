"""Recipes of classifiers and of the plain transformer: they learn, and users get what was trained."""

import dataclasses
import json

import pytest
import torch
from recipes.card import card
from recipes.command import ROOT, splits
from recipes.engine import train
from recipes.export import export, reload
from recipes.measure import exported, in_training, measure_labels
from recipes.networks import build, logits
from recipes.recipes import CROPS, RECIPES, Stage

from robustseg.data.street_crops import CLASSES

SMALL = {
    "hf": (
        ("hidden_size", 16), ("num_hidden_layers", 1), ("num_attention_heads", 2), ("intermediate_size", 16),
        ("image_size", 32), ("patch_size", 8),
    ),
    "timm": (("architecture", "resnet10t"), ("channels", (8, 8, 16, 16))),
}  # fmt: skip


@pytest.fixture(params=SMALL)
def recipe(request, hf_recipe):
    return dataclasses.replace(
        hf_recipe, library=request.param, network=SMALL[request.param], task="classification", data="street-crops",
        size=(32, 32), multiple=1, stages=(Stage(40, (32, 32), 8, (0.8, 1.2)),), lr=5e-3, ema=0.8, balance=0.0,
    )  # fmt: skip


@pytest.fixture
def crops():
    """Crops of one brightness each, with noise; labels as maps of one class."""
    generator = torch.Generator().manual_seed(3)
    classes = torch.arange(12) % 2
    noise = torch.randint(0, 60, (12, 3, 40, 40), generator=generator)
    images = (60 + 80 * classes.view(-1, 1, 1, 1) + noise).to(torch.uint8)
    return images, classes.to(torch.uint8).view(-1, 1, 1).expand(12, 40, 40).contiguous()


def test_it_learns_and_is_exported_as_it_was_trained(recipe, crops, tmp_path):
    network, step = train(recipe, *crops, tmp_path / "run", bfloat16=False)
    assert step == 40
    after = measure_labels(in_training(network, recipe), *crops)
    assert after["accuracy"] == 1
    assert after["accuracy_per_class"] == {"dark": 1, "bright": 1, "never seen": None}
    export(network, recipe, tmp_path / "zoo")
    model = exported(recipe, tmp_path / "zoo")
    assert (model.spec.task, model.spec.classes) == ("classification", recipe.classes)
    pixels = torch.rand(2, 3, 50, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = (m(pixels).scores for m in (in_training(network, recipe), model))
    assert a.shape == (2, 3, 1, 1)
    assert (a - b).abs().max() < 0.02 * a.std()
    facts = json.loads((tmp_path / "zoo" / "robustseg.json").read_text())
    assert facts["data"] == "street-crops:val"
    assert facts["resize"] == [32, 32]
    assert {p.dtype for p in reload(recipe, tmp_path / "zoo").parameters()} == {torch.float32}


def test_accuracy_looks_at_the_middle_of_the_label_map(recipe, crops):
    images, labels = crops
    labels = labels.clone()
    labels[:, :5] = 255  # what a window over the border leaves

    class Bright(torch.nn.Module):
        def forward(self, x):
            mean = x.mean((1, 2, 3))
            return torch.stack([-mean, mean, -9 + 0 * mean], 1)

    plain = dataclasses.replace(recipe, mean=(0.43,) * 3, std=(1.0,) * 3)
    assert measure_labels(in_training(Bright(), plain), images, labels)["accuracy"] == 1
    assert measure_labels(in_training(Bright(), plain), images, 1 - labels.clamp_max(1))["accuracy"] == 0


def test_the_classes_of_recipe_and_reader_are_one_list():
    assert CROPS == CLASSES


@pytest.mark.parametrize("name", ["street-cnn-classifier", "street-vit-classifier"])
def test_classifiers_are_small(name):
    assert sum(p.numel() for p in build(RECIPES[name]).parameters()) <= 1_000_000


def test_crops_kept_back_are_no_training_crops():
    root = ROOT / "src" / "robustseg" / "data" / "packs" / "street-fit"
    data = splits(RECIPES["street-cnn-classifier"], root)
    (images, labels), (scored, true) = data["train"], data["val"]
    assert images.shape[1:] == (3, 80, 80)
    assert labels.shape[1:] == (80, 80)
    assert scored.shape[1:] == (3, 64, 64)
    assert true.shape[1:] == (1, 1)
    assert len(scored) == len(true) == (len(images) + len(scored)) // 8
    assert (labels == labels[:, :1, :1]).all()


def test_the_card_of_a_classifier():
    recipe = RECIPES["street-vit-classifier"]
    facts = {"data": "street-crops:val", "images": 3, "size": "64x64", "steps": recipe.steps, "cpu_minutes": 1,
             "hardware": "x", "versions": "torch", "command": "c", "note": "", "precision": "float32"}  # fmt: skip
    clean = {"accuracy": 0.5, "mAcc": 0.4, "measured": "c"}
    text = card(recipe, clean, {**clean, "accuracy_per_class": {"car": 0.75, "bus": None}}, 10, facts)
    assert "accuracy **0.500**, mAcc **0.400** on `street-crops:val` (3 images of 64x64)" in text
    assert "| car | 0.750 |" in text
    assert "transformers, ViT" in text
    assert ", float32, torch" in text
    assert "resized to the label" not in text


def test_the_plain_transformer_is_built_exported_and_read(tmp_path):
    """street-vit before its training: one resolution throughout, and any size, padded."""
    recipe = RECIPES["street-vit"]
    network = build(recipe).eval()
    assert sum(p.numel() for p in network.parameters()) <= 5_000_000
    export(network, recipe, tmp_path)
    model = exported(recipe, tmp_path)
    assert model.spec.task == "semantic"
    pixels = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scores = model(pixels).scores
    assert scores.shape == (1, 19, 64, 128)
    (gradient,) = torch.autograd.grad(scores.logsumexp(1).mean(), pixels)
    assert (gradient.abs().amax(1) > 0).float().mean() > 0.5
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    with torch.no_grad():
        theirs = logits(network, (pixels - mean) / std)
    assert (scores - theirs).abs().max() < 0.03 * theirs.std()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 70, 90)).scores.shape == (1, 19, 70, 90)  # padded to 96x96, and cut
