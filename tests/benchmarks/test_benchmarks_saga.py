"""SAGA's table: which images are attacked, whose successes are counted, and what the page says of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import saga

from robustseg.data.labelled import LabelledSet


def crops(labels: str) -> LabelledSet:
    pairs = tuple(SimpleNamespace(id=f"{i}", label="abc".index(c)) for i, c in enumerate(labels))
    return LabelledSet("toy", ("a", "b", "c"), pairs)  # type: ignore[arg-type]


def test_classes_take_turns_and_only_usable_images_are_taken():
    data = crops("aaaaaaabbbc")
    usable = torch.ones(11, dtype=torch.bool)
    usable[:3] = False
    found = saga.choose(data, usable, 6, seed=1)
    assert sorted("abc"[p.label] for p in found.pairs) == ["a", "a", "a", "b", "b", "c"]  # c has no second
    assert not {p.id for p in found.pairs} & {"0", "1", "2"}
    assert saga.choose(data, usable, 6, seed=1) == found
    assert len({saga.choose(data, usable, 4, seed=s).ids for s in range(9)}) > 1
    assert len(saga.choose(data, usable, 99, seed=0)) == 8


def test_who_is_fooled_by_which_attack(monkeypatch):
    """Of four images the first model loses two, the second two, both one of them."""
    right = {"one": [0, 0, 1, 1], "two": [1, 0, 0, 1]}

    def read(folder):
        run = SimpleNamespace(attacks={"saga:eps=1": "s", "saga:eps=1,rollout=none": "n"}, images=[0, 1, 2, 3])
        lost = {i: SimpleNamespace(stats={"right": r}) for i, r in enumerate(right[folder])}
        kept = {i: SimpleNamespace(stats={"right": 1}) for i in range(4)}
        return SimpleNamespace(runs=[run], rows={"s": lost, "n": kept})

    monkeypatch.setattr(saga, "read", read)
    assert saga.fooled(["one", "two"], "saga:") == [0.5, 0.5, 0.25]
    assert saga.fooled(["one", "two"], "saga:", plain=True) == [0, 0, 0]


def test_the_verdict_is_paired_by_seed():
    mean_loss, balanced, whole = list(saga.JOINT.values())[1:]
    lines = {mean_loss: [[0, 0, 0.5], [0, 0, 0.7]], balanced: [[0, 0, 0.6]] * 2, whole: [[0, 0, 0.6], [0, 0, 0.5]]}
    said = saga.verdict("2/255", lines)
    assert "-5.0 points (by seed: +10.0, -20.0)" in said
    assert "rollout, -5.0 points (by seed: +0.0, -10.0)" in said
    table = saga.table("2/255", ["zoo:a", "zoo:b"], lines).splitlines()
    assert table[0] == "| attack, ε = 2/255 | ASR `a` | ASR `b` | all |"
    assert table[2].endswith("| 60.0 ± 14.1 |")
    assert saga.cell([0.5]) == "50.0"
