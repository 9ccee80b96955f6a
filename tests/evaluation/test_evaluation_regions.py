"""A run on a detector and on a prompted model: from data to the summary, scored as instances and as answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import robustseg as rs
from region_toys import Squares, ToyRegions, grid
from robustseg.types import ModelSpec, QueryOutput


class Detector(ToyRegions):
    """The names of the data: squares on ground."""

    def __init__(self):
        super().__init__(grid(24, 32))
        self.spec = replace(self.spec, classes=("ground", "a"), things=("a",))


class Asked:
    """Answers a box with the bright pixels inside it."""

    spec, module = ModelSpec("asked", "prompted", ("object",), "x"), torch.nn.Identity()

    def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
        y, x = (torch.arange(n) + 0.5 for n in images.shape[-2:])
        x0, y0, x1, y1 = (v[..., None, None] for v in prompts.unbind(-1))
        inside = (x > x0) & (x < x1) & (y[:, None] > y0) & (y[:, None] < y1)
        z = torch.where(inside, 20 * (images.mean(1, keepdim=True) - 0.5), -10.0)
        return QueryOutput(torch.zeros(*z.shape[:2], 2), z)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_detector(tmp_path):
    names = ["noise", "roi-class:steps=10", "ap-rank:steps=10", "dag:steps=10,proposals=moving"]
    with pytest.raises(rs.UserError, match="unknown option 'proposals'"):
        rs.evaluate(Detector(), Squares(), names, eps="0.3", out=tmp_path)
    rs.evaluate(Detector(), Squares(), [*names[:3], "dag:steps=10"], eps="0.3", out=tmp_path)
    found = summary(tmp_path)
    assert found["clean"]["AP50"] == pytest.approx(1)
    attacks = {a["name"]: a for a in found["attacks"].values()}
    assert attacks["noise"]["AP50"] == pytest.approx(1)
    assert attacks["noise"]["forwards"] == 1
    for name in ("roi-class", "ap-rank", "dag"):
        assert attacks[name]["AP50"] < 0.5
        assert attacks[name]["AP"] <= attacks[name]["AP50"]
        assert not attacks[name]["errors"]
    assert attacks["dag"]["forwards"] == attacks["roi-class"]["forwards"] + 1  # the clean proposals


def test_answers_to_prompts(tmp_path):
    rs.evaluate(
        Asked(), Squares(), ["noise", "mask-removal:steps=5", "masked-prompt:steps=5"], eps="0.31", out=tmp_path
    )
    found = summary(tmp_path)
    scores = {a["name"]: a["IoU_prompted"] for a in found["attacks"].values()}
    assert found["clean"]["IoU_prompted"] == 1
    assert scores == {"noise": pytest.approx(1, abs=0.01), "mask-removal": 0, "masked-prompt": 0}


class Pointed(Asked):
    """Answers a point with the squares of the scene that hold it, as bright as they are."""

    spec = ModelSpec("pointed", "prompted", ("object",), "x", prompt="point")

    def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
        column, row = prompts.long().unbind(-1)
        here = images.mean(1)[torch.arange(len(images))[:, None], row, column][..., None, None]
        z = torch.where(here > 0.5, 20 * (images.mean(1, keepdim=True) - 0.5), -10.0 + 0 * images[:, :1])
        return QueryOutput(torch.zeros(*z.shape[:2], 2), z)


def test_answers_to_points(tmp_path):
    rs.evaluate(Pointed(), Squares(), ["mask-removal:steps=5"], eps="0.31", out=tmp_path, keep=1)
    found = summary(tmp_path)
    assert found["clean"]["IoU_prompted"] > 0
    assert {a["name"]: a["IoU_prompted"] for a in found["attacks"].values()}["mask-removal"] == 0
    assert list(tmp_path.rglob("*.segments.png"))
