"""Goal maps of targeted attacks against brute force."""

from __future__ import annotations

import pytest
import torch

from robustseg.objectives.goals import hide_nearest, least_likely


@pytest.mark.parametrize("seed", range(5))
def test_hide_is_the_exact_nearest_neighbour(seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (2, 16, 16), generator=g)
    labels[:, 3:12, 4:13] = 2  # a large object: neighbours are far
    valid = torch.rand(2, 16, 16, generator=g) < 0.8
    goal, applicable = hide_nearest(labels, 2, valid)
    assert applicable.all()
    assert not (goal == 2).any()
    assert torch.equal(goal[labels != 2], labels[labels != 2])
    for n in range(2):
        lenders = ((labels[n] != 2) & valid[n]).nonzero()
        for i, j in (labels[n] == 2).nonzero().tolist():
            squares = (lenders - torch.tensor([i, j])).square().sum(1)
            nearest = lenders[squares == squares.min()]
            assert int(goal[n, i, j]) in {int(labels[n, a, b]) for a, b in nearest.tolist()}


def test_hide_says_where_there_is_nothing_to_do():
    labels = torch.zeros(3, 2, 2, dtype=torch.int64)
    labels[1] = 7
    labels[2, 0, 0] = 7
    goal, applicable = hide_nearest(labels, 7)
    assert applicable.tolist() == [False, False, True]
    assert torch.equal(goal[:2], labels[:2])
    assert goal[2].sum() == 0


def test_least_likely_is_the_lowest_score():
    scores = torch.tensor([3.0, -1.0, 2.0]).view(1, 3, 1, 1)
    assert least_likely(scores).item() == 1
