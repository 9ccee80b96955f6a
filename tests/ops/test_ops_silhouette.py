"""The outline of a person, and masks moved by pixels."""

from __future__ import annotations

import doctest

import pytest
import torch

from robustseg.ops import shift, silhouette
from robustseg.ops.shift import shifted
from robustseg.ops.silhouette import WIDTH, person


@pytest.mark.parametrize("module", [shift, silhouette])
def test_the_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("height", [0.25, 0.5, 0.9])
def test_a_person_stands_where_he_should(height):
    mask = person((100, 200), height, at=(0.5, 0.95))
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    assert rows[-1] == 94
    assert rows[-1] - rows[0] + 1 == pytest.approx(100 * height, abs=2)
    assert columns[-1] - columns[0] + 1 <= 100 * height * WIDTH + 1
    assert torch.equal(mask, mask.flip(1))  # both sides alike
    assert bool(mask[rows[0] : rows[-1]].any(1).all())  # in one piece from head to feet
    assert 0.1 < mask.sum() / (100 * height) ** 2 < 0.3


def test_a_person_drawn_stands_on_the_ground_inside_the_picture():
    places = set()
    for seed in range(30):
        mask = person((60, 120), 0.4, generator=torch.Generator().manual_seed(seed))
        again = person((60, 120), 0.4, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(mask, again)
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert 35 <= rows[-1] <= 57
        assert len(columns) == pytest.approx(0.4 * 60 * WIDTH, abs=2)
        places.add(int(columns[0]))
    assert len(places) > 10


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-2, 1), (0, -4), (99, 0), (0, -99)])
def test_shifted_is_what_indices_say(dx, dy):
    masks = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(1)) < 0.5
    found = shifted(masks, dx, dy)
    for y in range(5):
        for x in range(7):
            inside = 0 <= y - dy < 5 and 0 <= x - dx < 7
            wanted = masks[:, y - dy, x - dx] if inside else torch.zeros(2, dtype=torch.bool)
            assert torch.equal(found[:, y, x], wanted)
