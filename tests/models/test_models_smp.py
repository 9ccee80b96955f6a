"""segmentation_models_pytorch folders equal the library's own output; nothing is fetched."""

from __future__ import annotations

import json

import pytest
import tiny_networks as tiny
import torch
import torch.nn.functional as F

import robustseg as rs
from robustseg.models import zoo
from robustseg.models.heads import semantic
from robustseg.types import RegionOutput


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """(folder, network) of a small U-Net that was made with ImageNet encoder weights, as far as its config says."""
    import segmentation_models_pytorch as smp

    net = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 4, 4), classes=3)
    folder = tmp_path_factory.mktemp("smp")
    tiny.stir(net).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "encoder_weights": "imagenet"}))
    return folder, net


def test_equals_the_library_with_padding_cut_off(unet, images):
    folder, net = unet
    model = rs.load_model(f"smp:{folder}?classes=a,b,c&norm=imagenet")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        theirs = net(F.pad((images - mean) / std, (0, 64 - 53, 0, 64 - 37)))[..., :37, :53]
    x = images.requires_grad_()
    ours = model(x).scores
    assert theirs.std() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    (g,) = torch.autograd.grad(ours.square().sum(), x)
    assert (g.abs().amax(1) > 0).float().mean() > 0.9


def test_facts_of_robustseg_json(unet, images, tmp_path):
    _, net = unet
    net.save_pretrained(tmp_path)
    with pytest.raises(rs.UserError, match="nobody names the 3 classes"):
        rs.load_model(f"smp:{tmp_path}")
    with pytest.raises(rs.UserError, match="nobody says how pixels are normalised"):
        rs.load_model(f"smp:{tmp_path}?classes=a,b,c")
    facts = {"classes": ["x", "y", "z"], "mean": [0.0] * 3, "std": [1.0] * 3, "multiple": 64}
    (tmp_path / "robustseg.json").write_text(json.dumps(facts))
    model = rs.load_model(f"smp:{tmp_path}")
    assert model.spec.classes == ("x", "y", "z")
    assert (model.prepare.multiple, model.prepare.mean) == (64, (0.0,) * 3)


def test_a_timm_encoder_knows_its_normalisation(tmp_path):
    import segmentation_models_pytorch as smp

    net = smp.Unet("tu-mobilevitv2_050", encoder_weights=None, decoder_channels=(8,) * 5, classes=2)
    net.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "encoder_weights": "imagenet"}))
    model = rs.load_model(f"smp:{tmp_path}?classes=a,b")
    assert (model.prepare.mean, model.prepare.std) == ((0.0,) * 3, (1.0,) * 3)  # MobileViT2 wants raw pixels
    assert model.prepare.multiple == 32


def test_half_precision_weights_run_in_single(unet, images, tmp_path):
    folder, net = unet
    net.save_pretrained(tmp_path)
    from safetensors.torch import load_file, save_file

    state = {k: v.half() if v.is_floating_point() else v for k, v in load_file(tmp_path / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors")
    half = rs.load_model(f"smp:{tmp_path}?classes=a,b,c&norm=imagenet")
    full = rs.load_model(f"smp:{folder}?classes=a,b,c&norm=imagenet")
    assert next(half.module.parameters()).dtype == torch.float32
    assert torch.allclose(half(images).scores, full(images).scores, atol=0.02 * full(images).scores.abs().max().item())


def test_a_binary_network(tmp_path, images):
    import segmentation_models_pytorch as smp

    net = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 4, 4), classes=1, activation="sigmoid")
    tiny.stir(net).save_pretrained(tmp_path)
    model = rs.load_model(f"smp:{tmp_path}?classes=background,polyp&norm=none")
    with torch.no_grad():
        probability = net(F.pad(images, (0, 11, 0, 27)))[..., :37, :53]
    output = model(images)
    assert output.kind == "logits"
    assert torch.allclose(output.scores.softmax(1)[:, 1:], probability, atol=1e-5)


def test_broken_folders(unet, tmp_path):
    with pytest.raises(rs.UserError, match=r"holds no config\.json"):
        rs.load_model(f"smp:{tmp_path}")
    (tmp_path / "config.json").write_text('{"_model_class": "Unett", "classes": 3}')
    with pytest.raises(rs.UserError, match="did you mean Unet"):
        rs.load_model(f"smp:{tmp_path}")
    (tmp_path / "config.json").write_text((unet[0] / "config.json").read_text())
    with pytest.raises(rs.UserError, match=r"holds no model\.safetensors"):
        rs.load_model(f"smp:{tmp_path}?classes=a,b,c")
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    with pytest.raises(rs.UserError, match="not a segmentation_models_pytorch folder"):
        rs.load_model(f"smp:{tmp_path}")


def test_a_zoo_of_ones_own(unet, monkeypatch, tmp_path, images):
    folder = tmp_path / "street-unet"
    unet[1].save_pretrained(folder)
    facts = {"adapter": "smp", "classes": ["a", "b", "c"], "mean": [0.5] * 3, "std": [0.5] * 3, "parameters": 7}
    (folder / "robustseg.json").write_text(json.dumps(facts))
    (folder / "README.md").write_text("# street-unet")
    monkeypatch.setattr(zoo, "WHEEL", tmp_path)
    monkeypatch.setattr(zoo, "CHECKOUT", tmp_path / "absent")
    model = rs.load_model("zoo:street-unet")
    assert model.spec.ref == "zoo:street-unet"
    assert model(images).scores.shape == (2, 3, 37, 53)
    assert [(m["name"], m["ref"], m["parameters"]) for m in zoo.list()] == [("street-unet", "zoo:street-unet", 7)]
    assert zoo.card("street-unet") == "# street-unet"
    with pytest.raises(rs.UserError, match=r"did you mean street-unet\?.*it has: street-unet"):
        rs.load_model("zoo:street-net")
    (folder / "robustseg.json").write_text('{"adapter": "tf"}')
    with pytest.raises(rs.UserError, match="adapter 'tf' is unknown"):
        rs.load_model("zoo:street-unet")


@pytest.mark.parametrize("name", sorted(zoo.folders()))
def test_every_bundled_model_loads_and_has_a_card(name):
    model = rs.load_model(f"zoo:{name}")
    x = torch.rand(1, 3, 64, 96, requires_grad=True)
    output = model(x)
    regional = isinstance(output, RegionOutput)
    scores = output.class_logits.transpose(1, 2) if regional else semantic(output, (64, 96)).scores
    assert scores.shape[1] == len(model.spec.classes)
    (g,) = torch.autograd.grad(scores.square().sum(), x)
    assert (g.abs().amax(1) > 0).float().mean() > 0.9
    assert "icence" in zoo.card(name)
