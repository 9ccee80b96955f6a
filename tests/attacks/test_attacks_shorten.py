"""The way is cut where the border is, never short of it, and only where there was a success."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import UNTRIED, Found, Problem
from robustseg.attacks.shorten import shortened
from robustseg.objectives.carlini import confident
from robustseg.types import DenseOutput, SemanticTarget

W = torch.tensor([3.0, -2.0, 1.0]).view(1, 3, 1, 1)


@pytest.mark.parametrize("looks", [0, 4, 10])
def test_the_way_ends_at_the_border(looks):
    """Three times as far as the hyperplane is: a third is left, give or take the last bracket; a failure stays."""
    net = toys.PixelLinear()
    images = 0.45 + 0.1 * torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    s = (net(images)[:, :1] - 10).detach()
    far = -3 * s * W / W.square().sum()
    far[2] = -far[2]  # the wrong way
    none = torch.zeros(3, dtype=torch.int64)
    score = confident(0.0)

    def search(problem: Problem, ball: Ball, start: torch.Tensor | None, restart: int) -> Found:
        points = torch.tensor([1.0, 1.0, 0.0])
        return Found(far, points, none, none, points[:, None], torch.full_like(none, UNTRIED, dtype=torch.uint8))

    labels = net(images).argmax(1)
    problem = Problem(lambda x, target, state: DenseOutput(net(x)), images, SemanticTarget(labels), {}, lambda *_: [])
    found = shortened(search, score, 0.99, looks)(problem, Ball("linf", 1.0), None, 0)
    ratio = found.theta.flatten(1).norm(dim=1) / far.flatten(1).norm(dim=1)
    if looks == 0:
        assert torch.equal(found.theta, far)
        return
    assert (ratio[:2] >= 1 / 3).all()
    assert (ratio[:2] <= 1 / 3 + 2.0**-looks).all()
    assert torch.equal(found.theta[2], far[2])
    assert (found.forwards == looks).all()
    assert torch.equal(net(images + found.theta).argmax(1)[:2], 1 - labels[:2])
    assert found.score.tolist() == [1, 1, 0]
