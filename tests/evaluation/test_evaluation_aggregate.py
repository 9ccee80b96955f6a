"""From rows to the summary, with numbers that can be checked by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_store import make_store

from robustseg.errors import UserError
from robustseg.evaluation.aggregate import load_summary, scores, summary
from robustseg.evaluation.key import attack_config, clean_config
from robustseg.evaluation.store import Contents, Row, Run, Store, read
from robustseg.evaluation.tally import stack
from robustseg.tasks.scoring import score

CLEAN = clean_config(model="m", data="d", task="semantic")


def stats(inter, pred, target, clean_right, **more):
    valid, right = sum(target), sum(inter)
    return {"inter": inter, "pred": pred, "target": target, "valid": valid, "right": right,
            "clean_right": clean_right, "flipped": max(0, clean_right - right), **more}  # fmt: skip


# Two images of 4 pixels, classes a and b. Clean: all right. p gets half of image 1 wrong, q the whole of image 2.
CLEANS = [stats([2, 2], [2, 2], [2, 2], 4), stats([4, 0], [4, 0], [4, 0], 4)]
P = [stats([2, 0], [4, 0], [2, 2], 4), CLEANS[1]]
Q = [CLEANS[0], stats([0, 0], [0, 4], [4, 0], 4)]


@pytest.fixture
def contents() -> Contents:
    return made({"p:eps=8/255": P, "q:eps=8/255": Q})


def made(attacks, eps="8/255", norm="linf", ensembles=None) -> Contents:
    rows = {"clean": {i: Row("clean", i, n, stats=s) for n, (i, s) in enumerate(zip("xy", CLEANS))}}
    keys = {"clean": CLEAN}
    for spec, each in attacks.items():
        keys[spec] = attack_config(CLEAN, spec=spec, version=1, eps=eps, norm=norm, reference="gt", seed=0)
        rows[spec] = {
            i: s if isinstance(s, Row) else Row(spec, i, n, stats=s, budget_f=3, budget_b=2, forwards=3, backwards=2,
                                                seconds=0.5)
            for n, (i, s) in enumerate(zip("xy", each)) if s is not None
        }  # fmt: skip
    info = {"model": "m", "data": "d", "task": "semantic", "classes": ["a", "b"], "seed": 0}
    run = Run("clean", {s: s for s in attacks}, ["x", "y"], ensembles or {}, info)
    return Contents(keys, rows, [run], {})


def test_the_clean_scores_by_hand(contents):
    clean = summary(contents)["clean"]
    assert (clean["aAcc"], clean["mIoU"], clean["NmIoU"]) == (1, 1, 1)
    assert clean["IoU"] == {"a": 1, "b": 1}


def test_an_attack_by_hand(contents):
    p = summary(contents)["attacks"]["p:eps=8/255"]
    assert p["aAcc"] == 6 / 8
    assert p["IoU"] == {"a": 6 / 8, "b": 0.0}
    assert p["mIoU"] == 3 / 8
    assert p["mAcc"] == (1 + 0) / 2
    assert p["NmIoU"] == ((2 / 4 + 0) / 2 + 1) / 2
    assert p["ASR"] == 2 / 8
    assert p["APSR"] == (2 / 4 + 0) / 2
    assert p["relative_drop"] == 1 - 3 / 8
    assert p["drop"] == {"a": 1 - 6 / 8, "b": 1.0}
    assert p["budget"] == {"forwards": 3, "backwards": 2}
    assert (p["forwards"], p["backwards"], p["seconds_per_image"]) == (3, 2, 0.5)
    assert (p["failed"], p["violations"], p["not_applicable"], p["images"]) == (0, 0, 0, 2)


def test_the_worst_case_by_hand(contents):
    worst = summary(contents)["worst_case"]
    assert worst["aAcc"] == (2 + 0) / 8
    assert worst["mIoU"] == (2 / 8 + 0 / 6) / 2  # a: 2 of 6 + 2 pixels, b: 0 of 2 + 4
    assert worst["eps"] == "8/255"


def test_an_ensemble_is_composed_of_its_members_and_costs_their_sum():
    s = summary(
        made({"p:eps=8/255": P, "q:eps=8/255": Q}, ensembles={"both:eps=8/255": ["p:eps=8/255", "q:eps=8/255"]})
    )
    both = s["attacks"]["both:eps=8/255"]
    assert (both["aAcc"], both["mIoU"]) == (s["worst_case"]["aAcc"], s["worst_case"]["mIoU"])
    assert (both["forwards"], both["backwards"], both["seconds_per_image"]) == (6, 4, 1.0)
    assert both["members"] == ["p:eps=8/255", "q:eps=8/255"]
    assert both["ASR"] == (2 + 4) / 8


def test_a_failed_row_has_no_part_in_any_score_and_a_not_applicable_one_keeps_its_clean_statistics():
    failed = Row("p", "y", 1, status="failed", error="boom")
    s = summary(made({"p:eps=8/255": [P[0], failed]}))
    p = s["attacks"]["p:eps=8/255"]
    assert (p["aAcc"], p["images"], p["failed"], s["failed"]) == (2 / 4, 1, 1, 1)
    assert p["errors"] == ["boom"]
    assert p["relative_drop"] == 1 - (2 / 4 + 0) / 2  # against the same image, not against both
    idle = Row("p", "y", 1, status="not-applicable")
    p = summary(made({"p:eps=8/255": [P[0], idle]}))["attacks"]["p:eps=8/255"]
    assert (p["aAcc"], p["images"], p["not_applicable"], p["ASR"]) == (6 / 8, 2, 1, 2 / 8)


def test_the_worst_case_takes_the_images_that_all_attacks_have():
    violation = Row("q", "x", 0, status="violation", error="outside")
    s = summary(made({"p:eps=8/255": P, "q:eps=8/255": [violation, Q[1]]}))
    assert s["worst_case"]["images"] == 1
    assert s["worst_case"]["aAcc"] == 0
    assert s["violations"] == 1
    gone = [Row("q", i, n, status="failed", error="boom") for n, i in enumerate("xy")]
    s = summary(made({"p:eps=8/255": P, "q:eps=8/255": gone}))
    assert s["worst_case"]["images"] == 2  # an attack without a single score cannot hide the others
    assert s["attacks"]["q:eps=8/255"]["aAcc"] is None


def test_every_eps_has_its_worst_case_never_above_a_single_attack(tmp_path):
    make_store(tmp_path, failures=False)
    s = load_summary(tmp_path)
    assert list(s["worst_case_by_eps"]) == ["2/255", "4/255", "8/255"]
    assert s["worst_case"] == s["worst_case_by_eps"]["8/255"]
    for eps, worst in s["worst_case_by_eps"].items():
        singles = [a for a in s["attacks"].values() if a["eps"] == eps]
        assert len(singles) == 7
        for name in ("aAcc", "mIoU"):
            assert worst[name] <= min(a[name] for a in singles) + 1e-12
            assert worst["ci95"][name][0] <= worst[name] <= worst["ci95"][name][1]


def test_norms_do_not_mix_and_the_linf_ball_is_the_headline():
    contents = made({"p:eps=8/255": P})
    other = made({"q:eps=99/255,norm=l2": Q}, eps="99/255", norm="l2")
    run = replace(contents.runs[0], attacks={**contents.runs[0].attacks, **other.runs[0].attacks})
    both = Contents({**contents.keys, **other.keys}, {**contents.rows, **other.rows}, [run], {})
    s = summary(both)
    assert list(s["worst_case_by_eps"]) == ["l2 99/255", "8/255"]
    assert s["worst_case"]["eps"] == "8/255"
    assert s["worst_case"]["aAcc"] == 6 / 8


def test_noise_is_the_measure_within_its_own_region_only():
    regions = {
        "noise:eps=8/255": P,
        "pgd:eps=8/255": Q,
        "noise:eps=8/255,region=skin": P,
        "pgd:eps=8/255,region=skin": P,
    }
    contents = made(regions)
    for spec in list(regions)[2:]:
        contents.keys[spec]["region"] = "skin"
    (caution,) = summary(contents)["cautions"]
    assert caution.startswith("pgd:eps=8/255,region=skin: no worse than random noise")
    assert summary(made({"noise:eps=8/255": P, "pgd:eps=8/255": Q}))["cautions"] == []


def test_few_images_have_no_interval(tmp_path):
    few, enough = (load_summary(make_store(tmp_path / str(n), images=n, failures=False)) for n in (4, 5))
    for part in (few["clean"], *few["attacks"].values(), few["worst_case"]):
        assert set(part["ci95"].values()) == {None}
    for part in (enough["clean"], *enough["attacks"].values(), enough["worst_case"]):
        assert None not in part["ci95"].values()


def test_goal_scores_stand_under_extra(tmp_path):
    make_store(tmp_path, eps=("8/255",))
    s = load_summary(tmp_path)
    extra = s["attacks"]["hide:eps=8/255,target=person"]["extra"]
    assert set(extra) == {"goal_reached", "hidden", "background_kept", "off_target_damage"}
    assert all(0 <= v <= 1 for v in extra.values())
    assert s["attacks"]["pgd:eps=8/255,steps=20"]["extra"] == {}


def test_the_summary_is_json_with_null_for_what_does_not_exist(tmp_path):
    make_store(tmp_path)
    text = (tmp_path / "summary.json").read_text()
    json.loads(text, parse_constant=pytest.fail)  # no NaN
    assert json.loads(text)["clean"]["recall"]["large"] is None


def test_curves_follow_an_attack_over_eps(tmp_path):
    make_store(tmp_path)
    curve = load_summary(tmp_path)["curves"]["pgd:steps=20"]
    assert [p["eps"] for p in curve] == ["2/255", "4/255", "8/255"]
    assert curve[0]["mIoU"] > curve[-1]["mIoU"]


def test_our_scores_are_those_of_the_task(tmp_path):
    make_store(tmp_path)
    contents = read(tmp_path)
    run = contents.runs[-1]
    rows = [r.stats for r in contents.rows[run.clean].values()]
    ours, theirs = scores(stack(rows, 5), run.info["classes"]), score(rows, run.info["classes"])
    for name in ("aAcc", "mAcc", "mIoU", "NmIoU"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12)
    assert ours["IoU"] == pytest.approx(theirs["IoU"])
    for size, value in ours["recall"].items():
        there = theirs["recall"][size]["recall"]
        assert np.isnan(value) if there is None else value == pytest.approx(there)


def test_there_is_one_set_of_formulas():
    from robustseg.evaluation import tally
    from robustseg.tasks import scoring

    assert all(getattr(tally, n) is getattr(scoring, n) for n in ("mean_iou", "nan_mean", "ratio", "found_by_size"))


def test_only_the_images_of_the_request_count(contents):
    run = replace(contents.runs[0], images=["x"])
    assert summary(contents, run)["attacks"]["p:eps=8/255"]["aAcc"] == 2 / 4


def test_an_empty_store_is_one_line(tmp_path):
    with Store(tmp_path):
        pass
    with pytest.raises(UserError, match="no run yet"):
        load_summary(tmp_path)
