"""The small Mask R-CNN of the zoo: torchvision's two stages on an own residual backbone with a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["build"]


def build(config: Mapping[str, Any]) -> Any:
    """torchvision's ``MaskRCNN``, randomly initialised, for a JSON-able configuration.

    Keys: ``classes`` (with the background), ``widths`` and ``depths`` of the stages (strides 2, 4, 8 …), ``channels``
    of the pyramid, ``anchors`` (one side in pixels per stage), ``ratios`` (height over width), ``hidden`` units of the
    second stage, ``mean`` and ``std``; the rest goes to ``MaskRCNN`` itself (``rpn_nms_thresh`` …).
    """
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    rest = dict(config)
    classes, hidden = int(rest.pop("classes")), int(rest.pop("hidden"))
    backbone = Pyramid(rest.pop("widths"), rest.pop("depths"), rest.pop("channels"))
    anchors, ratios = rest.pop("anchors"), tuple(rest.pop("ratios"))
    names, channels = [str(i) for i in range(len(anchors))], backbone.out_channels
    # a box of twice the finest anchor is read from the second level, and so on
    pools = [MultiScaleRoIAlign(names, side, 2, canonical_scale=2 * anchors[0], canonical_level=1) for side in (7, 14)]
    return MaskRCNN(
        backbone,
        None,
        image_mean=list(rest.pop("mean")),
        image_std=list(rest.pop("std")),
        rpn_anchor_generator=AnchorGenerator(tuple((a,) for a in anchors), (ratios,) * len(anchors)),
        box_roi_pool=pools[0],
        box_head=TwoMLPHead(channels * 49, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes),
        mask_roi_pool=pools[1],
        mask_head=MaskRCNNHeads(channels, (channels, channels), 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, classes),
        **rest,
    )


class Pyramid(nn.Module):
    """Residual stages of strides 2, 4, 8 … and a feature pyramid over all of them."""

    def __init__(self, widths: list[int], depths: list[int], channels: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.out_channels = channels
        stages, before = [], 3
        for width, depth in zip(widths, depths, strict=True):
            blocks = [Block(before if i == 0 else width, width, 2 if i == 0 else 1) for i in range(depth)]
            stages.append(nn.Sequential(*blocks))
            before = width
        self.stages = nn.ModuleList(stages)
        self.fpn = FeaturePyramidNetwork(list(widths), channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``{"0": (B,channels,H/2,W/2), "1": …}``."""
        features = {}
        for i, stage in enumerate(self.stages):
            x = stage(x)
            features[str(i)] = x
        return self.fpn(features)


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm beside a 1x1 shortcut where shape changes."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        changes = stride != 1 or inside != outside
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
            if changes
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B,outside,H/stride,W/stride)``."""
        return (self.body(x) + self.shortcut(x)).relu()
