"""One run, several tasks: segment truth in, PQ and AP out, on queries that can be computed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from robustseg.catalog import attack
from robustseg.errors import UserError
from robustseg.evaluation.run import evaluate
from robustseg.types import ModelSpec, QueryOutput, Sample

SKY, CAR = 0, 1
CLASSES = ("sky", "car")
SPEC = ModelSpec("queries", "universal", CLASSES, "0" * 16)


@dataclass
class Queries:
    """Three sure queries, one a channel: sky where red is bright, a car where green is, another where blue is."""

    module: nn.Module = field(default_factory=lambda: nn.Conv2d(1, 1, 1))
    spec: ModelSpec = SPEC

    def __call__(self, images: Tensor, **_: object) -> QueryOutput:
        classes = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 9.0, 0]]).expand(len(images), -1, -1)
        return QueryOutput(classes, 20 * (images - 0.5))


@dataclass(frozen=True)
class Scenes:
    """Two pictures of sky with two cars each; the second has a strip that is not labelled."""

    ref: str = "scenes"
    task: str = "semantic"
    tasks: tuple[str, ...] = ("semantic", "instance", "panoptic")
    classes: tuple[str, ...] = CLASSES
    things: tuple[str, ...] = ("car",)
    ignore: int = 255
    ids: tuple[str, ...] = ("a", "b")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        objects = torch.zeros(16, 16, dtype=torch.int32)
        objects[8:, :8], objects[8:, 8:] = 1, 2
        labels = torch.where(objects > 0, CAR, SKY)
        image = torch.stack([objects == k for k in range(3)]).float() * 0.2 + 0.4
        if index:
            labels[:2] = 255
        return Sample(self.ids[index], image, labels, objects)

    def digest(self) -> str:
        return "1" * 16


def go(tmp_path, attacks=("pgd:steps=3",), **options):
    return evaluate(Queries(), Scenes(), list(attacks), out=tmp_path / "run", device="cpu", **options)


def test_a_universal_model_is_scored_on_all_tasks_at_once(tmp_path):
    found = go(tmp_path, eps="1/255")
    clean = found["clean"]
    assert found["tasks"] == ["semantic", "instance", "panoptic"]
    for name in ("mIoU", "PQ", "SQ", "RQ", "PQ_th", "PQ_st", "AP", "AP50", "mBIoU"):
        assert clean[name] == pytest.approx(1.0), name
    assert clean["fates"]["all"]["kept"] == 6
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["clean"]["PQ"] == pytest.approx(1.0)


def test_a_radius_past_the_decision_takes_everything_and_the_worst_case_knows(tmp_path):
    found = go(tmp_path, eps="51/255")  # 0.2 > 0.1: every channel can be turned round
    entry = found["attacks"]["pgd:eps=51/255,steps=3"]
    assert entry["PQ"] < 0.5
    assert entry["mIoU"] < 0.5
    assert found["worst_case"]["PQ"] <= min(e["PQ"] for e in found["attacks"].values())
    assert found["worst_case"]["AP"] <= min(e["AP"] for e in found["attacks"].values())


def test_task_narrows_what_is_scored_and_is_part_of_the_key(tmp_path):
    found = go(tmp_path, task="panoptic")
    assert found["tasks"] == ["semantic", "panoptic"]
    assert "AP" not in found["clean"]
    whole = go(tmp_path)
    assert whole["attacks"]["pgd:eps=8/255,steps=3"]["key"] != found["attacks"]["pgd:eps=8/255,steps=3"]["key"]
    assert whole["clean"]["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(("task", "words"), [("panoptik", "unknown task"), ("prompted", "gives no prompted")])
def test_a_task_that_is_not_there_is_one_line(tmp_path, task, words):
    with pytest.raises(UserError, match=words):
        go(tmp_path, task=task)


def test_instances_of_nothing_countable_are_refused(tmp_path):
    merged = {"sky": "sky", "car": "sky"}
    with pytest.raises(UserError, match="no class of scenes is countable to this model"):
        go(tmp_path, task="instance", class_map=merged)
    assert go(tmp_path, task="panoptic", class_map=merged)["clean"]["PQ_th"] is None


def test_data_without_panoptic_truth_say_so(tmp_path):
    with pytest.raises(UserError, match="has no panoptic truth"):
        evaluate(Queries(), Scenes(tasks=("semantic",)), ["pgd"], out=tmp_path / "run", task="panoptic")


def test_a_run_that_is_continued_equals_one_in_one_go(tmp_path):
    options = {"eps": "12/255", "batch_size": 1}
    evaluate(Queries(), Scenes(), ["pgd:steps=3"], out=tmp_path / "a", limit=1, **options)
    first = evaluate(Queries(), Scenes(), ["pgd:steps=3"], out=tmp_path / "a", **options)
    second = evaluate(Queries(), Scenes(), ["pgd:steps=3"], out=tmp_path / "b", **options)
    for name in ("PQ", "SQ", "RQ", "AP", "AP50", "fates", "mIoU"):
        a, b = (r["attacks"]["pgd:eps=12/255,steps=3"][name] for r in (first, second))
        assert a == b, name


def test_an_attack_on_what_the_model_does_not_give_is_refused(tmp_path):
    with pytest.raises(UserError, match="mask classification"):
        attack("rpn-objectness")(Queries(), torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))
