"""Pictures of segments: owners agree with the fates, borders are exact, and files say what the model said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustseg.evaluation.outlines import Layer, centre, eroded, loops, pieces, scale_of
from robustseg.evaluation.overlays import FATE_COLOURS, thing_colour, truth_of
from robustseg.evaluation.owners import EXCUSED, INVENTED, Shown, owners, seen, true
from robustseg.evaluation.pictures import slim
from robustseg.ops.prompts import points
from robustseg.tasks import fates
from robustseg.tasks.decode import Instances
from robustseg.tasks.panoptic import PanopticMap
from robustseg.tasks.predict import Prediction
from robustseg.tasks.rows import rows
from robustseg.types import SegmentTarget

THINGS = torch.tensor([False, True, True])
NAMES = ("road", "car", "bus")


def target(ids: np.ndarray, categories: list[int], crowd: list[bool]) -> SegmentTarget:
    """A batch of one with these segments; id 0 is void."""
    masks = torch.stack([torch.from_numpy(ids == k + 1) for k in range(len(categories))])
    labels = torch.from_numpy(np.array([255, *categories])[ids])
    boxes = torch.zeros(1, len(categories), 4)
    boxes[..., 2:] = 5
    return SegmentTarget(
        labels[None], 255, masks[None], torch.tensor([categories]), torch.tensor([crowd]), THINGS, boxes
    )


def maps(draw, most: int) -> tuple[np.ndarray, list[int]]:
    number = draw(st.integers(1, most))
    blocks = np.array(draw(st.lists(st.integers(0, number), min_size=20, max_size=20))).reshape(4, 5)
    ids = np.kron(blocks, np.ones((3, 3), np.int64))
    return ids, draw(st.lists(st.integers(0, 2), min_size=number, max_size=number))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_owners_tell_the_story_of_the_rows(data):
    ids, categories = maps(data.draw, 5)
    crowd = [c > 0 and data.draw(st.booleans()) for c in categories]
    truth = target(ids, categories, crowd)
    found = PanopticMap(*(np.array(v) for v in maps(data.draw, 5)))
    prediction = Prediction(labels=truth.labels, panoptic=[found])
    told = rows(prediction, truth, tasks=("panoptic",))[0]["fates"]
    shown, guess = true(truth, 0, "panoptic"), seen(prediction, 0, "panoptic", truth)
    held = owners(guess, shown)
    assert [e[1] for e in told if e[1] != "invented"] == list(held.fates)
    assert [e[0] for e in told if e[1] != "invented"] == shown.classes.tolist()
    alarms = [int(guess.classes[p]) for p in np.flatnonzero(held.owner == INVENTED)]
    assert [e[0] for e in told if e[1] == "invented"] == alarms
    for t, fate in enumerate(held.fates):
        mine = (held.owner == t).sum()
        if fate in ("kept", "flipped"):
            assert mine >= 1
        if fate == "split":
            assert mine > 1
        if fate == "lost":
            assert mine == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_owners_of_overlapping_detections_agree_with_the_rows(data):
    ids, categories = maps(data.draw, 4)
    truth = target(ids, categories, [False] * len(categories))
    masks = np.stack([maps(data.draw, 1)[0] > 0 for _ in range(data.draw(st.integers(1, 4)))])
    number = len(masks)
    labels = data.draw(st.lists(st.integers(1, 2), min_size=number, max_size=number))
    scores = torch.tensor(data.draw(st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=number, max_size=number)))
    one = Instances(torch.from_numpy(masks), scores, torch.tensor(labels), torch.zeros(number, 4))
    prediction = Prediction(instances=[one])
    told = rows(prediction, truth, tasks=("instance",))[0]["fates"]
    held = owners(seen(prediction, 0, "instance", truth), true(truth, 0, "instance"))
    assert [e[1] for e in told if e[1] != "invented"] == list(held.fates)
    assert sum(e[1] == "invented" for e in told) == (held.owner == INVENTED).sum()
    assert len(slim(prediction).instances[0].masks) == (scores >= 0.5).sum()


def test_what_lies_on_a_crowd_is_neither_owned_nor_invented():
    ids = np.zeros((6, 6), np.int64)
    ids[:, :3] = 1
    truth = target(ids, [1], [True])
    prediction = Prediction(panoptic=[PanopticMap(ids, np.array([1]))])
    held = owners(seen(prediction, 0, "panoptic", truth), true(truth, 0, "panoptic"))
    assert held.owner.tolist() == [EXCUSED]
    assert held.fates == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=30))
def test_borders_enclose_exactly_the_mask(bits):
    mask = np.array(bits).reshape(5, 6)
    area = length = 0.0
    for line in loops(mask):
        x, y = line.T.astype(float)
        area += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2  # holes run the other way round
        closed = [tuple(c) for c in [*line.tolist(), line[0].tolist()]]
        length += np.abs(np.diff(closed, axis=0)).sum()
        drawn = sum(np.abs(np.diff(p, axis=0)).sum() for p in pieces(closed, 1.0))
        assert drawn == pytest.approx(np.abs(np.diff(closed, axis=0)).sum() / 2)
    padded = np.pad(mask, 1).astype(int)
    assert area == mask.sum()
    assert length == abs(np.diff(padded, axis=0)).sum() + abs(np.diff(padded, axis=1)).sum()


def test_a_number_stands_inside_its_segment():
    rng = np.random.default_rng(0)
    for size, deep in (((9, 9), 0), ((200, 300), 20)):
        mask = np.zeros(size, bool)
        mask[2 : size[0] // 2, 3 : size[1] - 2] = True
        mask[rng.integers(0, size[0], 5), rng.integers(0, size[1], 5)] = True
        y, x = centre(mask)
        assert mask[round(y), round(x)]
        assert eroded(mask, deep)[round(y), round(x)]
    assert centre(np.zeros((4, 4), bool)) is None


def drawn(truth: SegmentTarget, prediction: Prediction, task: str, folder) -> np.ndarray:
    """The layer of a prediction, a pixel of it for a pixel of the image."""
    colours = {n: [10, 200, 30] for n in NAMES}
    one = truth_of(truth, (task,), NAMES, colours)
    (folder / "a").mkdir()
    height, width = truth.masks.shape[-2:]
    names = one.drawn(folder, "a/x", np.zeros((3, height, width)), prediction)
    layer = np.asarray(Image.open(folder / names["layer"]))
    scale = scale_of(width)
    assert layer.shape == (height * scale, width * scale, 4)
    assert np.asarray(Image.open(folder / names["picture"])).shape == (height * scale, width * scale, 3)
    return layer


def test_a_kept_segment_keeps_its_colour_and_a_lost_one_leaves_the_picture_free(tmp_path):
    ids = np.ones((40, 60), np.int64)
    ids[5:25, 5:25], ids[5:25, 35:55] = 2, 3
    truth = target(ids, [0, 1, 1], [False] * 3)
    found = ids.copy()
    found[ids == 3] = 1
    prediction = Prediction(labels=truth.labels, panoptic=[PanopticMap(found, np.array([0, 1]))])
    layer = drawn(truth, prediction, "panoptic", tmp_path)
    scale = scale_of(60)
    middle = scale // 2
    assert tuple(layer[8 * scale + middle, 8 * scale + middle, :3]) == thing_colour(0)
    stuff = layer[8 * scale + middle, 50 * scale + middle, :3]
    assert tuple(stuff) != thing_colour(1)  # its pixels are the road's
    border = layer[5 * scale, 35 * scale : 55 * scale, :3]
    dashed = (border == thing_colour(1)).all(-1).mean()
    assert 0.2 < dashed < 0.8


def test_invented_and_void_are_marked(tmp_path):
    ids = np.ones((40, 60), np.int64)
    truth = target(ids, [0], [False])
    found = ids.copy()
    found[5:30, 5:30], found[:, 40:] = 2, 0
    prediction = Prediction(labels=truth.labels, panoptic=[PanopticMap(found, np.array([0, 2]))])
    layer = drawn(truth, prediction, "panoptic", tmp_path)
    scale = scale_of(60)
    inside = layer[6 * scale : 29 * scale, 6 * scale : 29 * scale]
    pink = (inside[..., :3] == FATE_COLOURS["invented"]).all(-1)
    assert pink.mean() > 0.7
    assert len(np.unique(inside[pink][:, 3])) >= 2  # stripes
    assert layer[2 * scale, 50 * scale].tolist()[:3] == [0, 0, 0]
    assert layer[2 * scale, 50 * scale, 3] > 100


def test_prompts_show_box_answer_and_what_was_missed(tmp_path):
    ids = np.zeros((40, 60), np.int64)
    ids[5:25, 5:25], ids[5:25, 35:55] = 1, 2
    truth = target(ids, [1, 1], [False] * 2)
    answers = torch.zeros(1, 4, 40, 60, dtype=torch.bool)  # padded to another image's four prompts
    answers[0, 0, 5:25, 5:25] = True
    layer = drawn(truth, Prediction(masks=answers), "prompted", tmp_path)
    scale = scale_of(60)
    middle = scale // 2
    assert tuple(layer[8 * scale + middle, 8 * scale + middle, :3]) == thing_colour(0)
    assert layer[20 * scale + middle, 50 * scale + middle, 3] == 0
    border = layer[5 * scale, 35 * scale : 55 * scale, :3]
    assert (border == thing_colour(1)).all(-1).any()


def test_a_point_that_asked_is_a_cross_on_its_pixel(tmp_path):
    ids = np.zeros((40, 60), np.int64)
    ids[5:25, 5:26] = 1
    truth = target(ids, [1], [False])
    truth = replace(truth, prompts=points(truth.masks))
    assert truth.prompts.tolist() == [[[14, 14]]]
    layer = drawn(truth, Prediction(masks=torch.zeros(1, 1, 40, 60, dtype=torch.bool)), "prompted", tmp_path)
    scale = scale_of(60)
    middle = int(14.5 * scale)
    assert tuple(layer[middle, middle, :3]) == thing_colour(0)
    assert layer[middle + 4 * scale, middle + 4 * scale, 3] == 0  # a cross, no box


def test_semantic_truth_has_no_segments_to_draw():
    assert truth_of(target(np.ones((4, 4), np.int64), [0], [False]), ("semantic",), NAMES, {}) is None


def test_a_layer_covers_only_what_it_marks():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:7] = True
    layer = Layer((10, 12))
    layer.tint(mask, (1, 2, 3), 0.5)
    assert ((layer.pixels[..., 3] > 0) == mask.repeat(layer.scale, 0).repeat(layer.scale, 1)).all()
    layer.outline(np.zeros((10, 12), bool), (9, 9, 9))
    layer.badge(np.zeros((10, 12), bool), "7", (9, 9, 9))
    assert not (layer.pixels[..., :3] == 9).any()


def test_worst_case_in_ap_is_never_above_an_attack():
    from robustseg.evaluation.segments import lowest_ap
    from robustseg.tasks.instance import average_precision

    rng = np.random.default_rng(1)
    for _ in range(10):
        parts = [[{"instance": random_matches(rng)} for _ in range(6)] for _ in range(3)]
        choice = lowest_ap(parts, NAMES)
        chosen = average_precision([parts[a][i]["instance"] for i, a in enumerate(choice)], NAMES)["AP"]
        singles = [average_precision([s["instance"] for s in p], NAMES)["AP"] for p in parts]
        assert chosen <= min(singles)


def random_matches(rng: np.random.Generator) -> dict:
    from robustseg.tasks.instance import statistics

    iou, scores = rng.random((4, 3)), np.sort(rng.random(4))[::-1]
    labels, true = rng.integers(1, 3, 4), rng.integers(1, 3, 3)
    return statistics(iou, scores, labels, np.full(4, 50.0), true, np.full(3, 50.0), np.zeros(3, bool))


def test_fates_are_those_that_have_a_colour():
    assert set(FATE_COLOURS) == set(fates.FATES)
    assert isinstance(Shown(np.zeros((0, 2, 2), bool), np.zeros(0)).crowds, np.ndarray)


def test_a_mask_rcnn_run_is_scored_and_drawn(tmp_path):
    import json
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from toy import Toy

    import tiny_maskrcnn
    from robustseg.evaluation.run import evaluate
    from robustseg.models import maskrcnn

    class Persons(Toy):
        things, tasks = ("person",), ("semantic", "instance")

    names = ("background", "road", "sky", "person")
    model = maskrcnn.adapter(tiny_maskrcnn.network(), names, "toy:maskrcnn", "t")
    made = evaluate(model, Persons(2, sizes=((48, 64),)), ["noise"], eps="8/255", out=tmp_path, keep=1, device="cpu")
    assert (made["failed"], made["clean"]["images"]) == (0, 2)
    assert made["clean"]["AP"] is not None
    found = json.loads((tmp_path / "pictures" / "INDEX.json").read_text())["images"][0]
    assert found["segments"]["task"] == "instance"
    ids = np.asarray(Image.open(tmp_path / "pictures" / found["attacks"][0]["segments"]["index"]))
    assert ids.shape == (48, 64)
    assert ids.max() <= len(found["attacks"][0]["segments"]["classes"])
