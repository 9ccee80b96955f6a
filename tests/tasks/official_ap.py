"""The official tool's AP for masks and boxes, from annotations and detections in memory."""

from __future__ import annotations

import contextlib
import io

import numpy as np


def official(images, annotations, categories, results, kind):
    """``[AP, AP50, AP75, AP_s, AP_m, AP_l]`` of pycocotools; ``kind`` is ``segm`` or ``bbox``."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(r) for r in results]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


def encode(mask):
    from pycocotools import mask as rle

    return rle.encode(np.asfortranarray(mask.astype(np.uint8)))
