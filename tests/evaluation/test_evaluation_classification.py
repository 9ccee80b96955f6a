"""A classifier through the whole of it: rows, attack success rate by hand, report, replay, doctor, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toy import Toy

import robustseg as rs
from labelled_toys import CLASSES, Labelled, linear
from robustseg.errors import UserError
from robustseg.evaluation.aggregate import summary
from robustseg.evaluation.asked import one_kind
from robustseg.evaluation.key import attack_config, clean_config
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import Contents, Row, Run, read
from robustseg.models import check
from robustseg.types import Sample

CLEAN = clean_config(model="m", data="d", task="classification")
NAMES = ["a", "b"]


def stats(truth, now, before=None):
    """The statistics of one image of a class, what it is taken for now, and was before."""
    one = {"inter": [0, 0], "pred": [0, 0], "target": [0, 0], "valid": 1, "right": int(now == truth)}
    one["inter"][truth], one["pred"][now], one["target"][truth] = int(now == truth), 1, 1
    if before is not None:
        one |= {"clean_right": int(before == truth), "flipped": int(before == truth != now)}
    return one


# image: truth, clean, under p, under q
TABLE = [(0, 0, 1, 0), (0, 0, 0, 1), (0, 1, 0, 1), (1, 1, 0, 1), (1, 1, 1, 1), (1, 0, 0, 0)]


@pytest.fixture
def made():
    def rows(key, each):
        return {f"i{n}": Row(key, f"i{n}", n, stats=s, forwards=2, backwards=1) for n, s in enumerate(each)}

    keys = {"clean": CLEAN}
    found = {"clean": rows("clean", [stats(t, c) for t, c, _, _ in TABLE])}
    for place, spec in ((2, "p:eps=8/255"), (3, "q:eps=8/255")):
        keys[spec] = attack_config(CLEAN, spec=spec, version=1, eps="8/255", norm="linf", reference="gt", seed=0)
        found[spec] = rows(spec, [stats(r[0], r[place], r[1]) for r in TABLE])
    info = {
        "model": "m",
        "data": "d",
        "task": "classification",
        "tasks": ["classification"],
        "classes": NAMES,
        "seed": 0,
    }
    run = Run("clean", {s: s for s in keys if s != "clean"}, [f"i{n}" for n in range(6)],
              {"e:eps=8/255": ["p:eps=8/255", "q:eps=8/255"]}, info)  # fmt: skip
    return summary(Contents(keys, found, [run], {}))


def test_attack_success_rate_by_hand(made):
    clean, p, q = made["clean"], made["attacks"]["p:eps=8/255"], made["attacks"]["q:eps=8/255"]
    assert clean["accuracy"] == 4 / 6
    assert clean["accuracy_per_class"] == {"a": 2 / 3, "b": 2 / 3}
    assert "ASR" not in clean
    # right before: 0, 1, 3, 4; p turns 0 and 3, and image 2, wrong before, is right now: no success, no failure
    assert p["ASR"] == 2 / 4
    assert p["accuracy"] == 3 / 6
    assert p["accuracy_per_class"] == {"a": 2 / 3, "b": 1 / 3}
    assert p["mAcc"] == 1 / 2
    assert q["ASR"] == 1 / 4
    low, high = p["ci95"]["ASR"]
    assert 0 <= low < 2 / 4 < high <= 1


def test_the_worst_case_and_an_ensemble_choose_for_each_image(made):
    for found in (made["worst_case"], made["attacks"]["e:eps=8/255"]):
        assert found["ASR"] == 3 / 4  # 0 and 3 by p, 1 by q
        assert found["accuracy"] == 1 / 6  # image 4 alone; image 2 is wrong under q
        assert found["accuracy_per_class"] == {"a": 0, "b": 1 / 3}


def test_scores_of_pixels_are_left_out(made):
    for found in (made["clean"], made["attacks"]["p:eps=8/255"], made["worst_case"]):
        assert not {"mIoU", "aAcc", "NmIoU", "IoU", "recall", "APSR", "solved", "drop"} & set(found)


# ------------------------------------------------------------------------------------------- end to end


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    attacks = ["fgsm", "pgd:steps=3", "pgd:steps=3,target=class:bee"]
    evaluate(linear(), Labelled(), attacks, eps="0.01,0.05", out=out, keep=2, batch_size=3)
    return out


def test_a_run_equals_the_model_asked_directly(folder):
    found = json.loads((folder / "summary.json").read_text())
    model, data = linear(), Labelled()
    x = torch.stack([data[i].image for i in range(8)])
    y = torch.cat([data[i].labels for i in range(8)]).flatten()
    with torch.no_grad():
        right = model(x).scores.flatten(1).argmax(1) == y
    assert found["clean"]["accuracy"] == right.float().mean().item() == 0.75  # two labels are wrong
    contents = read(folder)
    entry = found["attacks"]["pgd:eps=0.05,steps=3"]
    flips = [r.stats["flipped"] for r in contents.rows[entry["key"]].values()]
    assert entry["ASR"] == sum(flips) / 6 > 0
    assert found["worst_case"]["ASR"] >= entry["ASR"]
    small = found["attacks"]["pgd:eps=0.01,steps=3"]["ASR"]
    assert small <= entry["ASR"]
    goal = found["attacks"]["pgd:eps=0.05,steps=3,target=class:bee"]["extra"]
    assert 0 < goal["goal_reached"] <= 1
    assert found["task"] == "classification"
    assert found["tasks"] == ["classification"]


def test_resume_changes_nothing(folder):
    before = json.loads((folder / "summary.json").read_text())
    attacks = ["fgsm", "pgd:steps=3", "pgd:steps=3,target=class:bee"]
    again = evaluate(linear(), Labelled(), attacks, eps="0.01,0.05", out=folder, keep=2, batch_size=3)
    assert again["attacks"] == before["attacks"]


def test_the_report_leads_with_the_attack_success_rate(folder):
    text = re.sub(r"\s+", " ", rs.report(folder).read_text())
    lead = re.search(r'<p class="lead">(.*?)</p>', text)[1].replace("\u2060", "").replace("\u00a0", " ")
    assert "the classifier is right on 75.0 % of 8 images" in lead
    assert re.search(r"fools it on [\d.]+ % of those", lead)
    assert "attack success rate, worst case" in text
    assert re.search(r"is taken for \w+ instead of \w+", text)
    assert "mIoU" not in text.split('id="definitions"')[0]
    assert "classification segmentation" not in text


def test_pictures_have_the_size_of_the_image(folder):
    from PIL import Image

    index = json.loads((folder / "pictures" / "INDEX.json").read_text())
    first = index["images"][0]
    assert first["class"] in CLASSES
    assert all(a["class"] in CLASSES for a in first["attacks"])
    assert Image.open(folder / "pictures" / first["truth"]).size == (5, 4)


def test_the_table_and_its_columns(folder):
    from robustseg.report import load, table

    head = table.markdown(load.read_summary(folder)).splitlines()[0]
    assert [c.strip() for c in head.split("|")][3:7] == ["ASR", "accuracy", "95 %", "mAcc"]


def test_replay(folder):
    found = replay(folder, "toy1", "pgd:eps=0.05,steps=3", model=linear(), data=Labelled())
    assert found["equal"], found["differences"]
    with pytest.raises(UserError, match="can no longer be made as it was: model"):
        replay(folder, "toy1", "fgsm:eps=0.05", model=linear(seed=1), data=Labelled())


def test_runs_are_compared_by_accuracy(folder, tmp_path):
    from robustseg.report.compare import compare

    evaluate(linear(), Labelled(), ["fgsm"], eps="0.01,0.05", out=tmp_path / "b")
    text = compare([folder, tmp_path / "b"], tmp_path).read_text()
    assert "accuracy, worst case" in text
    assert "accuracy by class" in text


def test_the_predictions_share_the_path_of_the_attack(tmp_path):
    """An attack that returns the images as they are has success rate 0: nothing is lost on the way."""

    @rs.attack
    def nothing(output, target):
        return 0 * output.scores.flatten(1).sum(1)

    found = evaluate(linear(), Labelled(), [rs.attack(nothing, eps="0", steps=1)], out=tmp_path)
    (entry,) = [e for s, e in found["attacks"].items() if not s.startswith("noise")]
    assert entry["failed"] > 0 or entry["ASR"] == 0


def test_count_chooses_images(tmp_path):
    found = evaluate(linear(), Labelled(), ["fgsm"], eps="0.05", out=tmp_path, count="class:bee")
    assert set(found["clean"]["accuracy_per_class"]) == set(CLASSES)
    assert [v is None for v in found["clean"]["accuracy_per_class"].values()] == [True, False, True]
    mask = np.zeros((4, 5), np.uint8)
    from PIL import Image

    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="have one label an image; write class:NAME"):
        evaluate(linear(), Labelled(), ["fgsm"], out=tmp_path / "c", count=str(tmp_path / "mask.png"))


def test_a_region_of_a_file(tmp_path):
    from PIL import Image

    mask = np.zeros((4, 5), np.uint8)
    mask[:2] = 255
    Image.fromarray(mask).save(tmp_path / "top.png")
    found = evaluate(linear(), Labelled(), ["pgd:steps=3"], eps="0.1", out=tmp_path / "r",
                     region=str(tmp_path / "top.png"))  # fmt: skip
    entry = found["attacks"]["pgd:eps=0.1,steps=3"]
    assert entry["violations"] == 0
    assert entry["norms"]["l0"] <= 10
    with pytest.raises(UserError, match=r"region class:bee: .*one label an image; name pixels by a mask"):
        evaluate(linear(), Labelled(), ["pgd"], out=tmp_path / "r2", region="class:bee")


# ------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize("spec", ["hide:class=bee", "static:target=MAP", "pq-price", "rpn-objectness"])
def test_attacks_without_a_sense_are_refused_before_anything_runs(spec, tmp_path):
    from PIL import Image

    Image.new("L", (5, 4)).save(tmp_path / "map.png")
    with pytest.raises(UserError, match=r"changes part of a label map|attacks mask classification|attacks regions"):
        evaluate(linear(), Labelled(), [spec.replace("MAP", str(tmp_path / "map.png"))], out=tmp_path / "x")
    assert not (tmp_path / "x" / "store.sqlite").exists()


def test_classifiers_and_segmenters_are_not_mixed(tmp_path):
    with pytest.raises(UserError, match="linear is a classifier, one label an image, and data toy:val"):
        evaluate(linear((12, 16), ("road", "sky", "person")), Toy(), ["fgsm"], out=tmp_path)
    segmenter = rs.wrap(nn.Conv2d(3, 3, 1), classes=CLASSES)
    with pytest.raises(UserError, match="toys:val have one label an image, and Conv2d labels pixels"):
        evaluate(segmenter, Labelled(), ["fgsm"], out=tmp_path)
    with pytest.raises(UserError, match="gives no semantic segmentation; it gives classification"):
        evaluate(linear(), Labelled(), ["fgsm"], out=tmp_path, task="semantic")
    one_kind(linear().spec, Labelled())


def test_the_doctor_judges_more_than_four_labels():
    data = replace(Labelled(), number=40)
    assert check.diagnose(linear(), data) == []
    upside = linear()
    upside.module.get_buffer("w").mul_(-1)
    (finding,) = check.diagnose(upside, data)
    assert finding.name == "clean-accuracy-low"
    assert "of the images are right" in finding.message


class Coloured(Labelled):
    """Red and blue images."""

    classes = ("red", "blue")

    def __getitem__(self, i):
        image = 0.4 + 0.1 * torch.rand(3, *self.size, generator=torch.Generator().manual_seed(i))
        image[0 if i % 2 else 2] += 0.2
        return Sample(f"toy{i}", image, torch.tensor([[1 - i % 2]]))


class Redder(nn.Module):
    def forward(self, x):
        return 10 * x[:, [0, 2]].mean((2, 3))


def test_the_doctor_names_a_wrong_preparation():
    data = Coloured(number=64, classes=("red", "blue"))
    right, wrong = (
        rs.wrap(Redder(), task="classification", classes=data.classes, channel_order=order) for order in ("rgb", "bgr")
    )
    assert check.diagnose(right, data) == []
    (finding,) = check.diagnose(wrong, data)
    assert finding.level == "error"
    assert "0.0% of the images are right, but with channel_order='rgb'" in finding.message


def test_pictures_from_files(tmp_path):
    from PIL import Image

    from robustseg.evaluation.single import attack_images

    sample = Labelled()[0]
    Image.fromarray((sample.image.permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / "ant.png")
    (one,) = attack_images([tmp_path / "ant.png"], linear(), "pgd:eps=0.2,steps=5", out=tmp_path / "out")
    assert one["changed"] == 1
    assert one["before"] == "ant" != one["after"]
    assert Image.open(tmp_path / "out" / "ant" / "prediction.png").size == (5, 4)


def test_transfer_and_merge(tmp_path):
    from robustseg.evaluation.merge import merge

    for i in (1, 2):
        evaluate(linear(), Labelled(), ["fgsm"], eps="0.05", out=tmp_path / str(i), shard=f"{i}/2", batch_size=2,
                 source=linear())  # fmt: skip
    joined = merge([tmp_path / "1", tmp_path / "2"], out=tmp_path / "all")
    assert joined["images"] == 8
    assert joined["clean"]["accuracy"] == 0.75
    assert any("source=linear" in spec and e["ASR"] > 0 for spec, e in joined["attacks"].items())
