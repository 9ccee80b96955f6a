"""Sliding windows: coverage, equality with the whole image, gradients, memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import OneByOne
from torch import nn

import robustseg as rs
from robustseg.models.window import Windowed, sliding, starts


@given(st.integers(1, 80), st.integers(1, 30), st.data())
def test_windows_cover_the_axis_and_stay_inside(length, window, data):
    stride = data.draw(st.integers(1, window))
    for begin in (starts(length, window, stride), starts(length, window, even=True)):
        covered = {p for b in begin for p in range(b, b + window)}
        assert covered >= set(range(length))
        assert begin[0] == 0
        assert begin == sorted(begin)
        assert length <= window or begin[-1] + window <= length


def test_a_pointwise_network_is_the_same_through_windows(images):
    model = rs.wrap(OneByOne([[1.0, -2.0, 0.5], [0.3, 0.1, 0.7]]), classes=["a", "b"], mean=(0.5,) * 3, std=(0.2,) * 3)
    x = images.requires_grad_()
    whole, parts = model(x).scores, Windowed.of(model, 16, 7)(x).scores
    assert torch.allclose(whole, parts, atol=1e-5)
    weight = torch.rand_like(whole)
    (g,), (h,) = (torch.autograd.grad((v * weight).sum(), x) for v in (whole, parts))
    assert torch.allclose(g, h, atol=1e-5)


def test_a_convolution_is_the_same_where_its_field_fits_and_the_gradient_is_that_of_the_direct_sum(images):
    torch.manual_seed(0)
    net = nn.Conv2d(3, 2, 5, padding=2)
    x = images.requires_grad_()
    rows, columns = (starts(n, 20, 10) for n in (37, 53))
    through = sliding(x, net, (20, 20), rows, columns)
    total, count = torch.zeros(2, 2, 37, 53), torch.zeros(37, 53)
    for y in rows:  # the definition, without recomputation
        for c in columns:
            total = total + nn.functional.pad(net(x[..., y : y + 20, c : c + 20]), (c, 53 - c - 20, y, 37 - y - 20))
            count[y : y + 20, c : c + 20] += 1
    direct = total / count
    assert torch.allclose(through, direct, atol=1e-6)
    weight = torch.rand_like(direct)
    (g,), (h,) = (torch.autograd.grad((v * weight).sum(), x) for v in (through, direct))
    assert torch.allclose(g, h, atol=1e-5)
    assert torch.allclose(through[..., 3, 3], net(x)[..., 3, 3], atol=1e-6)  # 2 pixels off every window's border


def test_activations_are_recomputed_not_kept():
    class Counting(OneByOne):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return super().forward(x)

    model = Windowed.of(rs.wrap(Counting([[1.0, 0, 0], [0, 1.0, 0]]), classes=["a", "b"]), 8, 8)
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    model(x).scores.sum().backward()
    assert Counting.calls == 8  # four windows, each again in the backward pass


def test_a_query_model_becomes_scores(hf_folder, images):
    model = rs.load_model(f"hf:{hf_folder('mask2former')[0]}?size=native", window=32)
    output = model(images)
    assert output.kind == "scores"
    assert output.scores.shape == (2, 5, 37, 53)
    assert (output.scores >= 0).all()


def test_the_window_is_in_the_digest_and_small_images_are_seen_whole(images):
    inner = rs.wrap(OneByOne([[1.0, 0, 0], [0, 1.0, 0]]), classes=["a", "b"])
    model = Windowed.of(inner, 64)
    assert model.spec.digest != inner.spec.digest
    assert model.spec.digest != Windowed.of(inner, 32).spec.digest
    assert torch.equal(model(images).scores, inner(images).scores)
    with pytest.raises(rs.UserError, match="stride"):
        Windowed.of(inner, 16, 17)
