"""The programs that measure norms and straightness, on models where both are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import attack_toys as toys

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
W = (3.0, -2.0, 1.0)


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_linear_model_is_straight_and_its_logit_falls_by_the_l1_norm():
    """FGSM's claim in the one case where it is exact: the true logit falls by ``α ‖w‖₁``, R² is 1."""
    linearity = program("linearity")
    model = toys.Toy(toys.PixelLinear(W), 2)
    image = 0.3 + 0.4 * torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = model.module(image[None]).argmax(1)[0]
    alphas = np.linspace(-1, 1, 33) * 16 / 255
    found = linearity.curves(model, image, labels, alphas)
    fallen = found["true_logit"] - found["true_logit"][16]
    assert np.allclose(fallen, -alphas * sum(map(abs, W)), atol=1e-5)
    assert found["r2"]["true_logit"]["16/255"] == pytest.approx(1, abs=1e-6)
    assert found["r2"]["loss"]["16/255"] < 1 - 1e-6  # a softmax is not straight
    tangent = (found["loss"][17] - found["loss"][15]) / (alphas[17] - alphas[15])
    assert found["slope"] == pytest.approx(tangent, rel=1e-3)


@pytest.mark.parametrize(("norm", "length"), [("l2", sum(w * w for w in W) ** 0.5), ("linf", sum(map(abs, W)))])
def test_the_bisection_finds_the_distance_to_a_hyperplane(norm, length):
    """On one pixel ``|s| / ‖w‖``; the radius begins far from it."""
    model = toys.Toy(toys.PixelLinear(W), 2)
    image = torch.tensor([0.6, 0.3, 0.5]).view(1, 3, 1, 1)
    scores = model.module(image)
    nearest = float((scores[:, 0] - 10).abs() / length)
    found = program("minimal_norm").bisected("margin", norm, model, image, scores.argmax(1))
    assert nearest - 1e-6 <= found <= 1.05 * nearest
