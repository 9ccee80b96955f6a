"""Texture statistics by hand, likeness against its definition, and cloth that is cloth."""

from __future__ import annotations

import doctest

import pytest
import torch
import torch.nn.functional as F

from robustseg.ops import cloth, similarity, style

G = torch.Generator().manual_seed(0)


def test_examples():
    for module in (cloth, similarity, style):
        found = doctest.testmod(module)
        assert found.failed == 0
        assert found.attempted


def test_cross_gram_is_the_sum_over_pixels_as_it_is_written():
    fine, coarse = torch.rand(2, 3, 4, 6, generator=G), torch.rand(2, 5, 2, 3, generator=G)
    weight = (torch.rand(2, 8, 12, generator=G) > 0.4).float()
    found = style.cross_gram(fine, coarse, weight)
    raised = F.interpolate(coarse, (4, 6), mode="bilinear", align_corners=False)
    share = F.avg_pool2d(weight, 2)
    for b in range(2):
        total = torch.zeros(3, 5)
        for y in range(4):
            for x in range(6):
                total += share[b, y, x] * fine[b, :, y, x, None] * raised[b, :, y, x]
        assert torch.allclose(found[b], total / share[b].sum(), atol=1e-5)


def test_pixels_outside_the_weight_have_no_influence():
    weight = torch.zeros(1, 8, 8)
    weight[:, :4] = 1
    a, b = torch.rand(1, 2, 8, 8, generator=G), torch.rand(1, 3, 8, 8, generator=G)
    changed = a.clone()
    changed[..., 4:, :] = 9
    assert torch.equal(style.cross_gram(a, b, weight), style.cross_gram(changed, b, weight))
    assert style.weighted_mean(changed, weight).item() == pytest.approx(a[..., :4, :].mean().item(), rel=1e-5)


def test_distance_is_zero_only_for_equals_and_its_spread_carries_no_gradient():
    g = torch.tensor([[1.0, 3.0], [2.0, 2.5]], dtype=torch.float64, requires_grad=True)
    wanted = torch.tensor([[1.0, 5.0], [2.0, 2.5]], dtype=torch.float64)
    value = style.distance(g, wanted)
    assert value.tolist() == [2.0, 0.0]
    (slope,) = torch.autograd.grad(value.sum(), g)
    assert slope.tolist() == [[0.0, -2.0], [0.0, 0.0]]  # 2 (3 - 5) / 2 entries / spread 1


def test_total_variation_is_per_image_and_falls_with_blur():
    x, mask = torch.rand(2, 3, 12, 12, generator=G), torch.ones(2, 12, 12)
    both = style.total_variation(x, mask)
    assert both[1].item() == pytest.approx(style.total_variation(x[1:], mask[1:]).item())
    assert (style.total_variation(F.avg_pool2d(x, 3, 1, 1), mask) < both).all()
    assert style.total_variation(torch.full_like(x, 0.3), mask).tolist() == [0, 0]


@pytest.mark.parametrize("size", [(176, 176), (64, 96), (24, 40), (8, 9)])
def test_ms_ssim_is_one_for_equals_and_falls_with_noise(size):
    x = F.interpolate(torch.rand(2, 3, 6, 6, generator=G), size, mode="bilinear")
    noise = torch.randn(x.shape, generator=G)
    same, little, much = (similarity.ms_ssim(x, (x + k * noise).clamp(0, 1)) for k in (0, 0.05, 0.3))
    assert same.tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (much < little).all()
    assert (little < same).all()
    alone = similarity.ms_ssim(x[1:], (x[1:] + 0.3 * noise[1:]).clamp(0, 1))
    assert much[1].item() == pytest.approx(alone.item(), abs=1e-5)


def test_ssim_is_the_formula_on_flat_pictures():
    """Without structure only the means are compared: (2ab + c)/(a² + b² + c), c = 0.01²."""
    a, b = 0.25, 0.75
    found = similarity.ssim(torch.full((1, 3, 32, 32), a), torch.full((1, 3, 32, 32), b)).item()
    assert found == pytest.approx((2 * a * b + 1e-4) / (a * a + b * b + 1e-4), rel=1e-3)


def test_the_gradient_of_ms_ssim_is_finite_where_images_are_equal_and_where_they_are_not():
    x = torch.rand(1, 3, 40, 40, generator=G)
    for start in (x, 1 - x):
        y = start.clone().requires_grad_()
        (slope,) = torch.autograd.grad(similarity.ms_ssim(y, x).sum(), y)
        assert slope.isfinite().all()


@pytest.mark.parametrize("name", list(cloth.PATTERNS))
def test_cloth_tiles_and_has_grain(name):
    image = cloth.cloth(name, (128, 128))
    assert torch.equal(image, cloth.cloth(name, (128, 128)))
    assert torch.equal(image[:, :64], image[:, 64:])  # seamless
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.05
    small = cloth.cloth(name, (32, 32), 32)
    assert torch.allclose(small, F.avg_pool2d(cloth.cloth(name, (64, 64))[None], 2)[0], atol=1e-5)


def test_patterns_differ():
    images = [cloth.cloth(name, (64, 64)) for name in cloth.PATTERNS]
    for i, a in enumerate(images):
        for b in images[i + 1 :]:
            assert (a - b).abs().mean() > 0.05
