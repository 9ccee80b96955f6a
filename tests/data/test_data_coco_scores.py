"""Annotations as this reader sees them score as the official tool scores its own reading of the same file."""

import contextlib
import io

import numpy as np
import pytest

from robustseg.data import load_data
from robustseg.tasks.instance import average_precision, mask_iou, statistics

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:__array__ implementation")]


def _guesses(masks, categories, size, rng):
    """True masks that are left out, moved, thinned and renamed, and boxes out of nowhere: masks, classes, scores."""
    found = []
    for mask, category in zip(masks, categories):
        if rng.random() < 0.2:
            continue
        moved = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
        if rng.random() < 0.3:
            moved = moved & (rng.random(moved.shape) < 0.8)
        found.append((moved, int(category) if rng.random() < 0.9 else int(rng.integers(80))))
    for _ in range(3):
        box = np.zeros(size, dtype=bool)
        y, x = rng.integers(0, 200, 2)
        box[y : y + 60, x : x + 60] = True
        found.append((box, int(rng.integers(3))))
    found = [(mask, category) for mask, category in found if mask.any()]
    return np.array([m for m, _ in found]), np.array([c for _, c in found]), rng.random(len(found))


def test_average_precision_is_the_official_one(shared_data):
    """AP, AP50, AP75 and the three sizes, with overlaps and crowds, over every third image."""
    official = pytest.importorskip("pycocotools.coco")
    evaluator = pytest.importorskip("pycocotools.cocoeval").COCOeval
    codec = pytest.importorskip("pycocotools.mask")
    root = shared_data / "coco" / "val_ccby"
    data = load_data(f"coco:{root}")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = official.COCO(str(root / "instances.json"))
    number = {image["file_name"][:-4]: image["id"] for image in truth.dataset["images"]}
    category = sorted(c["id"] for c in truth.dataset["categories"])
    rng = np.random.default_rng(0)
    rows, listed, images = [], [], []
    for position in [*range(0, len(data), 3), 13, 17, 25]:
        sample = data[position]
        assert sample.segments is not None
        masks, crowd = sample.segments.masks.numpy(), sample.segments.crowd.numpy()
        classes = sample.segments.categories.numpy()
        mine, labels, scores = _guesses(masks, classes, sample.labels.shape, rng)
        areas = (m.sum((1, 2)).astype(float) for m in (mine, masks))
        area, true_area = areas
        rows.append(statistics(mask_iou(mine, masks, crowd), scores, labels, area, classes, true_area, crowd))
        images.append(number[sample.id])
        for mask, label, score in zip(mine, labels, scores):
            code = codec.encode(np.asfortranarray(mask.astype(np.uint8)))
            listed.append(
                {"image_id": images[-1], "category_id": category[label], "segmentation": code, "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        judge = evaluator(truth, truth.loadRes(listed), "segm")
        judge.params.imgIds = images
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    found = average_precision(rows, list(data.classes))
    names = ("AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l")
    assert 0.05 < found["AP"] < 0.6
    assert [found[name] for name in names] == pytest.approx(judge.stats[:6].tolist(), abs=1e-9)
