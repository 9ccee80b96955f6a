"""Attention maps from the adapters: those of the library's eager attention, the network untouched, never empty."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_networks import LABELS, save_hf, stir
from torch import nn

from robustseg.errors import UserError
from robustseg.models import attention as module
from robustseg.models import load_model, wrap
from robustseg.ops.attention import Attention
from robustseg.ops.rollout import rollout
from robustseg.types import DenseOutput

MAPS = frozenset({"attention"})


def swin(task: str) -> nn.Module:
    """UPerNet and Mask2Former on a Swin of two blocks a stage, so that every second one is shifted."""
    import transformers as t

    backbone = t.SwinConfig(
        image_size=64, patch_size=2, embed_dim=8, depths=[2, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=3,
        out_features=[f"stage{i}" for i in range(1, 5)], drop_path_rate=0.0,
    )  # fmt: skip
    if task == "upernet":
        config = t.UperNetConfig(
            backbone_config=backbone, hidden_size=16, auxiliary_in_channels=32, auxiliary_channels=8, **LABELS
        )
        return t.UperNetForSemanticSegmentation(config)
    config = t.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=5, num_attention_heads=2, dim_feedforward=32, num_queries=6, **LABELS,
    )  # fmt: skip
    return t.Mask2FormerForUniversalSegmentation(config)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> Any:
    """A model of a family with its own network, loaded once."""
    made: dict[str, Any] = {}

    def get(family: str) -> Any:
        if family not in made:
            folder = tmp_path_factory.mktemp("net")
            if family.startswith("swin "):
                network = stir(swin(family.partition(" ")[2]))
                network.save_pretrained(folder)
                from transformers import SegformerImageProcessor

                SegformerImageProcessor(size={"height": 64, "width": 80}).save_pretrained(folder)
            else:
                save_hf(family, folder)
            made[family] = load_model(f"hf:{folder}")
        return made[family]

    return get


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def scores(output) -> torch.Tensor:
    return output.scores if isinstance(output, DenseOutput) else output.mask_logits


def traces(network: nn.Module) -> list[Any]:
    """What a module has: attributes and hooks."""
    return [(set(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()]


FAMILIES = ("segformer", "beit", "dpt", "eomt", "eomt padded", "mask2former", "swin upernet", "swin mask2former")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_maps_change_nothing_and_lead_to_pixels(loaded, family):
    model = loaded(family)
    x = images().requires_grad_()  # without a gradient, torch may choose another kernel
    plain = model(x)  # the library sets hooks of its own on the first call
    before = traces(model.module)
    flags = [c._attn_implementation_internal for c in module._configurations(model.module)]
    output = model(x, want=MAPS)
    assert torch.equal(scores(plain), scores(output))
    assert torch.autograd.grad(scores(output).sum(), x)[0].abs().amax() > 0
    found = output.extras["attention"]
    for layer in found.layers:
        n = layer.window**2 or layer.prefix + layer.grid[0] * layer.grid[1]
        whole = layer.rows(0, n)
        assert whole.shape[-2] == n
        torch.testing.assert_close(whole.sum(-1), torch.ones_like(whole.sum(-1)))
    left, right = torch.zeros(2, 64, 64), torch.zeros(2, 64, 64)
    left[:, :, :8], right[:, :, -8:] = 1, 1
    maps = rollout(found, left), rollout(found, right)
    assert all(m.shape == (2, 1, 64, 64) and m.isfinite().all() and m.amin() >= 0 and m.amax() <= 1 for m in maps)
    if found.cover is None:  # random queries answer for the whole image alike
        assert (maps[0] - maps[1])[..., :8].mean() > 0 > (maps[0] - maps[1])[..., -8:].mean()
    assert flags == [c._attn_implementation_internal for c in module._configurations(model.module)]
    assert before == traces(model.module)


def eager(model: Any, x: torch.Tensor) -> Any:
    """What the library itself gives with eager attention."""
    network = model.module
    pixels = model.prepare.padded(model.prepare.normalised(model.prepare.resized(x)))
    old = network.config._attn_implementation
    network.set_attn_implementation("eager")
    with torch.no_grad():
        output = network(pixels, output_attentions=True)
    network.set_attn_implementation(old)
    return output


@pytest.mark.parametrize("family", ["segformer", "beit", "dpt", "eomt"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_every_layer_is_that_of_eager_attention(loaded, family, implementation):
    model, x = loaded(family), images()
    expected = eager(model, x).attentions
    model.module.set_attn_implementation(implementation)
    try:
        layers = model(x, want=MAPS).extras["attention"].layers
        assert model.module.config._attn_implementation == implementation
    finally:
        model.module.set_attn_implementation("sdpa")
    assert len(layers) == len(expected) > 0
    for layer, weights in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.rows(0, weights.shape[-2]), weights)
        assert weights.shape[-2] == layer.prefix + layer.grid[0] * layer.grid[1]
        assert weights.shape[-1] == layer.prefix + layer.keys[0] * layer.keys[1]


def plain_vit(folder: Any, norm: bool) -> Any:
    """timm's plain ViT under a decoder of segmentation-models-pytorch, fused attention."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    network = smp.create_model(
        "dpt", encoder_name="tu-vit_tiny_patch16_224", encoder_weights=None, classes=2, encoder_depth=2,
        decoder_intermediate_channels=(8, 8), decoder_fusion_channels=8, embed_dim=24, num_heads=3,
        img_size=(64, 96), dynamic_img_size=True, qk_norm=norm,
    )  # fmt: skip
    network.save_pretrained(folder)
    return load_model(f"smp:{folder}?classes=a,b&norm=imagenet&multiple=32")


@pytest.mark.parametrize("norm", [False, True])
def test_plain_vits_of_timm_are_read_as_they_compute(norm, tmp_path):
    model, x = plain_vit(tmp_path, norm), torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    layers, before = module.attends(model.module), traces(model.module)
    output = model(x, want=MAPS)
    assert torch.equal(output.scores, model(x).scores)
    assert before == traces(model.module)
    found, seen = output.extras["attention"].layers, []
    for m in layers:
        m.fused_attn = False
        m.attn_drop.register_forward_hook(lambda _, i, o: seen.append(i[0]))
    with torch.no_grad():
        model(x)
    assert len(found) == len(seen) == len(layers) == 12
    for layer, weights in zip(found, seen, strict=True):
        assert (layer.grid, layer.prefix) == ((4, 6), 1)
        torch.testing.assert_close(layer.rows(0, 25), weights)
    assert [layer.read for layer in found] == [False] * 11 + [True]
    left = torch.zeros(2, 64, 96)
    left[..., :16] = 1
    assert rollout(output.extras["attention"], left).shape == (2, 1, 64, 96)


def test_windows_are_those_of_eager_attention(loaded):
    """UPerNet returns the last block of each stage; windows and shifts as the blocks themselves cut them."""
    model, x = loaded("swin upernet"), images()
    layers = model(x, want=MAPS).extras["attention"].layers
    expected = eager(model, x).attentions
    assert [(y.window, y.shift) for y in layers] == [(3, 0), (3, 1), (3, 0), (3, 1), (3, 0), (3, 0)]
    assert [y.grid for y in layers] == [(32, 40)] * 2 + [(16, 20)] * 2 + [(8, 10), (4, 5)]
    assert [y.read for y in layers] == [False, True, False, True, True, True]
    for layer, weights in zip([y for y in layers if y.read], expected, strict=True):
        torch.testing.assert_close(layer.rows(0, 9), weights)


def test_the_rollout_of_windows_is_where_the_block_mixes_tokens(loaded):
    """One Swin block by its Jacobian: a token gets mass exactly from the tokens that its output depends on."""
    from transformers.models.swin.modeling_swin import SwinLayer

    from robustseg.ops.attention import step_back

    model = loaded("swin upernet")
    block = next(m for m in model.module.modules() if isinstance(m, SwinLayer) and m.shift_size)
    layer = model(images(1), want=MAPS).extras["attention"].layers[1]
    h, w = layer.grid
    tokens = torch.randn(1, h * w, 8, requires_grad=True)
    output = block(tokens, (h, w))
    output = output[0] if isinstance(output, tuple) else output
    for at in (0, w - 1, 5 * w + 7, h * w - 1):
        (reach,) = torch.autograd.grad(output[0, at].sum(), tokens, retain_graph=True)
        mass = torch.zeros(1, h, w)
        mass.view(-1)[at] = 1
        _, got = step_back(layer, mass.new_zeros(1, 0), mass)
        masked = 1e-20  # a mask of -100 leaves this much
        assert torch.equal(got.flatten() > masked, reach[0].abs().sum(-1) > masked)


def test_the_decoder_of_mask2former_is_the_librarys(loaded):
    model, x = loaded("swin mask2former"), images()
    model.module.set_attn_implementation("eager")  # another kernel's last digit may turn a cell of a boolean mask
    try:
        found = model(x, want=MAPS).extras["attention"]
    finally:
        model.module.set_attn_implementation("sdpa")
    expected = eager(model, x).attentions  # of the queries among each other
    assert len(found.decoder) == len(expected) == 4
    for layer, own in zip(found.decoder, expected, strict=True):
        torch.testing.assert_close(layer.own, own.mean(1))
        torch.testing.assert_close(layer.cross.sum(-1), torch.ones(2, 6))
        assert layer.cross.shape[-1] == layer.grid[0] * layer.grid[1]
    assert [d.grid for d in found.decoder] == [(4, 5), (8, 10), (16, 20), (4, 5)]
    assert found.cover.shape[:2] == (2, 6)


def test_padding_lies_outside_the_maps(loaded):
    found = loaded("eomt padded")(images()[..., :48], want=MAPS).extras["attention"]
    assert found.size == (64, 64)
    assert found.used == (64, 48)


class Raises(RuntimeError):
    pass


def test_an_error_in_the_forward_leaves_no_trace(loaded, monkeypatch):
    model = loaded("segformer")
    hooks = sum(len(m._forward_pre_hooks) for m in model.module.modules())

    def broken(*_: Any) -> None:
        raise Raises

    handle = model.module.decode_head.register_forward_pre_hook(broken)
    with pytest.raises(Raises):
        model(images(), want=MAPS)
    handle.remove()
    assert hooks == sum(len(m._forward_pre_hooks) for m in model.module.modules())
    assert model.module.config._attn_implementation == "sdpa"
    assert module._now.get() is None


def test_different_flags_of_the_parts_come_back_each(loaded):
    model = loaded("swin mask2former")
    backbone = next(c for c in module._configurations(model.module) if c.model_type == "swin")
    old = backbone._attn_implementation_internal
    backbone._attn_implementation_internal = "eager"
    try:
        layers = model(images(), want=MAPS).extras["attention"].layers
        assert len(layers) == 6
        assert backbone._attn_implementation_internal == "eager"
    finally:
        backbone._attn_implementation_internal = old


@pytest.mark.parametrize(
    ("family", "why"),
    [("maskformer", "MaskFormerSwinSelfAttention"), ("data2vec", "Data2VecVision"), ("mobilevit", "MobileViT"),
     ("upernet", "has no self-attention")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(loaded, family, why):
    model = loaded(family)
    assert ("attention" in model.gives) == (family != "upernet")
    with pytest.raises(UserError, match=f"{why}.*rollout=none"):
        model(images(), want=MAPS)


def test_an_empty_answer_is_an_error(loaded, monkeypatch):
    """Fault injection: the layers do not call the registry, as a fused kernel or a compiled graph would not."""
    model = loaded("beit")
    monkeypatch.setattr(module, "NAME", "sdpa")
    monkeypatch.setattr(module, "_register", lambda: None)
    with pytest.raises(UserError, match="gave no attention maps"):
        model(images(), want=MAPS)


def test_windows_of_an_image_have_no_map_of_the_whole(loaded):
    split = loaded("eomt")
    with pytest.raises(UserError, match="windows"):
        split(torch.rand(1, 3, 64, 128), want=MAPS)
    from robustseg.models.window import Windowed

    windowed = Windowed.of(loaded("segformer"), 32)
    assert "attention" in windowed.gives
    with pytest.raises(UserError, match="windows"):
        windowed(images(), want=MAPS)


class Own(nn.Module):
    """A user's transformer of one layer over 4x4 patches, which says what it attends to."""

    def __init__(self, says: bool):
        super().__init__()
        self.qkv, self.says = nn.Linear(48, 30), says

    def forward(self, x):
        tokens = nn.functional.unfold(x, 4, stride=4).mT
        q, k, v = self.qkv(tokens).chunk(3, -1)
        weights = (q @ k.mT).softmax(-1)
        grid = (x.shape[-2] // 4, x.shape[-1] // 4)
        out = (weights @ v).mT.unflatten(2, grid)
        extras = {"attention": Attention.of([weights[:, None]], grid)} if self.says else {}
        return DenseOutput(out[:, :2], extras=extras)


def test_a_users_own_transformer_says_it_or_is_told_how():
    model = wrap(Own(True), classes=["a", "b"], multiple=8)
    found = model(images()[..., :60], want=MAPS).extras["attention"]
    assert (found.size, found.used) == ((64, 64), (64, 60))
    assert rollout(found, torch.ones(2, 64, 60)).shape == (2, 1, 64, 60)
    silent = wrap(Own(False), classes=["a", "b"])
    assert silent.gives == {"attention"}
    with pytest.raises(UserError, match=r"extras=.*rollout=none"):
        silent(images(), want=MAPS)
    assert wrap(nn.Conv2d(3, 2, 1), classes=["a", "b"]).gives == frozenset()
