"""What is exported rebuilds the network, alone and within half precision."""

import json

import pytest
import torch
from recipes.export import describe, export, reload
from recipes.measure import exported, in_training
from recipes.networks import HEAD, bare, build, logits
from recipes.publish import sizes


@pytest.mark.parametrize("fixture", ["hf_recipe", "smp_recipe"])
def test_reload_gives_the_same_logits(fixture, request, tmp_path):
    recipe = request.getfixturevalue(fixture)
    network = build(recipe).eval()
    export(network, recipe, tmp_path)
    again = reload(recipe, tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = logits(network, pixels), logits(again, pixels)
    assert (a - b).abs().max() < 0.02 * a.std()  # half precision keeps 11 bits
    assert {p.dtype for p in network.parameters()} == {torch.float32}  # the original was not touched


@pytest.mark.parametrize("fixture", ["universal_recipe", "regions_recipe"])
def test_users_get_what_was_trained(fixture, request, tmp_path):
    recipe = request.getfixturevalue(fixture)
    network = build(recipe)
    assert hasattr(network, HEAD) == (recipe.task == "universal")
    export(bare(network), recipe, tmp_path)
    model = exported(recipe, tmp_path)
    assert model.spec.classes == recipe.classes
    assert model.spec.task == recipe.task
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = in_training(network, recipe)(pixels), model(pixels)
    a, b = (o.class_logits if recipe.task == "universal" else o.objectness for o in outputs)
    assert (a - b).abs().max() < 0.03 * a.std()
    assert hasattr(network, HEAD) == (recipe.task == "universal")  # the original keeps its head


def test_robustseg_json(hf_recipe, tmp_path):
    network = build(hf_recipe)
    describe(network, hf_recipe, tmp_path, {"aAcc": 0.5, "mIoU": 0.25, "measured": "by hand"})
    facts = json.loads((tmp_path / "robustseg.json").read_text())
    assert facts["adapter"] == "hf"
    assert facts["classes"] == ["dark", "bright", "never seen"]
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert facts["clean"]["mIoU"] == 0.25
    assert network.config.id2label == {0: "dark", 1: "bright", 2: "never seen"}


def test_a_card_says_when_images_differ_in_size():
    one, wide, same_area = (torch.zeros(3, *hw, dtype=torch.uint8) for hw in ((4, 6), (4, 9), (6, 6)))
    assert sizes([one, one]) == "4x6"
    assert sizes([wide, one, same_area, one]) == "3 sizes, 4x6 to 6x6"
