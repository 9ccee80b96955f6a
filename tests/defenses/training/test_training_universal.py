"""Mask classification is trained with its own loss, after every decoder layer, on attacked images."""

import json

import pytest
import torch
from transformers import AutoConfig, Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from robustseg import attack as named
from robustseg import load_model
from robustseg.defenses.training.data import target_of
from robustseg.defenses.training.loop import Plan, train
from robustseg.defenses.training.losses import supervised
from robustseg.defenses.training.measure import scores
from robustseg.defenses.training.methods import Method, attacks_of
from robustseg.defenses.training.recipe import Recipe
from robustseg.defenses.training.start import begin, deep
from robustseg.defenses.training.steps import Steps
from robustseg.objectives.queries.training import match, set_loss
from robustseg.objectives.queries.truth import field_of

THINGS = (False, True)
CPU = torch.device("cpu")


class Images(list):
    things = THINGS


@pytest.fixture
def ref(tmp_path):
    """`hf:FOLDER` of a Mask2Former of some thousand parameters."""
    torch.manual_seed(0)
    backbone = AutoConfig.for_model(
        "resnet", embedding_size=8, hidden_sizes=(8, 8, 16, 16), depths=(1, 1, 1, 1), layer_type="basic",
        out_features=[f"stage{i}" for i in range(1, 5)],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, num_attention_heads=2,
        encoder_layers=1, encoder_feedforward_dim=32, decoder_layers=3, dim_feedforward=32, num_queries=6, dropout=0.0,
        common_stride=4, num_labels=2, id2label={0: "ground", 1: "square"},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(tmp_path)
    facts = {"adapter": "hf", "task": "universal", "classes": ["ground", "square"], "things": ["square"]}
    facts |= {"mean": [0.5] * 3, "std": [0.5] * 3, "multiple": 32}
    (tmp_path / "robustseg.json").write_text(json.dumps(facts))
    return f"hf:{tmp_path}"


@pytest.fixture
def cells():
    """Dark images with two bright squares each, as 8-bit images and codes (label + 256 * object)."""
    g = torch.Generator().manual_seed(3)
    found = Images()
    for i in range(4):
        image = torch.randint(10, 40, (3, 64, 64), generator=g).to(torch.uint8)
        code = torch.zeros(64, 64, dtype=torch.int32)
        for k, (top, left) in enumerate(((4, 6 + 4 * i), (36, 40))):
            image[:, top : top + 20, left : left + 20] += 150
            code[top : top + 20, left : left + 20] = 1 + 256 * (k + 1)
        found.append((image, code))
    return found


def batch(cells):
    x = torch.stack([image for image, _ in cells]).float() / 255
    return x, target_of(x, torch.stack([code.long() for _, code in cells]), THINGS)


def test_every_decoder_layer_is_supervised(ref, cells):
    model, (x, y) = load_model(ref), batch(cells)
    output = deep(model, model.module)(x)
    layers = [*output.extras["layers"], output]
    assert len(layers) == 3  # before the first layer, after it, and after the last
    wanted = torch.zeros(4)
    for layer in layers:
        truth = field_of(y, layer.mask_logits, 2)
        wanted = wanted + set_loss(layer, truth, truth.counted, match(layer, truth, truth.counted))
    torch.testing.assert_close(supervised(output, y), wanted)
    plain = model(x)  # the model itself is as it was
    assert torch.equal(plain.mask_logits, output.mask_logits)
    assert "layers" not in plain.extras


def test_it_learns_under_attack(ref, cells, tmp_path):
    recipe = Recipe(
        ref, "cells", attacks=("pgd:eps=4/255,steps=1", "training-loss:eps=4/255,steps=1"), steps=12, batch=2,
        crop=(64, 64), zoom=(1.0, 1.0), stretch=0.0, jitter=0.0, warmup=2,
    )  # fmt: skip
    model, (x, y) = begin(recipe, CPU), batch(cells)
    before = float(supervised(deep(model, model.module)(x), y).mean().detach())
    steps = Steps(recipe, model, Method(recipe), attacks_of(recipe), cells)
    plan = Plan(12, lr=5e-3, weight_decay=0.0, warmup=2, poly=0.9, clip=1.0, ema=0.0, seed=0)
    train(model.module, steps.losses, plan, tmp_path / "out")
    model.module.eval()
    assert float(supervised(deep(model, model.module)(x), y).mean().detach()) < 0.7 * before
    found = scores(model, cells, 1, CPU, named("pgd:eps=4/255,steps=1"))
    assert {"PQ", "mIoU"} <= set(found)


def test_a_crop_that_would_be_padded_is_refused(ref):
    with pytest.raises(Exception, match="multiples of 32"):
        begin(Recipe(ref, "cells", crop=(48, 64)), CPU)
