"""Tiny randomly initialised networks of every family, with outputs of a useful size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

NAMES = {i: f"class {i}" for i in range(5)}
LABELS = {"id2label": NAMES, "label2id": {name: i for i, name in NAMES.items()}}


def stir(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of order 1/sqrt(fan in) and BatchNorm statistics that are no identity: nothing underflows."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 1
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * (1.5 / fan**0.5))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=g) * 0.1)
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=g) * 0.2 + 0.1)
    return module.eval()


def _resnet() -> Any:
    from transformers import ResNetConfig

    stages = [f"stage{i}" for i in range(1, 5)]
    return ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic", out_features=stages
    )


def _swin() -> Any:
    from transformers import SwinConfig

    stages = [f"stage{i}" for i in range(1, 5)]
    return SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4,
        out_features=stages, drop_path_rate=0.0,
    )  # fmt: skip


VIT = dict(  # noqa: C408
    image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32
)


def hf(family: str) -> tuple[nn.Module, Any]:
    """A network of a transformers family and an image processor that fits it."""
    import transformers as t

    if family == "segformer":
        config = t.SegformerConfig(
            depths=[1] * 4,
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 2, 2],
            decoder_hidden_size=16,
            **LABELS,
        )
        return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 64, "width": 96})
    if family == "upernet":
        stages = [f"stage{i}" for i in range(1, 5)]
        backbone = t.ConvNextConfig(depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], out_features=stages)
        config = t.UperNetConfig(
            backbone_config=backbone, hidden_size=16, auxiliary_in_channels=24, auxiliary_channels=8, **LABELS
        )
        return t.UperNetForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 64, "width": 64})
    if family == "mask2former":
        config = t.Mask2FormerConfig(
            backbone_config=_resnet(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
            encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=6, **LABELS,
        )  # fmt: skip
        size = {"shortest_edge": 60, "longest_edge": 100}
        return t.Mask2FormerForUniversalSegmentation(config), t.Mask2FormerImageProcessor(size=size)
    if family == "maskformer":
        decoder = t.DetrConfig(
            d_model=32, encoder_layers=0, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=6,
        )  # fmt: skip
        config = t.MaskFormerConfig(
            backbone_config=_swin(), fpn_feature_size=32, mask_feature_size=32, decoder_config=decoder, **LABELS
        )
        size = {"shortest_edge": 60, "longest_edge": 70}
        return t.MaskFormerForInstanceSegmentation(config), t.MaskFormerImageProcessor(size=size)
    if family in ("beit", "data2vec"):
        more = dict(out_indices=[1, 2, 3, 4], use_auxiliary_head=False, **VIT, **LABELS)
        if family == "beit":
            net = t.BeitForSemanticSegmentation(t.BeitConfig(**more))
        else:
            net = t.Data2VecVisionForSemanticSegmentation(t.Data2VecVisionConfig(**more))
        return net, t.BeitImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    if family == "dpt":
        config = t.DPTConfig(
            backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=16,
            use_auxiliary_head=False, **VIT, **LABELS,
        )  # fmt: skip
        return t.DPTForSemanticSegmentation(config), t.DPTImageProcessor(size={"height": 64, "width": 64})
    if family in ("eomt", "eomt padded"):
        config = t.EomtConfig(
            image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, num_blocks=1,
            num_queries=6, **LABELS,
        )  # fmt: skip
        if family == "eomt":
            processor = t.EomtImageProcessor(size={"shortest_edge": 64, "longest_edge": None}, do_split_image=True)
        else:
            processor = t.EomtImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True)
        return t.EomtForUniversalSegmentation(config), processor
    if family == "mobilevit":
        config = t.MobileViTConfig(
            image_size=64, hidden_sizes=[16] * 3, neck_hidden_sizes=[8] * 6 + [16], aspp_out_channels=8,
            num_attention_heads=2, **LABELS,
        )  # fmt: skip
        side = {"height": 64, "width": 64}
        return t.MobileViTForSemanticSegmentation(config), t.MobileViTImageProcessor(
            size={"shortest_edge": 64}, crop_size=side
        )
    raise KeyError(family)


FAMILIES = (
    "segformer", "upernet", "mask2former", "maskformer", "beit", "data2vec", "dpt", "eomt", "eomt padded", "mobilevit",
)  # fmt: skip


def save_hf(family: str, folder: Path) -> tuple[nn.Module, Any]:
    """Network and processor, saved side by side."""
    network, processor = hf(family)
    stir(network)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return network, processor


class OneByOne(nn.Module):
    """``scores = weight . pixels + bias`` on every pixel: a model whose answer can be computed by hand."""

    def __init__(self, weight: list[list[float]], bias: list[float] | None = None) -> None:
        super().__init__()
        w = torch.tensor(weight)
        self.conv = nn.Conv2d(w.shape[1], w.shape[0], 1)
        with torch.no_grad():
            self.conv.weight.copy_(w[:, :, None, None])
            self.conv.bias.copy_(torch.zeros(len(w)) if bias is None else torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)
