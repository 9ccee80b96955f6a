"""The referee believes nobody."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import Bad, Level, model

from robustseg.evaluation.referee import eight_bits, inspect, norms, predict

X = (torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4) * 2 + 20) / 255


def test_an_honest_image_passes():
    delta = torch.full_like(X, 8 / 255)
    assert inspect(X, (X + delta).clamp(0, 1), eps=8 / 255, norm="linf") == [None, None]
    assert inspect(X, X, eps=0.0, norm="l2") == [None, None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x + 9 / 255, "outside the linf ball"),
        (lambda x: x.index_fill(2, torch.tensor([0]), float("nan")), "not finite"),
        (lambda x: x - 1, "outside the box"),
        (lambda x: x + 1e-4 * torch.eye(4), "outside the region: 3 pixels"),
    ],
)
def test_every_rule_has_a_breaker_and_only_that_image_is_blamed(change, words):
    region = torch.zeros(2, 4, 4, dtype=torch.bool)
    region[:, 0] = True
    region = None if "region" not in words else region
    attacked = X.clone()
    attacked[1] = change(X[1])
    honest, broken = inspect(X, attacked, eps=8 / 255, norm="linf", region=region)
    assert honest is None
    assert words in broken


def test_the_region_is_bit_identical_outside():
    region = torch.zeros(2, 4, 4, dtype=torch.bool)
    attacked = X.clone()
    attacked[0, 0, 0, 0] = torch.nextafter(attacked[0, 0, 0, 0], torch.tensor(1.0))
    assert inspect(X, attacked, eps=0.1, norm="linf", region=region) == [
        "outside the region: 1 pixels changed that may not be written", None,
    ]  # fmt: skip


def test_wrong_shape_and_type():
    assert inspect(X, X[:, :, 1:], eps=None, norm=None)[0].startswith("wrong shape")
    assert inspect(X, (X * 255).to(torch.uint8), eps=None, norm=None)[0].startswith("wrong type")


def test_balls_of_every_norm():
    attacked = X.clone()
    attacked[0, 0, 0, 0] += 0.3
    attacked[0, 1, 1, 1] += 0.4
    sizes = {"linf": 0.4, "l2": 0.5, "l1": 0.7, "l0": 2}
    for norm, size in sizes.items():
        assert inspect(X, attacked, eps=size, norm=norm) == [None, None]
        assert inspect(X, attacked, eps=0.99 * size, norm=norm)[0] is not None
    assert norms(X, attacked)[0] == pytest.approx({"linf": 0.4, "l2": 0.5, "l0": 2}, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 1, 2, 8, 16.5]), st.sampled_from(["linf", "l2"]))
def test_eight_bits_stay_on_the_grid_and_in_the_ball(seed, levels, norm):
    g = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, 256, (2, 3, 5, 5), generator=g) / 255
    delta = torch.rand(2, 3, 5, 5, generator=g) * 2 - 1
    eps = levels / 255 * (1 if norm == "linf" else 8)
    delta = delta / (delta.abs().amax() if norm == "linf" else delta.flatten(1).norm(dim=1).amax()) * eps
    attacked = (clean + delta).clamp(0, 1)
    rounded = eight_bits(clean, attacked, eps=eps, norm=norm)
    assert inspect(clean, rounded, eps=eps, norm=norm) == [None, None]
    assert torch.allclose(rounded * 255, (rounded * 255).round(), atol=1e-4)
    assert (rounded - attacked).abs().max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("size", [4.0, 8.0, 12.5])
def test_eight_bits_use_nearly_the_whole_l2_ball(size):
    g = torch.Generator().manual_seed(3)
    clean = torch.randint(60, 190, (2, 3, 32, 64), generator=g) / 255
    delta = torch.randn(2, 3, 32, 64, generator=g)
    delta = delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * size
    attacked = (clean + delta).clamp(0, 1)
    eps = float((attacked - clean).flatten(1).norm(dim=1).min())
    attacked = clean + (attacked - clean) * (eps / (attacked - clean).flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    rounded = eight_bits(clean, attacked, eps=eps, norm="l2")
    assert inspect(clean, rounded, eps=eps, norm="l2") == [None, None]
    levels = rounded * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    for found in norms(clean, rounded):
        assert found["l2"] > 0.999 * eps
    nearest = (attacked * 255).round() / 255
    assert (rounded - nearest).abs().gt(1e-6).float().mean() < 0.1  # most values keep their nearest level


def test_eight_bits_do_not_weaken_an_attack_that_is_on_the_grid():
    attacked = (X + 8 / 255).clamp(0, 1)
    assert torch.allclose(eight_bits(X, attacked, eps=8 / 255, norm="linf"), attacked, atol=1e-6)
    assert torch.allclose(eight_bits(X, attacked, eps=100.0, norm="l2"), attacked, atol=1e-6)


def test_predict_is_the_argmax_in_full_precision_and_says_what_is_not_finite():
    found, finite = predict(model(Level()), X)
    labels = found.labels
    assert labels is not None
    assert labels.shape == (2, 4, 4)
    assert torch.equal(labels, model(Level())(X).scores.argmax(1))
    assert finite.tolist() == [True, True]
    assert predict(model(Bad("nan")), X)[1].tolist() == [False, False]
