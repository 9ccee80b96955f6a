"""`robustseg certify`: rows that add and resume, the bound on the mIoU, the words of the user."""

from __future__ import annotations

import json

import pytest
import torch
from toy import Bad, Toy, model

from robustseg.errors import UserError
from robustseg.evaluation import certify as module
from robustseg.evaluation.certified_scores import counts, scores
from robustseg.evaluation.certify import certify
from robustseg.evaluation.run import evaluate
from robustseg.report.certificates import markdown

OPTIONS = {"patch": "2", "mode": ("recovery", "detection"), "layout": ("columns", "windows"), "masks": None}


def test_a_run_says_what_is_certified_and_continues(tmp_path, monkeypatch):
    found = certify(model(), Toy(number=3), out=tmp_path, limit=2, **OPTIONS)
    assert set(found["certificates"]) == {"recovery,columns,2x2", "detection,columns,2x2", "detection,windows,2x2"}
    recovery, detection = (found["certificates"][f"{m},columns,2x2"] for m in ("recovery", "detection"))
    assert (recovery["passes"], recovery["most"], recovery["sides"]) == (5, 2, [[2, 2]])
    assert detection["passes"] == 9
    assert detection["mIoU"] == found["clean"]["mIoU"]  # a detector predicts as the model does
    for one in found["certificates"].values():
        assert 0 < one["certified_right"] <= one["certified"] <= 1
        assert one["certified_right"] <= one["aAcc"]
        assert one["certified_mIoU"] <= one["mIoU"]
    assert json.loads((tmp_path / "summary.json").read_text())["certificates"] == found["certificates"]
    assert markdown(found).count("\n") == 6
    calls = []
    whole = module.certified
    monkeypatch.setattr(module, "certified", lambda *a: calls.append(a) or whole(*a))
    again = certify(model(), Toy(number=3), out=tmp_path, limit=2, **OPTIONS)
    assert (again["certificates"], calls) == (found["certificates"], [])
    certify(model(), Toy(number=3), out=tmp_path, **OPTIONS)
    assert len(calls) == 3  # the third image, under each


def test_the_bound_holds_whatever_becomes_of_open_pixels():
    """All ways in which the open pixels of a small map may fall: none gives less than the bound."""
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        truth = torch.randint(0, 3, (1, 8), generator=g)
        labels = torch.where(torch.rand(1, 8, generator=g) < 0.7, truth, torch.randint(0, 3, (1, 8), generator=g))
        sure = torch.rand(1, 8, generator=g) < 0.5
        truth[0, 0] = 255
        bound = scores([counts(labels, truth, sure, 3, 255)])
        there = truth[truth != 255].unique()
        left = int((~sure).sum())
        for n in range(3**left):
            fallen = labels.clone()
            fallen[~sure] = torch.tensor([n // 3**k % 3 for k in range(left)])
            valid = truth != 255
            ious = [
                float((valid & (fallen == c) & (truth == c)).sum() / (valid & ((fallen == c) | (truth == c))).sum())
                for c in there
            ]
            assert sum(ious) / len(ious) >= bound["certified_mIoU"] - 1e-12
            assert float((fallen == truth)[valid].float().mean()) >= bound["certified_right"] - 1e-6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch": "big"}, "cannot be read"),
        ({"mode": "repair"}, "choose detection or recovery"),
        ({"layout": "windows"}, "--layout windows is none for recovery; choose of columns"),
        ({"limit": 0}, "leaves no image"),
        ({"patch": "13"}, "does not fit into an image of 12x16"),
        ({"masks": 3}, "use more masks"),
    ],
)
def test_refusals(tmp_path, options, says):
    with pytest.raises(UserError, match=says):
        certify(model(), Toy(number=1), out=tmp_path, **{"patch": "2", **options})


def test_scores_that_are_not_finite_and_a_foreign_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="scores are not finite"):
        certify(model(Bad("nan")), Toy(number=1), out=tmp_path / "a", patch="2")
    evaluate(model(), Toy(number=1), "fgsm", out=tmp_path / "b", device="cpu")
    with pytest.raises(UserError, match="holds a run of"):
        certify(model(), Toy(number=1), out=tmp_path / "b", patch="2")
