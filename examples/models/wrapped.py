"""Any `nn.Module` as a model: `robustseg evaluate --model py:examples/models/wrapped.py:network ...`

Run it: `python examples/models/wrapped.py` prints the shape of the output and the size of the gradient.
"""

import torch
from torch import nn

import robustseg as rs


class Small(nn.Module):
    """Three convolutions; pixels in, scores at a quarter of the size out."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def network():
    """The factory: build, load the weights, say how the network wants its pixels."""
    torch.manual_seed(0)
    module = Small(classes=3)  # then: module.load_state_dict(safetensors.torch.load_file("small.safetensors"))
    return rs.wrap(
        module,
        classes=["road", "car", "person"],
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        multiple=4,  # sides are padded to a multiple of 4; the padding never reaches the output
    )


if __name__ == "__main__":
    model = network()
    x = torch.rand(1, 3, 37, 53, requires_grad=True)
    scores = model(x).scores
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    print(f"scores {tuple(scores.shape)}, largest gradient {gradient.abs().max().item():.3f}")
