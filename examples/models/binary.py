"""A binary network with one logit, trained on BGR pixels 0..255, that returns a tuple: common in medicine.

`robustseg evaluate --model py:examples/models/binary.py:polyp ...`, or run the file.
"""

import torch
from torch import nn

import robustseg as rs


class Polyp(nn.Module):
    """Returns (logit, features); a pixel is a polyp where sigmoid(logit) > 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(x).relu()
        return self.head(features), features


def polyp():
    """One logit z becomes the two classes [0, z]."""
    torch.manual_seed(0)
    return rs.wrap(
        Polyp(),
        classes=["background", "polyp"],
        activation="sigmoid",
        channel_order="bgr",
        pixel_range=255,
        mean=(103.53, 116.28, 123.675),  # in the network's own order (BGR) and range (0..255)
        std=(57.375, 57.12, 58.395),
        output=lambda raw: raw[0],
    )


if __name__ == "__main__":
    scores = polyp()(torch.rand(1, 3, 32, 32)).scores
    print(f"scores {tuple(scores.shape)}, background logit {scores[:, 0].abs().max().item()}")
