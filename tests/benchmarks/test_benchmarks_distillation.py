"""The page on distillation: what its cells say of a network whose softmax is saturated, and of one that is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import distillation

from robustseg.models import wrap

X, Y = torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 1, 1, dtype=torch.int64)


class Grey(nn.Module):
    """Three classes; the first leads by ``scale`` at grey ½ and is behind from grey 0.49 down."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x):
        lead = self.scale * (x.mean((1, 2, 3)) - 0.49) / 0.01
        return torch.stack([lead, 0 * lead, 0 * lead - self.scale.detach()], 1)


def net(scale: float):
    return wrap(Grey(scale), classes=["a", "b", "c"], task="classification")


@pytest.mark.parametrize(("scale", "said"), [(1.0, "100 %"), (1000.0, "0 % (no gradient on 2)")])
def test_fgsm_is_stopped_by_saturation_alone(scale, said):
    model = net(scale)
    assert distillation.lead(model, X) == pytest.approx(scale, rel=1e-3)
    assert distillation.cell(distillation.attacked(model, "fgsm", X, Y, "4/255", 0), Y, model) == said


@pytest.mark.parametrize("attack", ["margin:steps=20", distillation.dlr])
def test_logits_see_through_it(attack):
    model = net(1000.0)
    assert distillation.cell(distillation.attacked(model, attack, X, Y, "4/255", 0), Y, model) == "100 %"
