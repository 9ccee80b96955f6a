"""torchvision networks from a weights file equal the library's own output."""

from __future__ import annotations

import pytest
import tiny_networks as tiny
import torch

import robustseg as rs

MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """name, aux -> (file, network)."""
    made = {}

    def get(name, aux=False, classes=4):
        from torchvision.models import get_model

        if (name, aux, classes) not in made:
            more = {} if name.startswith("lraspp") else {"aux_loss": aux}
            net = get_model(name, weights=None, weights_backbone=None, num_classes=classes, **more)
            file = tmp_path_factory.mktemp("tv") / "weights.pth"
            torch.save(tiny.stir(net).state_dict(), file)
            made[name, aux, classes] = file, net
        return made[name, aux, classes]

    return get


@pytest.mark.parametrize(
    ("name", "aux"),
    [
        ("deeplabv3_mobilenet_v3_large", True),
        ("deeplabv3_mobilenet_v3_large", False),
        ("lraspp_mobilenet_v3_large", False),
    ],
)
def test_equals_the_library(name, aux, stored, images):
    file, net = stored(name, aux)
    x = images.requires_grad_()
    model = rs.load_model(f"torchvision:{name}?weights={file}&classes=a,b,c,d")
    scores = model(x).scores
    with torch.no_grad():
        theirs = net((images - MEAN) / STD)["out"]
    assert scores.shape == (2, 4, 37, 53)
    assert theirs.std() > 1e-4
    assert (scores - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    (g,) = torch.autograd.grad(scores.square().sum(), x)
    assert (g.abs().amax(1) > 0).float().mean() > 0.9


def test_errors(stored):
    file, _ = stored("lraspp_mobilenet_v3_large")
    with pytest.raises(rs.UserError, match="have 4 classes; name them"):
        rs.load_model(f"torchvision:lraspp_mobilenet_v3_large?weights={file}")
    with pytest.raises(rs.UserError, match="4 channels but 2 classes"):
        rs.load_model(f"torchvision:lraspp_mobilenet_v3_large?weights={file}&classes=a,b")
    with pytest.raises(rs.UserError, match=r"do not fit the network: .*missing.*unexpected"):
        rs.load_model(f"torchvision:deeplabv3_mobilenet_v3_large?weights={file}&classes=a,b,c,d")


def test_21_channels_are_the_voc_classes(stored):
    file, _ = stored("lraspp_mobilenet_v3_large", classes=21)
    classes = rs.load_model(f"torchvision:lraspp_mobilenet_v3_large?weights={file}").spec.classes
    assert (classes[0], classes[15], len(classes)) == ("__background__", "person", 21)
