"""Rollout against products of whole matrices, written out: what flows back is a row of Π rownorm(A + I)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robustseg.ops import attention as att
from robustseg.ops.attention import Attention, DecoderLayer, Layer, from_projections, from_weights, spread, step_back
from robustseg.ops.rollout import rollout

G = torch.Generator().manual_seed(5)


def rows(*shape: int) -> torch.Tensor:
    """Random probabilities, sharp enough to tell tokens apart."""
    return (3 * torch.randn(*shape, generator=G, dtype=torch.float64)).softmax(-1)


def whole(weights: torch.Tensor) -> torch.Tensor:
    """``rownorm(mean of heads + I)`` as a matrix."""
    a = weights.mean(1) + torch.eye(weights.shape[-1], dtype=weights.dtype)
    return a / a.sum(-1, keepdim=True)


def test_of_a_classifier_it_is_the_class_row_of_the_product():
    layers = [rows(2, 3, 10, 10) for _ in range(4)]
    product = torch.eye(10, dtype=torch.float64)
    for w in layers:
        product = whole(w) @ product  # later layers multiply on the left
    torch.testing.assert_close(product.sum(-1), torch.ones(2, 10, dtype=torch.float64))
    expected = product[:, 0, 1:].view(2, 1, 3, 3)
    given = replace(Attention.of(layers, (3, 3), prefix=1), by_class=True)
    got = rollout(given, torch.ones(2, 3, 3, dtype=torch.float64))
    torch.testing.assert_close(got, (expected / expected.amax((2, 3), keepdim=True)).to(got))


def test_uniform_attention_says_nothing():
    given = replace(Attention.of([torch.full((1, 2, 5, 5), 0.2)] * 3, (2, 2), prefix=1), by_class=True)
    torch.testing.assert_close(rollout(given, torch.ones(1, 8, 8)), torch.ones(1, 1, 8, 8))


def test_of_a_dense_model_it_is_the_rows_of_the_weighted_pixels():
    layers = [rows(1, 2, 6, 6) for _ in range(3)]
    product = whole(layers[2]) @ whole(layers[1]) @ whole(layers[0])
    weight = torch.tensor([[[0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    expected = (product[0, 1] * 0.75 + product[0, 5] * 0.25).view(1, 1, 2, 3)
    got = rollout(Attention.of(layers, (2, 3)), weight)
    torch.testing.assert_close(got, (expected / expected.max()).to(got))


def test_reduced_keys_are_spread_over_the_tokens_they_were_made_of():
    w = rows(1, 2, 16, 4)  # 4x4 tokens look at 2x2 keys
    up = torch.zeros(4, 16, dtype=torch.float64)
    for y in range(4):
        for x in range(4):
            up[(y // 2) * 2 + x // 2, y * 4 + x] = 0.25
    layer = Layer(lambda a, b: w[..., a:b, :], (4, 4), (2, 2))
    mass = torch.rand(1, 4, 4, generator=G, dtype=torch.float64)
    _, got = step_back(layer, mass.new_zeros(1, 0), mass)
    expected = mass.flatten() @ ((w.mean(1)[0] @ up) + torch.eye(16, dtype=torch.float64)) / 2
    torch.testing.assert_close(got.flatten(), expected)
    torch.testing.assert_close(got.sum(), mass.sum())


@pytest.mark.parametrize("shift", [0, 1])
def test_shifted_windows_are_a_sparse_matrix_over_the_grid(shift: int):
    h, w, m = 3, 4, 2  # padded to 4 x 4: four windows
    weights = rows(4, 2, m * m, m * m)
    whole_grid = torch.zeros(h * w, h * w, dtype=torch.float64)
    for y in range(h):
        for x in range(w):
            sy, sx = (y - shift) % 4, (x - shift) % 4  # where torch.roll(-shift) puts it
            n, i = (sy // m) * 2 + sx // m, (sy % m) * m + sx % m
            for ky in range(h):
                for kx in range(w):
                    ty, tx = (ky - shift) % 4, (kx - shift) % 4
                    if (ty // m) * 2 + tx // m == n:
                        whole_grid[y * w + x, ky * w + kx] = weights[n].mean(0)[i, (ty % m) * m + tx % m]
    whole_grid = whole_grid / whole_grid.sum(-1, keepdim=True)  # nobody looks at padding
    mass = torch.rand(1, h, w, generator=G, dtype=torch.float64)
    layer = Layer(lambda a, b: weights[..., a:b, :], (h, w), (h, w), window=m, shift=shift)
    _, got = step_back(layer, mass.new_zeros(1, 0), mass)
    torch.testing.assert_close(got.flatten(), mass.flatten() @ (whole_grid + torch.eye(h * w)) / 2)


def test_a_few_rows_at_a_time_give_the_same(monkeypatch):
    layers = [rows(2, 2, 12, 12)]
    weight = torch.rand(2, 3, 4, generator=G, dtype=torch.float64)
    before = rollout(Attention.of(layers, (3, 4)), weight)
    monkeypatch.setattr(att, "CHUNK", 2 * 2 * 12 * 5)  # five rows
    torch.testing.assert_close(rollout(Attention.of(layers, (3, 4)), weight), before)


def test_projections_give_the_softmax_when_asked():
    q, k, b = torch.randn(2, 3, 5, 4, generator=G), torch.randn(2, 3, 7, 4, generator=G), torch.randn(1, 3, 5, 7)
    made = from_projections(q, k, 0.5, b)
    expected = (0.5 * torch.einsum("bhnd,bhkd->bhnk", q, k) + b).softmax(-1)
    torch.testing.assert_close(torch.cat([made(0, 2), made(2, 5)], -2), expected)
    row = from_projections(q, k, 0.5, b[..., :1, :])  # a mask of the keys alone
    torch.testing.assert_close(row(3, 5), (0.5 * q[..., 3:, :] @ k.mT + b[..., :1, :]).softmax(-1))


@pytest.mark.parametrize(("here", "there"), [((2, 3), (4, 6)), ((4, 6), (2, 3)), ((5, 7), (3, 4)), ((3, 4), (5, 7))])
def test_spreading_keeps_the_mass_and_its_place(here, there):
    mass = torch.rand(2, *here, generator=G, dtype=torch.float64)
    moved = spread(mass, there)
    torch.testing.assert_close(moved.sum((1, 2)), mass.sum((1, 2)))
    centre = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (*here, *there)]
    torch.testing.assert_close((moved.sum(2) * centre[2]).sum(1), (mass.sum(2) * centre[0]).sum(1), rtol=0.05, atol=0.0)
    flat = spread(torch.ones(1, *here, dtype=torch.float64), there)
    torch.testing.assert_close(flat, torch.full_like(flat, here[0] * here[1] / there[0] / there[1]))


def test_stages_that_the_head_reads_share_the_weight():
    still = torch.eye(4).view(1, 1, 4, 4)
    first = replace(from_weights(still, (2, 2)), read=True)
    second = Layer(lambda a, b: torch.ones(1, 1, 1, 1)[..., a:b, :], (1, 1), (1, 1), read=True)
    weight = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    got = rollout(Attention((first, second)), weight)  # half stays in its corner, half is spread by the coarse stage
    torch.testing.assert_close(got.flatten(), torch.tensor([5.0, 1.0, 1.0, 1.0]) / 5)


def test_tokens_that_join_later_come_from_no_pixel():
    """Two queries join before the last layer: the first looks at pixel 2, the second at pixel 0."""
    early = from_weights(torch.eye(4).view(1, 1, 4, 4), (1, 3), prefix=1)
    late = torch.zeros(6, 6)
    late[0, 5] = late[1, 3] = 1  # queries, class token, pixels
    late[2:, 2:] = torch.eye(4)
    joined = from_weights(late.view(1, 1, 6, 6), (1, 3), prefix=3)
    cover = torch.tensor([[[[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]]])
    given = Attention((early, joined), cover=cover)
    left = rollout(given, torch.tensor([[[1.0, 0.0, 0.0]]]))
    torch.testing.assert_close(left.flatten(), torch.tensor([1.0, 0.0, 0.0]))
    right = rollout(given, torch.tensor([[[0.0, 0.0, 2.0]]]))
    torch.testing.assert_close(right.flatten(), torch.tensor([0.0, 0.0, 1.0]))


def test_a_decoder_lays_the_weight_of_its_queries_on_its_maps():
    """Query 0 covers the left, looks at it, and half at what query 1 saw, which is the right."""
    cross = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    own = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    given = Attention((), (DecoderLayer(cross, own, (1, 2)),), cover=cross.view(1, 2, 1, 2))
    got = rollout(given, torch.tensor([[[1.0, 0.0]]]))  # mass ½ on each query, then on its pixel
    torch.testing.assert_close(got.flatten(), torch.tensor([1.0, 1.0]))
    got = rollout(given, torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(got.flatten(), torch.tensor([0.0, 1.0]))


def test_decoder_maps_enter_the_backbone_where_their_grid_is():
    """The map of 1x2 enters after the stage of 1x2, not after that of 1x4."""
    fine = from_weights(torch.eye(4).view(1, 1, 4, 4), (1, 4))
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(1, 1, 2, 2)
    coarse = from_weights(swap, (1, 2))
    cross = torch.tensor([[[1.0, 0.0]]])
    given = Attention((fine, coarse), (DecoderLayer(cross, torch.ones(1, 1, 1), (1, 2)),), cover=torch.ones(1, 1, 1, 2))
    got = rollout(given, torch.ones(1, 1, 4))
    torch.testing.assert_close(got.flatten(), torch.ones(4))  # ½ stays left, ½ is swapped to the right
    alone = replace(given, layers=(fine,))
    torch.testing.assert_close(rollout(alone, torch.ones(1, 1, 4)).flatten(), torch.tensor([1.0, 1.0, 0.0, 0.0]))


def test_padding_is_cut_off_and_weighs_nothing():
    """The network saw 2x4 pixels, of which the left half is the image, at half its size."""
    still = torch.eye(8).view(1, 1, 8, 8)
    given = replace(Attention.of([still], (2, 4)), size=(2, 4), used=(2, 2))
    weight = torch.zeros(1, 4, 4)
    weight[:, :2, :2] = 1  # top left token
    got = rollout(given, weight)
    expected = torch.nn.functional.interpolate(
        torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), (4, 4), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(got, expected)


def test_an_image_without_weight_is_left_as_it_is_and_no_gradient_flows():
    w = rows(2, 1, 4, 4).requires_grad_()
    weight = torch.stack([torch.zeros(2, 2), torch.eye(2)]).double()
    got = rollout(Attention.of([w], (2, 2)), weight)
    assert not got.requires_grad
    torch.testing.assert_close(got[0], torch.ones(1, 2, 2).double())
    assert got[1].max() == 1
    assert got[1].min() < 1
