"""Average precision against the official tool, on random scenes with crowds, ties, small objects and empty images."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from robustseg.tasks.instance import average_precision, mask_iou, statistics

CLASSES = ["a", "b", "c"]


def scene(rng, number, size=128):
    masks = np.zeros((number, size, size), bool)
    for k in range(number):
        h, w = rng.integers(3, 110, 2)
        y, x = rng.integers(0, size - 2, 2)
        masks[k, y : y + h, x : x + w] = True
    return masks, rng.integers(0, len(CLASSES), number)


def detections(rng, masks, labels):
    """Jittered copies of the truth, some twice, some of another class, with many equal scores."""
    keep = rng.random(len(masks)) < 0.8
    moved = [np.roll(m, rng.integers(-6, 7, 2), (0, 1)) for m in masks[keep]] + list(masks[: len(masks) // 3])
    names = np.concatenate([labels[keep], labels[: len(masks) // 3]])
    names = np.where(rng.random(len(names)) < 0.2, rng.integers(0, len(CLASSES), len(names)), names)
    return np.array(moved).reshape(-1, *masks.shape[1:]), names, rng.integers(1, 12, len(names)) / 12


def test_equals_the_official_tool():
    from pycocotools import mask as rle
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    rows, anns, results = [], [], []
    for image in range(25):
        truth, labels = scene(rng, int(rng.integers(0, 9)))
        masks, names, scores = detections(rng, truth, labels)
        crowd = rng.random(len(truth)) < 0.2
        areas, areas_true = masks.sum((1, 2)), truth.sum((1, 2))
        rows.append(statistics(mask_iou(masks, truth, crowd), scores, names, areas, labels, areas_true, crowd))

        def encode(m):
            return rle.encode(np.asfortranarray(m.astype(np.uint8)))

        for m, c, g, a in zip(truth, labels, crowd, areas_true):
            ann = {"id": len(anns) + 1, "image_id": image, "category_id": int(c) + 1, "iscrowd": int(g)}
            anns.append({**ann, "area": float(a), "segmentation": encode(m), "bbox": [0, 0, 1, 1]})
        for m, c, s in zip(masks, names, scores):
            results.append({"image_id": image, "category_id": int(c) + 1, "score": s, "segmentation": encode(m)})

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i, "height": 128, "width": 128} for i in range(25)],
            "annotations": anns,
            "categories": [{"id": i + 1, "name": n} for i, n in enumerate(CLASSES)],
        }
        coco.createIndex()
        official = COCOeval(coco, coco.loadRes(results), "segm")
        official.evaluate()
        official.accumulate()
        official.summarize()
    mine = average_precision(rows, CLASSES)
    ours = [mine[k] for k in ("AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l")]
    assert ours == pytest.approx(official.stats[:6].tolist(), abs=1e-12)
    assert 0.05 < mine["AP"] < 0.95


def test_one_hit_and_one_false_alarm_above_it():
    truth = np.zeros((1, 8, 8), bool)
    truth[0, :4] = True
    masks = np.stack([~truth[0], truth[0]])
    crowd = np.array([False])
    labels = np.array([0, 0])
    row = statistics(
        mask_iou(masks, truth, crowd),
        np.array([0.9, 0.5]),
        labels,
        masks.sum((1, 2)),
        labels[:1],
        np.array([32]),
        crowd,
    )
    assert average_precision([row], ["a"])["AP"] == pytest.approx(0.5)  # precision 1/2 at every recall


def test_nothing_found_is_zero_and_nothing_there_is_none():
    empty = np.zeros((0, 8, 8), bool)
    truth = np.ones((1, 8, 8), bool)
    none = np.zeros(0)
    row = statistics(
        mask_iou(empty, truth, np.array([False])),
        none,
        none.astype(int),
        none,
        np.array([0]),
        np.array([64]),
        np.array([False]),
    )
    assert average_precision([row], ["a"])["AP"] == 0.0
    assert average_precision([], ["a"])["AP"] is None
