"""Boundary IoU against eroding every mask by itself, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from robustseg.tasks.boundary import band, classes, pairs, score, width
from robustseg.tasks.overlap import layers


def eroded_band(mask, d):
    """The authors' construction: the mask without what d erosions by 3x3 leave; outside of the image is outside."""
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=d, border_value=0)


def by_hand(a, b, d):
    a, b = eroded_band(a, d), eroded_band(b, d)
    return (a & b).sum() / max((a | b).sum(), 1)


def blobs(rng, size, number):
    """A map of smooth regions with ids 0 … number-1."""
    noise = ndimage.gaussian_filter(rng.normal(size=(number, *size)), (0, 4, 4))
    return noise.argmax(0)


@pytest.mark.parametrize("size", [(40, 56), (33, 91), (7, 30), (5, 5)])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_band_of_every_id_equals_eroding_it(size, d):
    ids = blobs(np.random.default_rng(0), size, 6)
    found = band(ids, d)
    for k in range(6):
        assert (found & (ids == k) == eroded_band(ids == k, d)).all()


def test_label_maps_equal_eroding_every_class():
    rng = np.random.default_rng(0)
    truth, prediction = blobs(rng, (120, 160), 5), blobs(rng, (120, 160), 5)
    prediction = np.where(rng.random((12, 16)).repeat(10, 0).repeat(10, 1) < 0.6, truth, prediction)
    truth[30:50, 40:90] = 255
    row = classes(prediction, truth, 7, 255)
    d = width((120, 160))
    assert d == 4
    for c in range(7):
        a, b = (prediction == c) & (truth != 255), truth == c
        assert row["inter"][c] == (eroded_band(a, d) & eroded_band(b, d)).sum()
        assert row["union"][c] == (eroded_band(a, d) | eroded_band(b, d)).sum()
    assert 0 < row["inter"][0] < row["union"][0]
    # what is said where nothing counts changes nothing
    assert classes(np.where(truth == 255, 3, prediction), truth, 7, 255) == row


def test_pairs_equal_eroding_every_mask_also_where_masks_overlap():
    rng = np.random.default_rng(1)
    masks = np.stack([ndimage.gaussian_filter(rng.normal(size=(80, 100)), 6) > 0.02 for _ in range(4)])
    truth = np.stack([blobs(rng, (80, 100), 3) == k for k in range(3)])
    found = pairs(layers(masks), layers(truth), 4, 3)
    d = width((80, 100))
    assert found == pytest.approx(np.array([[by_hand(m, t, d) for m in masks] for t in truth]))
    assert pairs(layers(truth), layers(truth), 3, 3).diagonal() == pytest.approx([1, 1, 1])


def test_squares_in_squares():
    """A square of side 40 has a band of 40² - 36² at d = 2; one that is 2 smaller all around shares none of it."""
    truth, inner = np.zeros((80, 60), int), np.zeros((80, 60), int)  # diagonal 100
    truth[10:50, 10:50], inner[12:48, 12:48] = 1, 1
    assert width(truth.shape) == 2
    assert (band(truth, 2) & (truth == 1)).sum() == 40**2 - 36**2
    assert pairs([inner], [truth], 1, 1)[0, 0] == 0.0
    one = np.zeros((80, 60), int)
    one[11:49, 11:49] = 1
    # one pixel all around: the common ring is the outer half of the smaller band
    common = 38**2 - 36**2
    assert pairs([one], [truth], 1, 1)[0, 0] == pytest.approx(common / ((40**2 - 36**2) + (38**2 - 34**2) - common))


def test_sums_come_before_ratios_and_absent_classes_are_left_out():
    rows = [{"inter": [1, 0, 0], "union": [1, 0, 4]}, {"inter": [0, 0, 2], "union": [9, 0, 0]}]
    found = score(rows)
    assert found["per_class"] == [0.1, None, 0.5]
    assert found["mBIoU"] == pytest.approx(0.3)
    assert found["BIoU_segments"] is None
    rows = [{"sum": [0.5, 1.5], "segments": [1, 2]}, {"sum": [0.0, 0.0], "segments": [0, 1]}]
    assert score(rows)["BIoU_segments"] == pytest.approx((0.5 + 0.5) / 2)
