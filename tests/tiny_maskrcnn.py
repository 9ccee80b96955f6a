"""An untrained Mask R-CNN of a few thousand weights whose detections are many and spread."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Pyramid(nn.Module):
    """Two levels, strides 4 and 8."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.out_channels = channels
        self.stem = nn.Conv2d(3, channels, 5, 4, 2)
        self.norm = nn.BatchNorm2d(channels)
        self.down = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = F.gelu(self.norm(self.stem(x)))
        return {"0": fine, "1": F.gelu(self.down(fine))}


def network(classes: int = 4, seed: int = 0, **options: Any) -> nn.Module:
    """torchvision's MaskRCNN on the pyramid; ``options`` go to it."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    sizes, channels = ((12,), (24,)), 8
    pools = [MultiScaleRoIAlign(["0", "1"], side, 2, canonical_scale=24, canonical_level=3) for side in (5, 6)]
    options = {
        "min_size": 64, "max_size": 96, "rpn_post_nms_top_n_test": 40, "box_score_thresh": 0.05,
        "rpn_anchor_generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 2), **options,
    }  # fmt: skip
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    torch.manual_seed(seed)  # the biases are the library's draws
    net = MaskRCNN(
        Pyramid(channels), None, box_roi_pool=pools[0], mask_roi_pool=pools[1],
        box_head=TwoMLPHead(channels * 25, 16), box_predictor=FastRCNNPredictor(16, classes),
        mask_head=MaskRCNNHeads(channels, (8,), 1), mask_predictor=MaskRCNNPredictor(8, 8, classes), **options,
    )  # fmt: skip
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 1
            gain = 0.3 if "bbox_pred" in name else 3.0 if "cls" in name else 1.5
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * gain / fan**0.5)
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=g) * 0.1)
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=g) * 0.2 + 0.1)
    return net.eval()
