"""AP of masks and boxes against pycocotools: COCO's 560 instances with damaged copies as detections; whole rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from official_ap import encode, official

from robustseg.tasks.instance import average_precision, mask_iou, statistics
from robustseg.tasks.overlap import areas, box_iou, mask_boxes
from robustseg.tasks.predict import Prediction
from robustseg.tasks.rows import rows
from robustseg.tasks.segment_scoring import score_instance
from robustseg.types import SegmentTarget

NAMES = ("AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l")


def damaged(rng, masks, labels, classes):
    """Shifted copies of most masks, some twice, some of another class, some empty; few different scores."""
    found, names = [], []
    for mask, label in zip(masks, labels):
        for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
            box = mask_boxes(mask[None])[0]
            far = max(1, int(0.15 * min(box[2] - box[0], box[3] - box[1])))
            found.append(np.roll(mask, tuple(rng.integers(-far, far + 1, 2)), (0, 1)))
            names.append(int(rng.choice(classes)) if rng.random() < 0.1 else label)
    if rng.random() < 0.2:
        found.append(np.zeros_like(masks[0]))
        names.append(int(labels[0]))
    stacked = np.stack(found) if found else np.zeros((0, *masks.shape[1:]), bool)
    return stacked, np.array(names, int), rng.integers(1, 15, len(names)) / 15


def xywh(boxes):
    boxes = np.asarray(boxes, float)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_equals_the_official_tool_on_560_instances(shared_data):
    from pycocotools.coco import COCO

    given = json.loads((shared_data / "coco/val_ccby/instances.json").read_text())
    coco = COCO()
    coco.dataset = given
    coco.createIndex()
    index = {c["id"]: n for n, c in enumerate(given["categories"])}
    number = {n: k for k, n in index.items()}
    rng = np.random.default_rng(0)
    masks_rows, box_rows, results = [], [], []
    for image in sorted(given["images"], key=lambda one: one["id"]):  # equal scores: the tool goes by id
        anns = coco.imgToAnns[image["id"]]
        size = (image["height"], image["width"])
        masks = np.array([coco.annToMask(a) for a in anns], bool).reshape(len(anns), *size)
        labels = np.array([index[a["category_id"]] for a in anns], int)
        area = np.array([a["area"] for a in anns])
        crowd = np.array([a["iscrowd"] == 1 for a in anns], bool)
        # crowds are predicted too, in whole and in part
        said, names, scores = damaged(rng, masks, labels, list(number)) if len(anns) else (masks, labels, area)
        boxes = mask_boxes(said)
        true = np.array([a["bbox"] for a in anns], float).reshape(-1, 4)
        true[:, 2:] += true[:, :2]
        masks_rows.append(statistics(mask_iou(said, masks, crowd), scores, names, areas(said), labels, area, crowd))
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        box_rows.append(statistics(box_iou(boxes, true, crowd), scores, names, sides, labels, area, crowd))
        for mask, box, name, score in zip(said, xywh(boxes), names, scores):
            one = {"image_id": image["id"], "category_id": number[name], "score": float(score)}
            results.append((one, encode(mask), box.tolist()))
    assert sum(len(a) for a in coco.imgToAnns.values()) == 560
    classes = [c["name"] for c in given["categories"]]
    for kind, ours, key in (("segm", masks_rows, 1), ("bbox", box_rows, 2)):
        field = {"segm": "segmentation", "bbox": "bbox"}[kind]
        listed = [{**r[0], field: r[key]} for r in results]
        theirs = official(given["images"], given["annotations"], given["categories"], listed, kind)
        mine = average_precision(json.loads(json.dumps(ours)), classes)
        assert [mine[n] for n in NAMES] == pytest.approx(theirs, abs=1e-12)
        assert 0.1 < mine["AP"] < 0.9


def test_whole_rows_equal_the_official_tool():
    """From masks and boxes of a batch to scores; the size of a true object is its mask's, also for boxes."""
    from robustseg.tasks.decode import Instances

    rng = np.random.default_rng(1)
    size, classes = (96, 128), ("background", "a", "b")
    found, images, anns, listed = [], [], [], {"segm": [], "bbox": []}
    for i in range(12):
        count = int(rng.integers(1, 9))
        masks = np.zeros((count, *size), bool)
        for m in masks:
            y, x, h, w = rng.integers(0, 60), rng.integers(0, 90), *rng.integers(4, 60, 2)
            m[y : y + h, x : x + w] = rng.random(m[y : y + h, x : x + w].shape) < 0.9
        labels, crowd = rng.integers(1, 3, count), rng.random(count) < 0.15
        said, names, _ = damaged(rng, masks, labels, [1, 2])
        # scores rise from image to image: no two are equal, whatever the order of the detections
        scores = np.sort(rng.random(len(names)))[::-1] + 0.0
        boxes = mask_boxes(said) + rng.uniform(-2, 2, (len(said), 4)) * (np.arange(len(said)) % 2)[:, None]
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        boxes = boxes.astype(np.float32)
        one = Instances(
            torch.from_numpy(said), torch.from_numpy(scores.copy()), torch.from_numpy(names), torch.from_numpy(boxes)
        )
        pad = 2
        t = SegmentTarget(
            torch.zeros(1, *size, dtype=torch.int64),
            255,
            torch.from_numpy(np.concatenate([masks, np.ones((pad, *size), bool)]))[None],
            torch.tensor([[*labels.tolist(), 0, -1]]),  # the background is a segment too, and then there is padding
            torch.tensor([[*crowd.tolist(), False, False]]),
            torch.tensor([False, True, True]),
        )
        found += rows(Prediction(instances=[one]), t, tasks=("instance",))
        images.append({"id": i, "height": size[0], "width": size[1]})
        for m, b, c, g in zip(masks, xywh(mask_boxes(masks)), labels, crowd):
            ann = {"id": len(anns) + 1, "image_id": i, "category_id": int(c), "iscrowd": int(g)}
            anns.append({**ann, "area": float(m.sum()), "segmentation": encode(m), "bbox": b.tolist()})
        for m, b, c, s in zip(said, xywh(boxes), names, scores):
            result = {"image_id": i, "category_id": int(c), "score": float(s)}
            listed["segm"].append({**result, "segmentation": encode(m)})
            listed["bbox"].append({**result, "bbox": b.tolist()})
    kinds = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    mine = score_instance(json.loads(json.dumps(found)), classes)
    theirs = {kind: official(images, anns, kinds, listed[kind], kind) for kind in listed}
    absent = [-1 if mine[n] is None else mine[n] for n in NAMES]
    assert absent == pytest.approx(theirs["segm"], abs=1e-12)
    assert [mine[n] for n in ("AP_box", "AP50_box", "AP75_box")] == pytest.approx(theirs["bbox"][:3], abs=1e-12)
    assert 0.05 < mine["AP"] != mine["AP_box"] > 0.05
