"""Feature maps: read at the encoder without a trace, refused where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustseg as rs
from robustseg.models import features, wrap
from robustseg.ops.style import Features
from robustseg.types import DenseOutput, UserError

WANT = frozenset({"features"})


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in module.modules())


@pytest.mark.parametrize("name", ["street-unet", "street-segformer", "street-mask2former-cnn"])
def test_the_zoo_gives_maps_from_fine_to_coarse_with_a_gradient(name):
    model = rs.load_model(f"zoo:{name}")
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        plain = model(images.detach())
    before = hooks(model.module)  # transformers leaves some of its own
    output = model(images, want=WANT)
    seen = output.extras["features"]
    assert isinstance(seen, Features)
    sizes = [m.shape[-1] for m in seen.maps]
    assert len(sizes) >= 4
    assert sizes == sorted(set(sizes), reverse=True)
    assert seen.content is seen.maps[-2]
    assert hooks(model.module) == before
    for part in ("scores", "class_logits", "mask_logits"):
        if hasattr(plain, part):
            assert torch.equal(getattr(plain, part), getattr(output, part).detach())
    (slope,) = torch.autograd.grad(seen.maps[-1].sum(), images)
    assert slope.abs().sum() > 0
    assert "features" in model.gives


def test_hooks_go_also_after_an_error():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 4, 1)

    net = Net()
    counted = []

    def broken() -> None:
        with features.reading(net, 3, "toy"):
            counted.append(hooks(net))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert [*counted, hooks(net)] == [1, 0]


def test_vgg_is_read_where_style_transfer_reads_it():
    from torchvision.models.vgg import VGG, make_layers

    net = VGG.__new__(VGG)  # its classifier alone has a hundred million weights
    nn.Module.__init__(net)
    plan = [4, 4, "M", 5, 5, "M", 6, 6, "M", 7, 7, "M", 8, 8, "M"]
    net.features = make_layers(plan)
    assert features.encodes(net) is net
    with features.reading(net, 3, "vgg") as found:
        net.features(torch.rand(1, 3, 32, 32))
    seen = found.features("vgg")
    assert [m.shape[1] for m in seen.maps] == [4, 5, 6, 7, 8]
    assert [m.shape[-1] for m in seen.maps] == [32, 16, 8, 4, 2]
    x = torch.rand(1, 3, 32, 32)
    with features.reading(net, 3, "vgg") as found:
        net.features(x)
    layers = list(net.features)
    first = nn.Sequential(*layers[:2])(x)  # r11
    assert torch.equal(found.features("vgg").maps[0], first)
    place = [i for i, m in enumerate(layers) if isinstance(m, nn.ReLU)][7]  # r42: two to a block
    assert torch.equal(found.features("vgg").content, nn.Sequential(*layers[: place + 1])(x))
    assert hooks(net) == 0


class Own(nn.Module):
    def __init__(self, *maps: int) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x):
        scores = torch.cat([x[:, :1], 1 - x[:, :1]], 1)
        return DenseOutput(scores, extras={"features": [nn.functional.avg_pool2d(x, k) for k in self.maps]})


def test_a_users_module_says_itself_what_they_are():
    model = wrap(Own(1, 2, 4), classes=["a", "b"])
    seen = model(torch.rand(1, 3, 8, 8), want=WANT).extras["features"]
    assert [m.shape[-1] for m in seen.maps] == [8, 4, 2]
    assert seen.content is seen.maps[1]


@pytest.mark.parametrize("net", [Own(), Own(1), nn.Conv2d(3, 2, 1)])
def test_an_empty_answer_is_an_error(net):
    model = wrap(net, classes=["a", "b"])
    with pytest.raises(UserError, match="gives no feature maps"):
        model(torch.rand(1, 3, 8, 8), want=WANT)


def test_an_unknown_encoder_is_an_error():
    with (
        pytest.raises(UserError, match="no encoder whose feature maps are known"),
        features.reading(nn.Conv2d(3, 2, 1), 3, "toy"),
    ):
        pass
    with pytest.raises(UserError, match="1 sizes, and two are needed"):
        features.Reading(3, [torch.zeros(1, 5, 4, 4)]).features("toy")
    kept = features.Reading(3, [torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, 2, 2), torch.zeros(1, 4, 4, 4)])
    assert [m.shape[1] for m in kept.features("toy").maps] == [4, 5]  # the image is none, the order is by size


def test_maps_do_not_reach_into_the_padding():
    model = wrap(Own(1, 2, 4), classes=["a", "b"], multiple=16)
    seen = model(torch.rand(1, 3, 16, 24), want=WANT).extras["features"]
    assert [tuple(m.shape[-2:]) for m in seen.maps] == [(16, 24), (8, 12), (4, 6)]
