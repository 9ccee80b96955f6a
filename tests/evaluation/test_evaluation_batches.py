"""Batches are fixed by position: growth, shards and smaller batches never cut across them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustseg.errors import UserError
from robustseg.evaluation.batches import parse_shard, plan

SIZES = st.lists(st.sampled_from([(2, 2), (3, 3), (4, 4)]), max_size=30)
POWER = st.sampled_from([1, 2, 4, 8])


@given(SIZES, POWER)
def test_every_image_once_and_one_size_a_batch(sizes, batch):
    found = plan(sizes, batch)
    assert sorted(p for b in found for p in b) == list(range(len(sizes)))
    assert all(len({sizes[p] for p in b}) == 1 and len(b) <= batch and b == sorted(b) for b in found)


@given(SIZES, SIZES, POWER)
def test_more_images_leave_full_batches_alone(sizes, more, batch):
    full = {tuple(b) for b in plan(sizes, batch) if len(b) == batch}
    assert full <= {tuple(b) for b in plan(sizes + more, batch)}


@given(SIZES, POWER, POWER, st.integers(1, 4))
def test_shards_share_out_the_images_whatever_batch_they_end_up_with(sizes, base, smaller, shards):
    now = min(base, smaller)
    parts = [plan(sizes, now if i else base, (i + 1, shards), base) for i in range(shards)]
    assert sorted(p for part in parts for b in part for p in b) == list(range(len(sizes)))


@given(SIZES, POWER, st.integers(1, 4))
def test_the_batches_of_shards_are_those_of_the_whole_run(sizes, batch, shards):
    parts = [b for i in range(shards) for b in plan(sizes, batch, (i + 1, shards), batch)]
    assert sorted(parts) == sorted(plan(sizes, batch))


@given(SIZES, POWER)
def test_half_a_batch_lies_inside_a_whole_one(sizes, batch):
    whole = [set(b) for b in plan(sizes, 2 * batch)]
    assert all(any(set(b) <= w for w in whole) for b in plan(sizes, batch))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none(text):
    with pytest.raises(UserError, match="--shard"):
        parse_shard(text)
