"""Boxes, layers, intersections and joint counts against the plain way."""

from __future__ import annotations

import numpy as np
import pytest

from robustseg.ops.prompts import boxes
from robustseg.tasks.overlap import areas, box_iou, intersections, joint, layers, mask_boxes


def blobs(rng, number, size, share=0.3):
    found = np.zeros((number, *size), bool)
    for m in found:
        y, x, h, w = rng.integers(0, size[0]), rng.integers(0, size[1]), *rng.integers(1, 20, 2)
        m[y : y + h, x : x + w] = rng.random(m[y : y + h, x : x + w].shape) > share
    return found


def test_boxes_and_areas():
    import torch

    masks = blobs(np.random.default_rng(0), 9, (30, 41))
    masks[3] = False
    assert mask_boxes(masks).tolist() == boxes(torch.from_numpy(masks)).long().tolist()
    assert areas(masks).tolist() == masks.sum((1, 2)).tolist()
    assert mask_boxes(masks[:0]).shape == (0, 4)


def test_layers_hold_every_mask_once():
    masks = blobs(np.random.default_rng(1), 12, (30, 40))
    found = layers(masks)
    assert 1 < len(found) < 12
    for k, mask in enumerate(masks):
        assert sum(bool((m == k + 1).any()) for m in found) == 1
        assert (sum(m == k + 1 for m in found) == mask).all()
    apart = np.stack([np.arange(12).reshape(3, 4) == k for k in range(12)])
    assert len(layers(apart)) == 1
    assert layers(masks[:0]) == []


@pytest.mark.parametrize(("n", "m"), [(7, 5), (0, 3), (3, 0), (1, 1)])
def test_intersections(n, m):
    rng = np.random.default_rng(2)
    a, b = blobs(rng, n, (24, 33)), blobs(rng, m, (24, 33))
    assert intersections(a, b).tolist() == [[int((x & y).sum()) for y in b] for x in a]


def test_box_iou_of_touching_and_empty_boxes_is_zero():
    a = np.array([[0.0, 0, 2, 2], [3, 3, 3, 3]])
    b = np.array([[2.0, 0, 4, 2], [0, 0, 1, 4], [3, 3, 3, 3]])
    assert box_iou(a, b, np.zeros(3, bool)).tolist() == [[0, 2 / 6, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", ["pieces", "noise"])
@pytest.mark.parametrize(("a", "b", "dtype"), [(3, 4, np.int64), (300, 200, np.int32), (20, 20, np.uint8), (1, 1, int)])
def test_joint_counts(kind, a, b, dtype):
    rng = np.random.default_rng(3)
    first, second = (rng.integers(0, n, (20, 30)).astype(dtype) for n in (a, b))
    if kind == "pieces":
        first, second = (m.repeat(9, 1).repeat(3, 0) for m in (first, second))
    wanted = np.zeros((a, b), int)
    np.add.at(wanted, (first, second), 1)
    found = joint(first, second, a, b)
    assert found.dtype == np.int64
    assert (found == wanted).all()
    assert joint(first[:0], second[:0], a, b).sum() == 0
