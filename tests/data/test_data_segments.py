"""Segments under class maps, counted pixels and resizing."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data.resize import nearest
from robustseg.data.segments import kept_segments, remap_segments, remap_things, resized_segments
from robustseg.types import Segments


def some(categories, crowd=(), size=(6, 8), seed=0):
    masks = torch.rand(len(categories), *size, generator=torch.Generator().manual_seed(seed)) > 0.5
    flags = torch.tensor([i in crowd for i in range(len(categories))], dtype=torch.bool)
    return Segments(masks, torch.tensor(categories, dtype=torch.int64), flags)


def test_ignored_classes_are_dropped_and_the_others_keep_mask_and_crowd():
    old = some([2, 0, 1, 2], crowd=[3])
    new = remap_segments(old, [255, 7, 4], 255)
    assert new.categories.tolist() == [4, 7, 4]
    assert new.crowd.tolist() == [False, False, True]
    assert torch.equal(new.masks, old.masks[[0, 2, 3]])


def test_things_that_merge_stay_apart_and_stuff_becomes_one():
    old = some([0, 1, 2, 3, 0], crowd=[4])
    table, things = [0, 0, 1, 1], [True, True, False, False]
    flags = remap_things(things, table, 2)
    assert flags == (True, False)
    new = remap_segments(old, table, 255, flags)
    assert new.categories.tolist() == [0, 0, 0, 1]
    assert new.crowd.tolist() == [False, False, True, False]
    assert torch.equal(new.masks[3], old.masks[2] | old.masks[3])


def test_a_thing_merged_into_stuff_is_stuff():
    assert remap_things([True, False, True], [0, 0, 255], 2) == (False, False)
    old = some([0, 1, 0], crowd=[2])
    new = remap_segments(old, torch.tensor([0, 0]), 255, [False])
    assert new.categories.tolist() == [0]
    assert new.crowd.tolist() == [False]
    assert torch.equal(new.masks[0], old.masks.any(0))


def test_classes_that_the_data_lack_are_as_the_model_says():
    assert remap_things([True, False], [2, 0], 4, [True, True, False, False]) == (False, True, True, False)


def test_nothing_left():
    for new in (
        remap_segments(some([0, 0]), [255], 255, [True]),
        remap_segments(some([]), [0], 255, [True]),
        kept_segments(some([0, 1]), torch.zeros(6, 8, dtype=torch.bool)),
        resized_segments(some([]), (3, 4)),
    ):
        assert len(new) == 0
        assert new.masks.ndim == 3
        assert new.crowd.dtype == torch.bool


def test_pixels_that_do_not_count_leave_every_segment():
    old = some([0, 1, 2])
    keep = torch.zeros(6, 8, dtype=torch.bool)
    keep[:3] = True
    old.masks[1, :3] = False  # nothing of it counts
    new = kept_segments(old, keep)
    assert new.categories.tolist() == [0, 2]
    assert not new.masks[:, 3:].any()
    assert torch.equal(new.masks[:, :3], old.masks[[0, 2], :3])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_resizing_is_that_of_labels(height, width, seed):
    """A partition stays the partition that the label map would give."""
    ids = torch.randint(0, 4, (6, 7), generator=torch.Generator().manual_seed(seed))
    parts = Segments(torch.stack([ids == k for k in range(4)]), torch.arange(4), torch.zeros(4, dtype=torch.bool))
    small = resized_segments(parts, (height, width))
    wanted = nearest(ids, (height, width))
    assert small.categories.tolist() == wanted.unique().tolist()
    assert torch.equal((small.masks * small.categories.view(-1, 1, 1)).sum(0), wanted)
