"""Resizing: labels are sampled, images are averaged, and both look at the same places."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data import resize
from robustseg.errors import UserError

sizes = st.tuples(st.integers(1, 23), st.integers(1, 23))


@given(sizes, sizes, st.integers(0, 99))
def test_labels_never_get_new_values(old, new, seed):
    values = torch.randint(0, 200, old, generator=torch.Generator().manual_seed(seed))
    out = resize.nearest(values, new)
    assert out.shape == new
    assert set(out.unique().tolist()) <= set(values.unique().tolist())


@given(sizes, sizes)
def test_nearest_is_the_pixel_under_the_new_centre(old, new):
    """Against exact fractions: the source of output i is floor((i + 1/2) h / H)."""
    from fractions import Fraction

    values = torch.arange(old[0] * old[1]).view(old)
    out = resize.nearest(values, new)
    for i in range(new[0]):
        for j in range(new[1]):
            row = (Fraction(2 * i + 1, 2) * old[0] / new[0]).__floor__()
            column = (Fraction(2 * j + 1, 2) * old[1] / new[1]).__floor__()
            assert out[i, j] == values[row, column]


@given(sizes, st.integers(1, 5), st.integers(1, 5))
def test_growing_by_whole_factors_repeats_and_shrinks_back(old, down, right):
    values = torch.arange(old[0] * old[1], dtype=torch.int32).view(old)
    big = resize.nearest(values, (old[0] * down, old[1] * right))
    assert torch.equal(big, values.repeat_interleave(down, 0).repeat_interleave(right, 1))
    assert torch.equal(resize.nearest(big, old), values)


def test_nearest_agrees_with_torch():
    values = torch.rand(37, 53)
    other = torch.nn.functional.interpolate(values[None, None], (20, 91), mode="nearest-exact")[0, 0]
    assert torch.equal(resize.nearest(values, (20, 91)), other)


@given(sizes, sizes, st.integers(0, 99))
def test_images_stay_in_range(old, new, seed):
    pixels = torch.rand((3, *old), generator=torch.Generator().manual_seed(seed))
    out = resize.image(pixels, new)
    assert out.shape == (3, *new)
    assert out.min() >= pixels.min() - 1e-6
    assert out.max() <= min(1.0, float(pixels.max()) + 1e-6)


def test_images_are_averaged_when_they_shrink():
    """A fine checkerboard becomes grey; sampled at the new centres it would stay black and white."""
    board = (torch.arange(63)[:, None] + torch.arange(63)[None]).remainder(2).float().expand(3, -1, -1)
    assert (resize.image(board, (7, 7)) - 0.5).abs().max() < 0.02


def test_image_and_labels_look_at_the_same_places():
    """A step edge at three quarters stays at three quarters in both."""
    labels = torch.zeros(32, 64, dtype=torch.long)
    labels[:, 48:] = 1
    small = resize.nearest(labels, (8, 16))
    image = resize.image(labels.float().expand(3, -1, -1), (8, 16))
    assert torch.equal((image[0] > 0.5).long(), small)
    assert small.sum() == 8 * 4


def test_the_same_size_changes_nothing():
    pixels = torch.rand(3, 5, 7)
    assert torch.equal(resize.image(pixels, (5, 7)), pixels)


@pytest.mark.parametrize("text", ["256", "axb", "0x4", "4x-3", "3x4x5", ""])
def test_sizes_that_are_none(text):
    with pytest.raises(UserError, match="is not HEIGHTxWIDTH"):
        resize.parse_size(text)


def test_a_size_that_is_a_slip_is_told_before_memory_runs_out():
    assert resize.parse_size("16384x1") == (16384, 1)
    with pytest.raises(UserError, match="larger than 16384 pixels a side"):
        resize.parse_size("128x25600")
