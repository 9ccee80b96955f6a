"""Our JPEG against Pillow's, and its gradient against finite differences."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg.ops.jpeg import cubic, hard_cubic, jpeg, straight, tables


def scene(size=(40, 56)) -> torch.Tensor:
    """A smooth picture with a sharp edge and some grain, in whole grey levels."""
    H, W = size
    y, x = torch.meshgrid(torch.arange(H) / H, torch.arange(W) / W, indexing="ij")
    picture = torch.stack([0.2 + 0.6 * x, 0.5 + 0.3 * torch.sin(6 * y), 0.8 - 0.5 * x * y])
    picture[:, H // 3 : H // 2, W // 4 : W // 2] = torch.tensor([0.9, 0.3, 0.1]).view(3, 1, 1)
    grain = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return ((picture + 0.02 * grain).clamp(0, 1) * 255).round()[None] / 255


def pillow(image: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
@pytest.mark.parametrize("size", [(40, 56), (32, 48)])
def test_near_pillow(quality, size):
    """In the mean within two grey levels (rounding on the way decides some coefficients), far nearer than the image."""
    image = scene(size)
    theirs, ours = pillow(image, quality), jpeg(image, torch.tensor([float(quality)]))
    assert ours.shape == image.shape
    apart, loss = (ours - theirs).abs().mean() * 255, (image - theirs).abs().mean() * 255
    assert apart < 2
    assert apart < loss / 2


def test_every_image_has_its_own_quality():
    image = scene().repeat(2, 1, 1, 1)
    both = jpeg(image, torch.tensor([20.0, 80.0]))
    assert torch.allclose(both[1:], jpeg(image[1:], torch.tensor([80.0])), atol=1e-5)
    assert (both[0] - image[0]).abs().mean() > 1.5 * (both[1] - image[1]).abs().mean()


def test_tables_are_those_of_a_file():
    image, file = scene(), io.BytesIO()
    Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(file, "JPEG", quality=37)
    stored = Image.open(file).quantization
    luma, chroma = tables(torch.tensor([37.0]))
    assert luma.flatten().long().tolist() == list(stored[0])
    assert chroma.flatten().long().tolist() == list(stored[1])


def test_the_gradient():
    """Of the smooth rounding exactly; the straight one is that of no rounding at all."""
    x = (0.3 + 0.4 * scene((16, 16))[..., :9, :11]).double().requires_grad_()
    quality = torch.tensor([60.0])
    assert torch.autograd.gradcheck(lambda v: jpeg(v, quality, cubic), x, eps=1e-7, atol=1e-3, nondet_tol=1e-9)
    weight = torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = [torch.autograd.grad((weight * jpeg(x, quality, r)).sum(), x)[0] for r in (straight, lambda v: v)]
    assert torch.allclose(*found)


def test_hard_roundings_are_whole_and_differ_in_gradient_only():
    x = torch.tensor([0.2, 0.9, -1.4], requires_grad=True)
    for rounding, slope in ((straight, [1.0, 1.0, 1.0]), (hard_cubic, [0.12, 0.03, 0.48])):
        made = rounding(x)
        assert made.tolist() == [0.0, 1.0, -1.0]
        assert torch.autograd.grad(made.sum(), x)[0].tolist() == pytest.approx(slope, abs=1e-6)
