"""Several models, one perturbation: made once, a row for every member, resumed, replayed and reported as ever."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from toy import Bad, Level, Push, Toy, rows_without_time

import robustseg as rs
from robustseg.cli import app
from robustseg.errors import UserError
from robustseg.evaluation import members
from robustseg.evaluation.plan import describe
from robustseg.evaluation.replay import replay
from robustseg.evaluation.store import Store, read

CLASSES = ("road", "sky", "person")
TURNED = ("person", "road", "sky")


class Red(Level):
    """Looks at red alone, with the classes of ``TURNED``; counts the images it sees with a gradient."""

    asked = 0

    def forward(self, x):
        Red.asked += len(x) * x.requires_grad
        return super().forward(x[:, :1].expand(-1, 3, -1, -1)).roll(1, 1)


class Looks(nn.Module):
    """A transformer by its parts, which will not say what it attends to."""

    def __init__(self):
        super().__init__()
        self.qkv, self.inner = nn.Linear(1, 3), Level()

    def forward(self, x):
        return self.inner(x)


def pair(sharp: float = 40.0):
    return [rs.wrap(Level(sharp), classes=CLASSES, name="grey"), rs.wrap(Red(), classes=TURNED, name="red")]


def run(out, models=None, attacks=("pgd:steps=3", "saga:steps=3"), data=None, **options):
    return rs.evaluate(models or pair(), data or Toy(4), list(attacks), out=out,
                       **{"device": "cpu", "eps": "20/255", "batch_size": 2, **options})  # fmt: skip


def folders(out):
    return sorted((out / "members").iterdir())


def test_every_member_has_its_rows_and_its_summary(tmp_path):
    found = run(tmp_path)
    assert [m["model"] for m in found["models"]] == ["grey", "red"]
    assert [m["classes"] for m in found["models"]] == [list(CLASSES), list(TURNED)]
    assert json.loads((tmp_path / "summary.json").read_text()) == found
    for part, folder in zip(found["models"], folders(tmp_path), strict=True):
        assert part["folder"] == f"members/{folder.name}"
        assert json.loads((folder / "summary.json").read_text()) == {k: v for k, v in part.items() if k != "folder"}
        assert part["clean"]["mIoU"] > 0.5
        for spec in ("pgd:eps=20/255,steps=3", "saga:eps=20/255,steps=3"):
            entry = part["attacks"][spec]
            assert entry["mIoU"] < part["attacks"]["noise:eps=20/255"]["mIoU"]
            assert (entry["budget"], entry["backwards"]) == ({"forwards": 8.0, "backwards": 6.0}, 6.0)
            assert entry["seconds_per_image"] > 0
            mean = sum(p["attacks"][spec]["aAcc"] for p in found["models"]) / 2
            assert found["mean_over_models"][spec]["aAcc"] == pytest.approx(mean)
    assert found["models"][0]["attacks"][spec]["norms"] == found["models"][1]["attacks"][spec]["norms"]


def test_it_is_the_attack_on_both_and_no_other(tmp_path):
    """The stored statistics are those of ``attack([A, B], …)``, read by each model in its own class order."""
    run(tmp_path, attacks=["pgd:steps=3"], batch_size=1, limit=1)
    models, sample = pair(), Toy(4)[0]
    images, labels = sample.image[None], sample.labels[None]
    key = read(folders(tmp_path)[0]).rows
    (item,) = {r.content for rows in key.values() for r in rows.values()}
    made = rs.attack("pgd:steps=3", eps="20/255")(models, images, labels, ids=[item]).images
    for m, folder in zip(models, folders(tmp_path), strict=True):
        names = [CLASSES.index(c) for c in m.spec.classes]
        predicted = torch.tensor(names)[m(made).scores.argmax(1)]
        right = int((predicted == labels)[labels != 255].sum())
        contents = read(folder)
        (row,) = contents.rows[contents.runs[-1].attacks["pgd:eps=20/255,steps=3"]].values()
        assert row.stats["right"] == right


def test_an_attack_is_made_once_for_all_members(tmp_path):
    Red.asked = 0
    run(tmp_path, attacks=["pgd:steps=3"], early_stop=False)
    assert Red.asked == 4 * 3  # images times steps: the second member asks for what is there


def test_the_same_command_again_does_nothing_and_a_lost_member_is_made_again(tmp_path):
    first = run(tmp_path)
    before = [rows_without_time(f) for f in folders(tmp_path)]
    Red.asked = 0
    assert run(tmp_path)["models"][1]["clean"] == first["models"][1]["clean"]
    assert Red.asked == 0
    with Store(folders(tmp_path)[0]) as store:  # killed between the commits of the two members
        store.base.execute("DELETE FROM rows WHERE image = 'im03'")
    run(tmp_path)
    assert [rows_without_time(f) for f in folders(tmp_path)] == before


def test_another_partner_is_another_key(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b", [pair()[0], rs.wrap(Red(50.0), classes=TURNED, name="red")])
    rs.evaluate(pair()[0], Toy(4), ["pgd:steps=3"], out=tmp_path / "c", eps="20/255", device="cpu")
    runs = [read(folders(tmp_path / n)[0]).runs[-1] for n in "ab"] + [read(tmp_path / "c").runs[-1]]
    spec = "pgd:eps=20/255,steps=3"
    assert len({r.attacks[spec] for r in runs}) == 3
    assert len({r.clean for r in runs}) == 1
    assert len({r.attacks["noise:eps=20/255"] for r in runs}) == 1  # noise looks at no model


def test_a_row_of_each_member_is_replayed(tmp_path):
    run(tmp_path, eight_bit=True)
    for folder in folders(tmp_path):
        found = replay(folder, "im02", "saga", model=pair(), data=Toy(4))
        assert found["equal"], found["differences"]
    with pytest.raises(UserError, match="2 models at once"):
        replay(folders(tmp_path)[0], "im02", "saga", model=pair()[0], data=Toy(4))
    with pytest.raises(UserError, match="code changed"):
        replay(folders(tmp_path)[0], "im02", "saga", model=[pair()[0], rs.wrap(Level(9.0), classes=CLASSES)],
               data=Toy(4))  # fmt: skip


def test_goals_are_each_members_own(tmp_path):
    found = run(tmp_path, attacks=["pgd:target=class:sky,steps=10"], eps="90/255")
    for part in found["models"]:
        (entry,) = [e for s, e in part["attacks"].items() if s.startswith("pgd")]
        assert entry["extra"]["goal_reached"] > 0.8


def test_ensembles_of_attacks_are_composed_for_each(tmp_path):
    found = run(tmp_path, attacks=["strong:steps=3"], limit=2)
    for part in found["models"]:
        (whole,) = [e for e in part["attacks"].values() if e.get("members")]
        assert whole["backwards"] == 4 * 3 * 2


def test_a_failure_is_a_row_of_every_member(tmp_path):
    broken = rs.wrap(Bad("raise"), classes=CLASSES, name="bad")
    found = run(tmp_path, [pair()[0], broken], attacks=["pgd:steps=2"], limit=2)
    assert [m["attacks"]["pgd:eps=20/255,steps=2"]["failed"] for m in found["models"]] == [2, 2]
    assert found["failed"] == 4


def test_less_memory_makes_smaller_batches_of_all(tmp_path):
    tight = rs.wrap(Bad("memory", largest=1), classes=CLASSES, name="tight")
    found = run(tmp_path, [pair()[0], tight], attacks=["pgd:steps=2"], batch_size="auto")
    assert found["failed"] == 0
    for folder in folders(tmp_path):
        rows = [r for by in read(folder).rows.values() for r in by.values()]
        assert {r.batch for r in rows} == {"0", "1", "2", "3"}


def test_pages_of_each_and_one_of_all(tmp_path):
    run(tmp_path, keep=1)
    page = rs.report(tmp_path)
    assert page == tmp_path / "report.html"
    text = page.read_text()
    assert "grey" in text
    assert "red" in text
    for folder in folders(tmp_path):
        own = (folder / "report.html").read_text()
        assert "made on 2 models at once (grey, red)" in own
        assert "--model grey --model red" in own


def test_what_is_about_one_model_says_where_they_are(tmp_path):
    from robustseg.report import load

    run(tmp_path, limit=1)
    for go in (read, load.read_summary):
        with pytest.raises(UserError, match=r"several models; give the folder of one: .*1-grey"):
            go(tmp_path)


def test_one_folder_holds_one_kind_of_run(tmp_path):
    run(tmp_path / "several", limit=1)
    with pytest.raises(UserError, match="run on several models and this one is on one"):
        run(tmp_path / "several", pair()[0])
    run(tmp_path / "one", pair()[:1], limit=1)  # a list of one is one
    assert (tmp_path / "one" / "store.sqlite").is_file()
    with pytest.raises(UserError, match="run on one model and this one is on several"):
        run(tmp_path / "one")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": []}, "no model"),
        ({"attacks": ["saga:weights=1/1/1"]}, "3 for 2 models"),
        ({"attacks": ["sea"]}, "must be fitted"),
        ({"attacks": [Push(eps="8/255")], "eps": None}, "one model only"),
        ({"source": "zoo:street-unet"}, "--source"),
        ({"data": Toy(2, classes=("road", "sky", "tram"))}, "tram"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        rs.evaluate(**{"model": options.pop("models", pair()), "data": Toy(2), "attacks": ["pgd:steps=1"],
                       "eps": "8/255", **options}, out=tmp_path / "run")  # fmt: skip
    assert not (tmp_path / "run" / "members").exists()


def test_saga_without_any_rollout_says_so(tmp_path):
    found = run(tmp_path / "a", attacks=["saga:steps=1"], limit=1)
    assert any("no model has self-attention" in c for c in found["cautions"])
    with pytest.raises(UserError, match="rollout=none"):
        run(tmp_path / "b", [pair()[0], rs.wrap(Looks(), classes=CLASSES)], attacks=["saga:steps=1"], limit=1)
    free = run(tmp_path / "c", [pair()[0], rs.wrap(Looks(), classes=CLASSES)], attacks=["saga:steps=1,rollout=none"],
               limit=1)  # fmt: skip
    assert not any("self-attention" in c for c in free["cautions"])


def test_a_dry_run_counts_all_members_and_writes_nothing(tmp_path):
    plan = run(tmp_path / "run", dry_run=True)
    assert plan["attacks"]["pgd:eps=20/255,steps=3"]["backwards"] == 6
    assert "gradients" in describe(plan)
    assert not (tmp_path / "run").exists()


def test_shards_of_each_member_join(tmp_path):
    from robustseg.evaluation.merge import merge

    run(tmp_path / "whole")
    for part in ("1/2", "2/2"):
        run(tmp_path / part[0], shard=part)
    for n in range(2):
        merge([folders(tmp_path / p)[n] for p in "12"], out=tmp_path / f"joined{n}")
        assert rows_without_time(tmp_path / f"joined{n}") == rows_without_time(folders(tmp_path / "whole")[n])


def test_folders_are_named_after_the_models():
    refs = ["zoo:street-unet", "zoo:street-unet", "hf:" + "x" * 200]
    found = members.folders(__import__("pathlib").Path("a"), refs)
    assert len(set(found)) == 3
    assert all(len(f.name) <= 80 for f in found)


def test_the_command_takes_several_models(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    seen = {}

    def go(model, data, attacks, **options):
        seen["model"] = model
        return {"failed": 0, "violations": 0}

    monkeypatch.setattr("robustseg.evaluation.run.evaluate", go)
    words = ["evaluate", "--data", "street:val", "--attack", "pgd", "--out", str(tmp_path), "--json"]
    assert CliRunner().invoke(app, [*words, "--model", "a", "--model", "b"]).exit_code == 0
    assert seen["model"] == ["a", "b"]
    assert CliRunner().invoke(app, [*words, "--model", "a"]).exit_code == 0
    assert seen["model"] == "a"
