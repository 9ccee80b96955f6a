"""Tiles for mask classification: every object once, by the tile it belongs to, as if the image were seen whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import robustseg as rs
from robustseg.models.tiles import Tiled, cores, tile_starts
from robustseg.tasks.predict import predict
from robustseg.types import QueryOutput


class Blobs(nn.Module):
    """Query k > 0 answers for the k-th brightest separate square of its image (red), query 0 for the ground.

    Squares are 8 pixels wide on a grid of 8, so a cell of 4 pixels is either full or empty.
    """

    def __init__(self, queries: int = 9):
        super().__init__()
        self.queries = queries
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        cells = F.avg_pool2d(pixels[:, :1], 4) * self.scale
        B, _, h, w = cells.shape
        ids = F.max_pool2d(cells, 2).flatten(1)  # one value a square
        value, at = ids.topk(self.queries - 1, 1)
        square = F.one_hot(at, ids.shape[1]).float().unflatten(2, (h // 2, w // 2))
        square = square.repeat_interleave(2, 2).repeat_interleave(2, 3)
        masks = torch.cat([4 - 20 * cells, 8 * square - 4 + 0 * cells], 1)
        there = 20 * (value - 0.1)
        zeros = torch.zeros_like(there)
        things = torch.stack([zeros - 10, there, zeros], 2)
        stuff = torch.tensor([8.0, -10.0, 0.0]).expand(B, 1, 3) + 0 * value[:, :1, None]
        return QueryOutput(torch.cat([stuff, things], 1), masks)


def blobs(**more):
    return rs.wrap(Blobs(), classes=["ground", "blob"], things=["blob"], task="universal", name="blobs", **more)


def scene(height=96, width=128, squares=((8, 8), (40, 40), (48, 64), (64, 112), (24, 88), (80, 16))):
    image = torch.zeros(1, 3, height, width)
    for k, (y, x) in enumerate(squares):
        image[:, 0, y : y + 8, x : x + 8] = 1 - 0.05 * k
    return image


@given(st.integers(1, 400), st.integers(4, 30), st.data())
def test_tiles_cover_the_axis_on_the_grid_and_their_parts_tile_it(length, cells, data):
    side, stride = 4 * cells, 4 * data.draw(st.integers(1, cells))
    begin = tile_starts(length, side, stride, 4)
    covered = {p for b in begin for p in range(b, b + side)}
    assert covered >= set(range(length))
    assert all(b % 4 == 0 for b in begin)
    assert begin[-1] + side < max(length, side) + 4
    parts = cores(begin, side)
    assert parts[0][0] == 0
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert all(b <= low < high <= b + side for b, (low, high) in zip(begin, parts))


@pytest.mark.parametrize("stride", [16, 24])
def test_every_object_is_found_once_and_as_in_the_whole_image(stride):
    x, things = scene(), (False, True)
    whole = predict(blobs()(x), (96, 128), things, ("semantic", "panoptic", "instance"))
    tiled = predict(Tiled.of(blobs(), 32, stride)(x), (96, 128), things, ("semantic", "panoptic", "instance"))
    assert (whole.labels != tiled.labels).float().mean() < 0.005
    kinds = [np.append(p.panoptic[0].categories, -1)[p.panoptic[0].ids - 1] for p in (whole, tiled)]
    assert np.mean(kinds[0] != kinds[1]) < 0.015  # holes where four tiles meet, pixels where a seam cuts an edge
    for found in (whole, tiled):
        sizes = [np.sum(found.panoptic[0].ids == k + 1) for k, c in enumerate(found.panoptic[0].categories) if c == 1]
        assert len(sizes) == 6
        assert min(sizes) >= 52
    masks = [[tuple(m.flatten().nonzero()[:, 0].tolist()) for m in p.instances[0].masks] for p in (whole, tiled)]
    sure = [{m for m, s in zip(ms, p.instances[0].scores) if s > 0.5 and m} for ms, p in zip(masks, (whole, tiled))]
    assert len(sure[0]) == 6
    assert len(sure[1]) == 6
    for one in sure[0]:  # one that touches the edge of its tile may lose a row of pixels
        assert max(len({*one} & {*other}) / len({*one} | {*other}) for other in sure[1]) > 0.85


class Twice(Blobs):
    """Says everything a second time, less surely."""

    def forward(self, pixels):
        once = super().forward(pixels)
        again = once.mask_logits[:, 1:]
        classes = once.class_logits[:, 1:] - torch.tensor([0.0, 0.5, 0.0])
        return QueryOutput(torch.cat([once.class_logits, classes], 1), torch.cat([once.mask_logits, again], 1))


def test_what_is_said_twice_counts_once():
    twice = rs.wrap(Twice(), classes=["ground", "blob"], things=["blob"], task="universal", name="twice")
    x = scene().requires_grad_()
    found = [predict(m(x), (96, 128), (False, True), ("instance",)).instances[0] for m in (blobs(), twice)]
    assert [(f.scores > 0.5).sum() for f in found] == [6, 12]
    output = Tiled.of(twice, 32, 24)(x)
    found = predict(output, (96, 128), (False, True), ("instance",)).instances[0]
    assert (found.scores > 0.5).sum() == 6
    alone = predict(Tiled.of(blobs(), 32, 24)(x), (96, 128), (False, True), ("instance",)).instances[0]
    assert torch.equal(found.scores[:6], alone.scores[:6])  # the surer ones stayed
    (gradient,) = torch.autograd.grad(output.class_logits[..., 1].sum(), x)
    assert gradient.abs().sum() > 0


def test_an_image_off_the_grid_keeps_its_size_and_its_registration():
    x = scene()[..., :93, :126]
    output = Tiled.of(blobs(), 32, 16)(x)
    assert output.mask_logits.shape[-2:] == (93, 126)
    found = predict(output, (93, 126), (False, True), ("panoptic",)).panoptic[0]
    seen, truth = (np.append(found.categories, -1)[found.ids - 1] == 1), (x[0, 0] > 0).numpy()
    assert (seen & truth).sum() > 0.85 * (seen | truth).sum()
    middles = [[k.mean() for k in np.nonzero(mask)] for mask in (seen, truth)]
    assert np.allclose(*middles, atol=0.7)


def test_the_gradient_is_that_of_the_tiles_themselves():
    x = scene().requires_grad_()
    model = Tiled.of(blobs(), 32, 24, kept=1000)
    output = model(x)
    (through,) = torch.autograd.grad(output.class_logits[..., 1].sum(), x)
    total = sum(
        blobs()(x[..., r : r + 32, c : c + 32]).class_logits[..., 1].sum()
        for r in (0, 24, 48, 64)
        for c in (0, 24, 48, 72, 96)
    )
    (direct,) = torch.autograd.grad(total, x)
    assert direct.abs().sum() > 0
    assert torch.allclose(through, direct, atol=1e-6)


def test_the_surest_queries_stay_and_batches_do_not_mix():
    x = torch.cat([scene(), scene().roll(16, 3), scene().flip(2)])
    model = Tiled.of(blobs(), 32, 24, kept=7)
    together = model(x)
    assert together.class_logits.shape == (3, 7, 3)
    sure = together.class_logits.softmax(-1)[..., :-1].amax(-1)
    everyone = Tiled.of(blobs(), 32, 24, kept=1000)(x).class_logits.softmax(-1)[..., :-1].amax(-1)
    assert torch.allclose(sure, everyone.topk(7).values)
    for k in range(3):
        alone = model(x[k : k + 1])
        assert torch.allclose(alone.class_logits[0], together.class_logits[k])
        assert torch.allclose(alone.mask_logits[0], together.mask_logits[k])


def test_tiles_are_in_the_digest_and_bad_ones_are_refused():
    inner = blobs()
    assert len({inner.spec.digest, Tiled.of(inner, 32).spec.digest, Tiled.of(inner, 64).spec.digest}) == 3
    with pytest.raises(rs.UserError, match="multiples of 4"):
        Tiled.of(inner, 30)
    with pytest.raises(rs.UserError, match="cells of 8"):
        Tiled.of(inner, 32, 16, cell=8)(scene())
    dense = rs.wrap(nn.Conv2d(3, 2, 1), classes=["a", "b"])
    with pytest.raises(rs.UserError, match="countable"):
        Tiled.of(dense, 32)
