"""A run with attacks that have no ball: what its rows, summary, table and page say."""

from __future__ import annotations

import math

import pytest
from toy import Toy, model

from robustseg.catalog import attack
from robustseg.errors import UserError
from robustseg.evaluation.distances import apsr, distances
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read
from robustseg.report.distances import lines
from robustseg.report.page import report
from robustseg.report.table import markdown

SPEC = "cw-l2:descents=5,steps=30,c=1,rate=0.05"
LINF = "cw-linf:descents=7,steps=10,apsr=0.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def go(out, attacks, **options):
    return evaluate(model(), Toy(4), attacks, out=out, **{"batch_size": 2, **options})


@pytest.fixture(scope="module")
def summary(folder):
    return go(folder, [SPEC, LINF, "pgd:steps=2"], eps="8/255")


def test_the_norm_is_the_result(summary, folder):
    """Recomputed from the rows: who was fooled, by the referee's count, and how far away that was."""
    spec = attack(SPEC).spec
    entry = summary["attacks"][spec]
    rows = read(folder).rows[entry["key"]].values()
    assert {r.status for r in rows} == {"ok"}
    for row in rows:
        assert row.stats["asked"] == row.stats["valid"] == 12 * 16 - 1
        assert row.stats["met"] == row.stats["valid"] - row.stats["right"]
    fooled = [r for r in rows if r.stats["met"] / r.stats["asked"] >= 0.99]
    assert fooled
    found = entry["distance"]
    assert found["fooled"] == len(fooled) / 4
    assert found["mean"]["l2"] == pytest.approx(sum(r.norms["l2"] for r in fooled) / len(fooled))
    assert (entry["eps"], entry["norm"]) == (None, "l2")
    assert found["curve"][-1] == [max(r.norms["l2"] for r in fooled), found["fooled"]]


def test_it_stays_out_of_the_worst_case_and_needs_no_noise(summary):
    assert list(summary["worst_case_by_eps"]) == ["8/255"]
    assert [s for s in summary["worst_case"]["attacks"] if s.startswith("cw")] == []
    assert [s for s in summary["attacks"] if s.startswith("noise")] == ["noise:eps=8/255"]
    assert all(e["distance"] is None for s, e in summary["attacks"].items() if not s.startswith("cw"))


def test_eps_is_not_applied_and_that_is_said(summary):
    said = [c for c in summary["cautions"] if "--eps is not applied" in c]
    assert len(said) == 1
    assert attack(SPEC).spec in said[0]
    with pytest.raises(UserError, match="takes no eps; leave it out"):
        attack("cw-l2:eps=8/255")


def test_a_ball_around_what_has_none_is_said(tmp_path):
    spec = "dag:steps=2,step_size=2/255"
    tied = go(tmp_path / "tied", [spec, "pgd:steps=2"], eps="8/255", limit=1)["cautions"]
    assert [c for c in tied if "puts a ball around dag:eps=8/255," in c and "pgd" not in c]
    free = go(tmp_path / "free", [spec, spec + ",eps=4/255"], limit=1)["cautions"]
    assert not [c for c in free if "puts a ball" in c]


def test_a_run_without_any_ball_has_no_worst_case(tmp_path):
    summary = go(tmp_path, [LINF], limit=2)
    assert summary["worst_case"] is None
    assert list(summary["attacks"]) == [attack(LINF).spec]
    assert not [c for c in summary["cautions"] if "--eps" in c]
    text = report(tmp_path).read_text()
    assert "How far it is" in text
    assert "at a median norm of L∞" in text


def test_table_and_page_show_the_norms(summary, folder):
    median = summary["attacks"][attack(SPEC).spec]["distance"]["median"]["l2"]
    assert f"| L2 {median:.3g} |" in markdown(summary)
    (line,) = [line for line in lines(summary) if line.startswith("cw-l2")]
    assert f"99 % of their pixels fooled; median L2 {median:.3g}" in line
    text = report(folder).read_text()
    assert "Images fooled as the L2 norm grows" in text
    assert f'data-name="distance.median.l2" data-value="{median}"' in text


def test_a_replay_is_equal(folder, summary):
    found = replay(folder, "im01", "cw-l2", model=model(), data=Toy(4))
    assert found["equal"], found["differences"]


def test_against_the_prediction_what_was_wrong_before_counts_too(tmp_path):
    """Reference ``pred``: a pixel is fooled where its prediction changed, whatever the truth says."""
    summary = go(tmp_path, [f"{LINF},reference=pred"], limit=2)
    (entry,) = summary["attacks"].values()
    for row in read(tmp_path).rows[entry["key"]].values():
        assert row.stats["asked"] == 12 * 16 - 1
        assert row.stats["met"] >= row.stats["flipped"]
        assert row.stats["met"] / row.stats["asked"] >= 0.5


def test_failures_are_infinitely_far():
    near, far, lost = ((99, 1.0), (100, 5.0), (98, 0.1))

    def stats(*found):
        return distances([({"asked": 100, "met": met}, {"l2": x, "linf": x, "l0": 3}) for met, x in found], "l2", 0.99)

    assert stats(near, far)["median"]["l2"] == 3
    assert stats(near, far)["median_of_all"] == 5
    assert stats(near, lost)["fooled"] == 0.5
    assert stats(near, lost)["median"]["l2"] == 1
    assert stats(near, lost)["median_of_all"] is None
    assert stats(near, near, lost)["median_of_all"] == 1
    assert stats(lost)["median"]["l2"] is None
    assert stats(lost)["curve"] == []
    assert stats()["fooled"] is None
    curve = stats(*[(100, float(k)) for k in range(1, 201)], *[lost] * 200)["curve"]
    assert len(curve) == 64
    assert curve[0] == [1.0, 1 / 400]
    assert curve[-1] == [200.0, 0.5]


def test_images_that_are_wrong_as_they_are_do_not_shorten_what_the_others_need():
    rows = [({"asked": 1, "met": 1}, {"l2": x, "linf": x / 10, "l0": n}) for x, n in ((0.0, 0), (0.0, 0), (3.0, 7))]
    found = distances(rows, "l2", 0.99)
    assert found["median"]["l2"] == 0
    assert found["untouched"] == 2
    assert found["median_touched"] == {"l2": 3.0, "linf": 0.3, "l0": 7.0}
    nobody = distances(rows[:2], "l2", 0.99)
    assert nobody["untouched"] == 2
    assert nobody["median_touched"]["l2"] is None


def test_only_attacks_without_a_ball_have_a_threshold():
    assert apsr({"eps": None, "options": {"apsr": "9/10"}}) == 0.9
    assert apsr({"eps": "8/255", "options": {"apsr": "0.9"}}) is None
    assert apsr({"eps": None, "options": None}) is None
    assert math.isclose(apsr({"eps": None, "options": {"apsr": "0.99"}}), 0.99)
