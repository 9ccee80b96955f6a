"""Prompts lie where their masks are."""

from __future__ import annotations

import torch

from robustseg.ops import prompts
from robustseg.ops import warp as wp


def test_a_point_lies_deep_inside_its_mask():
    ring = torch.zeros(9, 11, dtype=torch.bool)
    ring[1:8, 2:10] = True
    ring[3:6, 4:7] = False  # the middle of the box is no part of it; the right side is thickest
    whole, none = torch.ones(9, 11, dtype=torch.bool), torch.zeros(9, 11, dtype=torch.bool)
    found = prompts.points(torch.stack([ring, whole, none])[None])
    assert found.shape == (1, 3, 2)
    column, row = (int(v) for v in found[0, 0])
    assert ring[row, column]
    assert column in (7, 8)
    assert found[0, 1:].tolist() == [[4, 4], [0, 0]]  # 5 pixels deep from row 4 on, whichever comes first


def test_every_random_mask_holds_its_point():
    masks = torch.rand(2, 5, 7, 6, generator=torch.Generator().manual_seed(0)) > 0.8
    masks[..., 3, 2] = True
    for mask, (column, row) in zip(masks.flatten(0, 1), prompts.points(masks).flatten(0, 1).long().tolist()):
        assert mask[row, column]


def _shifted(right, down):
    one = torch.ones(1)
    return wp.similarity((8, 12), degrees=0 * one, factor=one, shift=torch.tensor([[right, down]]))


def test_points_move_with_their_pixels():
    masks = torch.zeros(1, 1, 8, 12, dtype=torch.bool)
    masks[0, 0, 2:5, 3:6] = True
    right = _shifted(4 / 12, -1 / 8)
    moved = wp.prompts(prompts.points(masks), right, (8, 12))
    there = prompts.points(wp.labels(masks, right, False))
    assert torch.allclose(moved, there, atol=1e-4)
    assert torch.equal(wp.prompts(prompts.boxes(masks), right, (8, 12)), wp.boxes(prompts.boxes(masks), right, (8, 12)))
    away = _shifted(-1.0, 0.0)
    assert wp.prompts(prompts.points(masks), away, (8, 12)).tolist() == [[[0, 3]]]
