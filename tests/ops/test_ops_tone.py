"""The tone curve in the graph is that of the renderer, and its gradient is right."""

import numpy as np
import torch

from robustseg.ops import tone
from robustseg.scenes import tone as rendered

LIGHT = np.concatenate([[0.0, 1e-5, 1e-3], np.geomspace(0.002, 50, 60)]).astype(np.float32)


def test_display_is_the_renderers():
    assert np.abs(tone.display(torch.tensor(LIGHT)).numpy() - rendered.display(LIGHT)).max() < 1e-6


def test_srgb_is_the_renderers_and_goes_both_ways():
    x = np.linspace(0, 1, 501, dtype=np.float32)
    assert np.abs(tone.to_srgb(torch.tensor(x)).numpy() - rendered.to_srgb(x)).max() < 1e-6
    assert np.abs(tone.to_linear(torch.tensor(x)).numpy() - rendered.to_linear(x)).max() < 1e-6
    assert (tone.to_srgb(tone.to_linear(torch.tensor(x))) - torch.tensor(x)).abs().max() < 1e-5


def test_gradients_are_finite_at_black_and_right_elsewhere():
    x = torch.tensor([1e-4, 0.01, 0.2, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tone.display, (x,))
    assert torch.autograd.gradcheck(tone.to_linear, (x.detach().clamp(max=0.9).requires_grad_(),))
    black = torch.zeros(3, requires_grad=True)
    (slope,) = torch.autograd.grad(tone.display(black).sum(), black)
    assert slope.isfinite().all()
    assert (slope > 0).all()


def test_display_never_falls():
    assert (np.diff(rendered.display(LIGHT)) >= 0).all()
