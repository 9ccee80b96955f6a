"""Rows of segments by hand: what is asked for, void, crowds, boxes, prompts; JSON-able and additive."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from robustseg.ops.prompts import boxes
from robustseg.tasks.decode import Instances
from robustseg.tasks.panoptic import PanopticMap
from robustseg.tasks.predict import Prediction
from robustseg.tasks.rows import rows, truth_map
from robustseg.tasks.segment_scoring import (
    score_boundary,
    score_fates,
    score_instance,
    score_panoptic,
    score_prompted,
)
from robustseg.tasks.truth import target
from robustseg.types import Sample, Segments, SegmentTarget

ROAD, CAR, MAN = 0, 1, 2
CLASSES = ("road", "car", "man")
THINGS = (False, True, True)


def street(size=(16, 24)):
    """A road; a car of 4x6 and a man of 6x3; the last column is ignored; cars without a number at the right."""
    labels = torch.full(size, ROAD)
    objects = torch.zeros(size, dtype=torch.int32)
    labels[4:8, 2:8], objects[4:8, 2:8] = CAR, 1
    labels[5:11, 12:15], objects[5:11, 12:15] = MAN, 2
    labels[2:6, 17:21] = CAR
    labels[:, -1] = 255
    return target([Sample("a", torch.zeros(3, *size), labels, objects)], THINGS, 255)


def perfect(t):
    """The truth as a prediction, wrong only where the truth is ignored."""
    true = truth_map(t, 0)
    ids = true.ids.copy()
    ids[:, -1] = 1
    masks = t.masks[0]
    found = Instances(masks, torch.ones(len(masks)), t.categories[0], boxes(masks))
    things = t.things[t.categories[0]] & ~t.crowd[0]
    objects = Instances(found.masks[things], found.scores[things], found.labels[things], found.boxes[things])
    labels = torch.where(t.labels == 255, MAN, t.labels)
    return Prediction(labels, [PanopticMap(ids, true.categories)], [objects], masks[None])


def test_the_truth_scores_one_whatever_is_said_on_void():
    t = street()
    row = rows(perfect(t), t, tasks=("semantic", "panoptic", "instance", "prompted"))[0]
    assert set(row) == {"panoptic", "instance", "boxes", "boundary", "prompted", "fates"}
    assert json.loads(json.dumps(row)) == row
    assert score_panoptic([row], THINGS, CLASSES)["PQ"] == 1.0
    found = score_instance([row], CLASSES)
    assert (found["AP"], found["AP_box"], found["AP_m"]) == (1.0, 1.0, None)
    assert score_boundary([row]) == {"mBIoU": 1.0, "BIoU_segments": 1.0}
    assert score_prompted([row])["IoU_prompted"] == score_prompted([row])["BIoU_prompted"] == 1.0
    assert score_fates([row], CLASSES)["all"] == {
        "kept": 3, "lost": 0, "flipped": 0, "split": 0, "merged": 0, "invented": 0
    }  # fmt: skip
    assert score_fates([row], CLASSES)["newly"] is None


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance", "prompted"])
def test_a_row_has_what_was_asked_for(task):
    t = street()
    row = rows(perfect(t), t, tasks=(task,))[0]
    wanted = {
        "semantic": {"boundary"},
        "panoptic": {"panoptic", "boundary", "fates"},
        "instance": {"instance", "boxes", "boundary", "fates"},
        "prompted": {"prompted"},
    }
    assert set(row) == wanted[task]


def test_all_void_is_zero_everywhere():
    t = street()
    nothing = Instances(torch.zeros(0, 16, 24).bool(), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0, 4))
    void = Prediction(
        None, [PanopticMap(np.zeros((16, 24), int), np.zeros(0, int))], [nothing], t.masks[None][0] & False
    )
    row = rows(void, t, tasks=("panoptic", "instance", "prompted"), clean=perfect(t))[0]
    assert score_panoptic([row], THINGS, CLASSES)["PQ"] == 0.0
    assert score_instance([row], CLASSES)["AP"] == 0.0
    assert score_boundary([row])["BIoU_segments"] == 0.0
    assert score_prompted([row])["IoU_prompted"] == 0.0
    assert score_fates([row], CLASSES)["newly"]["lost"] == 3


def test_an_unnumbered_object_is_a_crowd_that_excuses_and_is_never_missed():
    t = street()
    true = truth_map(t, 0)
    assert true.crowd.tolist().count(True) == 1
    inside = np.zeros((16, 24), bool)
    inside[2:6, 17:20] = True
    ids = np.where(inside, 4, true.ids * ~np.isin(true.ids, 1 + np.flatnonzero(true.crowd)))
    p = PanopticMap(ids, np.array([*true.categories[:3], CAR]))
    car = Instances(
        torch.from_numpy(inside)[None], torch.ones(1), torch.tensor([CAR]), torch.tensor([[17.0, 2, 20, 6]])
    )
    row = rows(Prediction(None, [p], [car]), t, tasks=("panoptic", "instance"))[0]
    assert row["panoptic"]["fp"] == [0, 0, 0]
    assert row["instance"]["1"]["objects"][0] == 1
    assert set(row["instance"]["1"]["detections"][0][1][:10]) == {"2"}
    assert set(row["boxes"]["1"]["detections"][0][1][:10]) == {"2"}


def test_boxes_are_the_models_own_and_the_size_of_an_object_is_its_masks():
    t = street()
    man = t.masks[0, (t.categories[0] == MAN).nonzero()[0]]
    low = torch.tensor([[12.0, 5.0, 15.0, 9.0]])  # two thirds of the box, all of the mask
    row = rows(Prediction(instances=[Instances(man, torch.ones(1), torch.tensor([MAN]), low)]), t, tasks=("instance",))[
        0
    ]
    assert row["instance"]["2"]["detections"][0][1][:10] == "1" * 10
    assert row["boxes"]["2"]["detections"][0][1][:10] == "1111000000"


def test_an_iou_of_exactly_a_threshold_counts_in_ap_and_not_in_pq():
    masks = torch.zeros(1, 1, 4, 8).bool()
    masks[..., :4] = True
    t = SegmentTarget(
        torch.full((1, 4, 8), CAR), 255, masks, torch.tensor([[CAR]]), torch.zeros(1, 1).bool(), torch.tensor(THINGS)
    )
    all_ = torch.ones(1, 4, 8).bool()
    found = Instances(all_, torch.ones(1), torch.tensor([CAR]), boxes(all_))
    half = PanopticMap(np.ones((4, 8), int), np.array([CAR]))
    row = rows(Prediction(instances=[found]), t, tasks=("instance",))[0]
    assert row["instance"]["1"]["detections"][0][1][:2] == "10"
    # the right half is no void: another segment
    both = torch.cat([masks, ~masks], 1)
    t = SegmentTarget(t.labels, 255, both, torch.tensor([[CAR, MAN]]), torch.zeros(1, 2).bool(), t.things)
    assert rows(Prediction(panoptic=[half]), t, tasks=("panoptic",))[0]["panoptic"]["tp"] == [0, 0, 0]


def test_overlapping_truth_keeps_its_masks_for_ap():
    masks = torch.zeros(2, 6, 10).bool()
    masks[0, :, :6], masks[1, :, 4:] = True, True
    true = Segments(masks, torch.tensor([1, 1]), torch.zeros(2).bool())
    sample = Sample("a", torch.zeros(3, 6, 10), torch.zeros(6, 10).long(), segments=true)
    t = target([sample], THINGS, 255)
    found = Instances(masks, torch.tensor([0.9, 0.8]), torch.tensor([1, 1]), boxes(masks))
    row = rows(Prediction(instances=[found]), t, tasks=("instance",))[0]
    assert score_instance([row], CLASSES)["AP"] == 1.0
    assert row["boundary"]["sum"][1] == 2.0


def test_images_of_a_batch_are_rows_of_their_own_and_padding_is_nothing():
    a = street()
    empty = Sample("b", torch.zeros(3, 16, 24), torch.full((16, 24), 255))
    sample = Sample("a", torch.zeros(3, 16, 24), a.labels[0], torch.where(a.masks[0, 0], 1, 0).int())
    t = target([sample, empty], THINGS, 255)
    p = perfect(a)
    masks = torch.cat([p.masks[:, : t.masks.shape[1]]] * 2)
    both = Prediction(torch.cat([p.labels, p.labels]), p.panoptic * 2, p.instances * 2, masks)
    found = rows(both, t, tasks=("semantic", "panoptic", "instance", "prompted"))
    alone = target([sample], THINGS, 255)
    assert found[0] == rows(both, alone, tasks=("semantic", "panoptic", "instance", "prompted"))[0]
    # an image that is void all over forgives every panoptic segment, but no detection
    assert found[1]["panoptic"]["fp"] == [0, 0, 0]
    assert found[1]["prompted"]["iou"] == []
    assert found[1]["instance"]["1"]["objects"] == [0, 0, 0, 0]
