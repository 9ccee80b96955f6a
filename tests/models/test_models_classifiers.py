"""Classifiers behind the one face: the scores of the library itself, as a label map of one pixel."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import robustseg as rs
from robustseg.models.classifiers import Cropped, centre, distinct
from robustseg.models.refs import NORMALISATIONS

MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in NORMALISATIONS["imagenet"])


@pytest.fixture
def photos():
    return torch.rand(2, 3, 90, 120, generator=torch.Generator().manual_seed(0))


def stirred(network):
    """Untrained heads of timm are all zero: every layer gets weights that show."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return network.eval()


def same(model, theirs, x):
    """Equal scores, one pixel, and a gradient that reaches the photographs."""
    x = x.clone().requires_grad_()
    scores = model(x).scores
    assert scores.shape == (*theirs.shape, 1, 1)
    assert theirs.std() > 1e-4
    assert (scores.flatten(1) - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    (g,) = torch.autograd.grad(scores.square().sum(), x)
    return g.abs().amax((0, 1))


def test_timm_by_name_sees_the_middle_as_timm_prepares_it(tmp_path, photos):
    import timm

    network = stirred(timm.create_model("test_vit", num_classes=4))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = rs.load_model(f"timm:test_vit?weights={tmp_path / 'w.pth'}&classes=a,b,c,d")
    config = timm.get_pretrained_cfg("test_vit")
    side, shortest = config.input_size[1], int(config.input_size[1] / config.crop_pct)
    resized = F.interpolate(photos, (shortest, int(shortest * 120 / 90)), mode="bicubic", antialias=True)
    left, top = round((resized.shape[3] - side) / 2), round((shortest - side) / 2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (config.mean, config.std))
    with torch.no_grad():
        theirs = network((resized[..., top : top + side, left : left + side] - mean) / std)
    seen = same(model, theirs, photos)
    assert model.spec.task == "classification"
    assert model.spec.classes == ("a", "b", "c", "d")
    assert seen[:, 0].max() == 0 == seen[:, -1].max()  # a wide photograph: the sides are cut off
    assert (seen[:, 60] > 0).all()


def test_timm_folder_and_options(tmp_path, photos):
    import json

    import timm
    from safetensors.torch import save_file

    network = stirred(timm.create_model("resnet10t", num_classes=3, channels=(8, 8, 16, 16)))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "resnet10t", "num_classes": 3, "model_args": {"channels": [8, 8, 16, 16]},
              "label_names": ["x", "y", "z"]}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = rs.load_model(f"timm:{tmp_path}?size=native&norm=half")
    with torch.no_grad():
        theirs = network((photos - 0.5) / 0.5)
    assert (same(model, theirs, photos) > 0).float().mean() > 0.9
    assert model.spec.classes == ("x", "y", "z")
    assert rs.load_model(f"timm:{tmp_path}").spec.digest != model.spec.digest
    with pytest.raises(rs.UserError, match="3 classes but 2 are named"):
        rs.load_model(f"timm:{tmp_path}?classes=a,b")
    config["model_args"]["checkpoint_path"] = "/elsewhere/evil.pth"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(rs.UserError, match="model_args may not hold checkpoint_path"):
        rs.load_model(f"timm:{tmp_path}")


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_torchvision(name, tmp_path, photos):
    from torchvision.models import get_model

    network = get_model(name, weights=None, num_classes=4).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = rs.load_model(f"torchvision:{name}?weights={tmp_path / 'w.pth'}&classes=a,b,c,d&size=90x120")
    with torch.no_grad():
        theirs = network((photos - MEAN) / STD)
    assert (same(model, theirs, photos) > 0).any()
    assert isinstance(
        rs.load_model(f"torchvision:{name}?weights={tmp_path / 'w.pth'}&classes=a,b,c,d").prepare, Cropped
    )
    with pytest.raises(rs.UserError, match="have 4 classes; name them"):
        rs.load_model(f"torchvision:{name}?weights={tmp_path / 'w.pth'}")


def test_huggingface_vit(tmp_path, photos):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(**small, image_size=32, patch_size=8, id2label={0: "cat", 1: "dog"})
    network = stirred(ViTForImageClassification(config))
    network.save_pretrained(tmp_path)
    with pytest.raises(rs.UserError, match=r"no preprocessor_config\.json"):
        rs.load_model(f"hf:{tmp_path}")
    size = {"height": 32, "width": 32}
    ViTImageProcessor(image_mean=[0.4] * 3, image_std=[0.2] * 3, size=size).save_pretrained(tmp_path)
    model = rs.load_model(f"hf:{tmp_path}")
    resized = F.interpolate(photos, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        theirs = network((resized - 0.4) / 0.2).logits
    assert (same(model, theirs, photos) > 0).all()
    assert model.spec.classes == ("cat", "dog")
    assert model.spec.task == "classification"


def test_a_centre_crop_of_huggingface_stays_one(tmp_path, photos):
    from transformers import DeiTImageProcessor, ViTConfig, ViTForImageClassification

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    network = stirred(ViTForImageClassification(ViTConfig(**small, image_size=32, patch_size=8)))
    network.save_pretrained(tmp_path)
    more = {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    DeiTImageProcessor(size={"height": 40, "width": 40}, **more).save_pretrained(tmp_path)
    x = photos.requires_grad_()
    (g,) = torch.autograd.grad(rs.load_model(f"hf:{tmp_path}")(x).scores.square().sum(), x)
    seen = g.abs().amax((0, 1)) > 0
    assert not seen[0].any()
    assert not seen[:, 0].any()
    assert seen[45, 60]


def test_wrapped(photos):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    model = rs.wrap(network, task="classification", classes=list("abcd"), multiple=32)
    scores = model(photos).scores
    assert scores.shape == (2, 4, 1, 1)  # padded to 96x128, and nothing cut off
    one = rs.wrap(nn.Sequential(network, nn.Linear(4, 1)), task="classification", classes=["no", "yes"],
                  activation="sigmoid")  # fmt: skip
    assert torch.equal(one(photos).scores[:, 0], torch.zeros(2, 1, 1))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (nn.Conv2d(3, 4, 1), r"shape \(2, 4, 90, 120\); a classifier gives one score a class"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "3 channels but 4 classes are named"),
    ],
)
def test_what_is_no_classifier(made, says, photos):
    with pytest.raises(rs.UserError, match=says):
        rs.wrap(made, task="classification", classes=list("abcd"))(photos)


def test_an_argmaxed_classifier_is_found_out(photos):
    class Argmax(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(2).argmax(1)

    with pytest.raises(rs.UserError, match="has no gradient"):
        rs.wrap(Argmax(), task="classification", classes=list("abc"))(photos)


def test_refusals(tmp_path):
    with pytest.raises(rs.UserError, match=r"timm has no 'resnet19'.*did you mean"):
        rs.load_model("timm:resnet19?weights=x.pth")
    with pytest.raises(rs.UserError, match="nothing is downloaded"):
        rs.load_model("timm:resnet18")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(rs.UserError, match="is refused"):
        rs.load_model(f"timm:test_vit?weights={tmp_path / 'evil.pth'}")
    with pytest.raises(rs.UserError, match="is refused"):
        rs.load_model(f"torchvision:resnet18?weights={tmp_path / 'evil.pth'}")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(rs.UserError, match="not the weights of this timm classifier"):
        rs.load_model(f"timm:test_vit?weights={tmp_path / 'other.pth'}")


def test_a_classifier_takes_no_window(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import robustseg as rs\nfrom torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    return rs.wrap(net, task='classification', classes=list('abc'))\n"
    )
    with pytest.raises(rs.UserError, match="sees the whole image at once"):
        rs.load_model(f"py:{tmp_path / 'mine.py'}:build", window=32)


def test_names_that_occur_twice_are_told_apart():
    from torchvision.models import ResNet18_Weights

    names = distinct(ResNet18_Weights.DEFAULT.meta["categories"])
    assert len(set(names)) == len(names) == 1000
    assert distinct(["maillot", "sock", "maillot"]) == ("maillot", "sock", "maillot (2)")


def test_an_image_smaller_than_the_crop_is_said_to_be():
    with pytest.raises(rs.UserError, match="smaller than the 32x32"):
        Cropped((0.0,) * 3, (1.0,) * 3, crop=(32, 32)).resized(torch.zeros(1, 3, 30, 40))
    assert centre((32, 32), 36, ((0.0,) * 3, (1.0,) * 3)).resized(torch.zeros(1, 3, 30, 40)).shape[2:] == (32, 32)
