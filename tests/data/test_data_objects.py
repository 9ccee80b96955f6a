"""Objects from labels: 8-connected components of each thing class."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data.objects import components


def test_two_cars_and_a_person():
    labels = torch.zeros(20, 30, dtype=torch.long)
    labels[2:6, 2:7] = 1
    labels[10:15, 10:14] = 1
    labels[2:6, 7:12] = 2  # touches the first car, but is of another class
    out = components(labels, [1, 2])
    assert out.dtype == torch.int32
    assert sorted(out.unique().tolist()) == [0, 1, 2, 3]
    assert torch.equal(out > 0, labels > 0)
    assert out[3, 3] != out[3, 8]


def test_diagonal_neighbours_are_one_object():
    labels = torch.zeros(10, 10, dtype=torch.long)
    labels[0:4, 0:4] = 1
    labels[4:8, 4:8] = 1
    assert components(labels, [1]).max() == 1


def test_specks_are_no_objects():
    labels = torch.zeros(20, 20, dtype=torch.long)
    labels[0, :15] = 1
    labels[5, :16] = 1
    out = components(labels, [1])
    assert out.max() == 1
    assert out[0].sum() == 0
    assert int((out == 1).sum()) == 16


@given(st.integers(0, 999), st.integers(1, 4))
def test_every_object_is_of_one_class_and_large_enough(seed, smallest):
    labels = torch.randint(0, 3, (12, 12), generator=torch.Generator().manual_seed(seed))
    out = components(labels, [1, 2], smallest=smallest)
    numbers = out.unique()
    assert numbers.tolist() == list(range(len(numbers)))
    for number in numbers[numbers > 0]:
        members = labels[out == number]
        assert members.unique().numel() == 1
        assert members.numel() >= smallest
    assert not out[labels == 0].any()
    if smallest == 1:
        assert torch.equal(out > 0, labels > 0)
