"""What a training starts from: whole models, fresh weights, another model's backbone."""

import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from robustseg import load_model
from robustseg.defenses.training.recipe import Recipe
from robustseg.defenses.training.start import begin, fresh, take_backbone
from robustseg.errors import UserError

CPU = torch.device("cpu")


def states(module):
    return module.state_dict()


@pytest.mark.parametrize("model", ["start", "cnn"])
def test_fresh_weights_are_others_of_the_same_network(model, request):
    ref = request.getfixturevalue(model)
    old = states(load_model(ref).module)
    new = states(begin(Recipe(ref, "x", fresh=True, seed=3), CPU).module)
    assert {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in new.items()}
    assert any(not torch.equal(old[k], new[k]) for k in old if k.endswith("weight"))
    again = states(begin(Recipe(ref, "x", fresh=True, seed=3), CPU).module)
    assert all(torch.equal(new[k], again[k]) for k in new)


@pytest.mark.parametrize(("model", "prefix"), [("start", "segformer."), ("cnn", "encoder.")])
def test_only_the_backbone_of_another_model_is_taken(model, prefix, request):
    ref = request.getfixturevalue(model)
    other, mine = states(load_model(ref).module), begin(Recipe(ref, "x", fresh=True, seed=5), CPU).module
    before = {k: v.clone() for k, v in states(mine).items()}
    got = states(begin(Recipe(ref, "x", fresh=True, backbone=ref, seed=5), CPU).module)
    inside = [k for k in got if k.startswith(prefix)]
    assert inside
    for k in got:
        assert torch.equal(got[k], (other if k in inside else before)[k]), k


def test_a_backbone_alone_in_a_file_is_found(start, tmp_path):
    from safetensors.torch import save_file

    module = load_model(start).module
    inner = {k.removeprefix("segformer."): v + 1 for k, v in states(module).items() if k.startswith("segformer.")}
    save_file(inner, tmp_path / "backbone.safetensors")
    assert take_backbone(module, inner, "file") == len(inner)
    model = begin(Recipe(start, "x", backbone=str(tmp_path / "backbone.safetensors")), CPU)
    name = next(iter(inner))
    assert torch.equal(states(model.module)[f"segformer.{name}"], inner[name])


def test_a_backbone_of_another_architecture_is_refused(start, cnn):
    with pytest.raises(UserError, match="same architecture"):
        begin(Recipe(start, "x", backbone=cnn), CPU)


def test_fresh_leaves_the_old_network_alone(start):
    module = load_model(start).module
    before = {k: v.clone() for k, v in states(module).items()}
    fresh(module)
    assert all(torch.equal(v, states(module)[k]) for k, v in before.items())


def test_a_preparation_that_cannot_be_written_down_is_refused(tmp_path):
    SegformerForSemanticSegmentation(
        SegformerConfig(depths=(1, 1, 1, 1), hidden_sizes=(8, 8, 8, 8), num_attention_heads=(1, 1, 1, 1))
    ).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "SegformerImageProcessor", "do_resize": false, "do_rescale": false, '
        '"image_mean": [124, 116, 104], "image_std": [58, 57, 57]}'
    )
    with pytest.raises(UserError, match="preparation of pixels"):
        begin(Recipe(f"hf:{tmp_path}", "x"), CPU)
