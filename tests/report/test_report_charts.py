"""Charts say what the numbers say."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import robustseg.report
from robustseg.report.charts import class_figure, curve_figures, gradient_figure, size_figure, strongest_eps, styles
from robustseg.report.load import Run, entries, load
from robustseg.report.svg import Point, Series, line_chart, strip_chart
from robustseg.report.traces import curves
from robustseg.report.words import cautions, headline


def row(trace, planned, status="ok"):
    return SimpleNamespace(status=status, trace=trace, budget_b=planned)


def tiny(attacks, clean=0.8, images=200, **more) -> Run:
    return Run(Path("x"), {"clean": {"mIoU": clean, "aAcc": clean}, "attacks": attacks, "images": images, **more})


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(robustseg.report.__path__)])
def test_examples_in_docstrings(module: str):
    found = doctest.testmod(importlib.import_module(f"robustseg.report.{module}"))
    assert found.failed == 0


def test_lines_stand_where_their_values_are():
    series = [
        Series("a", [Point(0, 1.0, note="x"), Point(1, 0.0, 0.0, 0.5, note="y"), Point(2, 0.5, 0.25, 1, note="z")])
    ]
    chart = line_chart(series, ticks=[(0, "0"), (1, "1"), (2, "2")], title="t", x_title="x", y_title="y")
    root = ElementTree.fromstring(str(chart))
    dots = [c for c in root.iter("circle") if c.get("class") != "hit"]
    x, y = [float(c.get("cx")) for c in dots], [float(c.get("cy")) for c in dots]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.1)
    assert y[2] == pytest.approx((y[0] + y[1]) / 2, abs=0.11)
    assert y[0] < y[1]
    assert [t.text for t in root.iter("title")] == ["t", "x", "y", "z"]


def test_charts_escape_names():
    evil = "<script>&\"'"
    chart = strip_chart([(evil, evil)], [Series(evil, [Point(0, 0.5, note=evil)])], title=evil, x_title=evil)
    root = ElementTree.fromstring(str(chart))
    assert not list(root.iter("script"))
    assert root.find("title").text == evil


def test_curves_begin_at_the_clean_score_and_grow_with_the_radius(finished: Path):
    run = load(finished)
    mine = next(s for s in curve_figures(run, "mIoU")[0].series if s.label == "segpgd")
    assert [p.x for p in mine.points] == [0, 4 / 255, 8 / 255]
    wanted = [run.summary["clean"]["mIoU"]] + [
        run.summary["attacks"][f"segpgd:eps={e}/255,steps=20"]["mIoU"] for e in (4, 8)
    ]
    assert [p.y for p in mine.points] == wanted
    worst = next(s for s in curve_figures(run, "mIoU")[0].series if s.kind == "worst")
    assert worst.points[-1].y == run.summary["worst_case"]["mIoU"]


def test_norms_have_charts_of_their_own():
    run = tiny({"pgd:eps=8/255": {"mIoU": 0.2}, "pgd:eps=0.5,norm=l2": {"mIoU": 0.3, "norm": "l2", "eps": "0.5"}})
    assert [f.title for f in curve_figures(run, "mIoU")] == ["mIoU as the L∞ ball grows", "mIoU as the L2 ball grows"]


def test_a_family_keeps_its_style_and_noise_stands_apart():
    made = styles(entries({"attacks": {"noise:eps=1/255": {}, "pgd:eps=1/255": {}, "pgd:eps=2/255": {}, "cw": {}}}))
    assert made["noise"].kind == "noise"
    assert made["pgd"].kind == made["cw"].kind == "attack"
    assert made["pgd"].css != made["cw"].css


def test_largest_radius_of_each_family():
    found = strongest_eps(entries({"attacks": {"a:eps=8/255": {}, "a:eps=16/255": {}, "a:eps=2/255": {}, "b": {}}}))
    assert {k: e.spec.text for k, e in found.items()} == {"a": "a:eps=16/255", "b": "b"}


def test_class_that_loses_most_stands_first():
    attack = {"mIoU": 0.3, "IoU": {"road": 0.7, "car": 0.1, "tree": None}}
    run = Run(
        Path("x"),
        {"clean": {"mIoU": 0.8, "IoU": {"road": 0.8, "car": 0.7, "tree": None}}, "attacks": {"pgd:eps=1": attack}},
    )
    figure = class_figure(run)
    assert figure
    assert [p.note.split(",")[0] for p in figure.series[0].points] == ["car", "road"]
    assert size_figure(run) is None
    assert gradient_figure(run) is None


def test_traces_are_best_so_far_on_a_common_axis():
    found = curves([row([0.0, 0.5, 0.4, 1.0], 3), row([0.0, 0.1, 0.1, 0.1], 3), row(None, 3), row([0, 1], 1, "failed")])
    assert [k for k, *_ in found] == [0, 1, 2, 3]
    assert [m for _, m, *_ in found] == pytest.approx([0, 0.3, 0.3, 0.55])
    assert all(low <= mean <= high for _, mean, low, high in found)


def test_unknown_beginnings_of_traces_are_left_out():
    found = curves([row([None, None, 0.2, 0.4], 30), row([None, None, 0.4, 0.6], 30)])
    assert min(k for k, *_ in found) >= 20
    assert found[-1][0] == 30
    assert found[-1][1] == pytest.approx(0.5)
    assert not any(math.isnan(v) for _, *values in found for v in values)
    assert curves([row([None, None], 5)]) == []
    assert curves([]) == []


def test_headline_gives_the_interval_and_the_noise():
    run = tiny(
        {"noise:eps=8/255": {"mIoU": 0.79}, "pgd:eps=8/255": {"mIoU": 0.2, "ci95": {"mIoU": [0.15, 0.25]}}},
        worst_case={"mIoU": 0.19},
    )
    said = headline(run).replace("\u2060", "").replace("\u00a0", " ")
    for text in (
        "80.0 %",
        "200 images",
        "pgd at ε = 8/255, leaves 20.0 %",
        "15.0–25.0 %",
        "19.0 %",
        "noise of that size leaves 79.0 %",
    ):
        assert text in said


def test_cautions_follow_from_the_data():
    noise = {"mIoU": 0.75, "ci95": {"mIoU": [0.7, 0.78]}}
    attacks = {"noise:eps=4/255": noise, "pgd:eps=4/255": {"mIoU": 0.74}, "apgd:eps=4/255": {"mIoU": 0.3, "failed": 2}}
    attacks["apgd:eps=8/255"] = {"mIoU": 0.4}
    said = "\n".join(cautions(tiny(attacks, images=20)))
    for text in (
        "Only 20 images",
        "2 results failed",
        "pgd:eps=4/255: no worse than random noise",
        "apgd: mIoU rises",
        "upper bound",
    ):
        assert text in said
    calm = "\n".join(cautions(tiny({"noise:eps=4/255": noise, "pgd:eps=4/255": {"mIoU": 0.3}})))
    assert "Only" not in calm
    assert "noise" not in calm
    assert "rises" not in calm


def test_headline_names_the_radius_where_it_differs_and_the_noise_of_the_same_ball_only():
    attacks = {"cw": {"mIoU": 0.1}, "noise:eps=8/255": {"mIoU": 0.79}, "pgd:eps=8/255": {"mIoU": 0.2}}
    said = headline(tiny(attacks, worst_case={"mIoU": 0.2, "eps": "8/255"})).replace("\u00a0", " ")
    assert "cw, leaves 10.0 %" in said
    assert "for each image at ε = 8/255 20.0 %" in said
    assert "noise" not in said


def test_headline_of_attacks_with_a_goal_says_what_they_reached():
    extra = {"goal_reached": 0.7, "background_kept": 0.95, "noise_goal_reached": 0.03, "noise_background_kept": 0.9}
    attacks = {"stealthy:eps=8/255": {"mIoU": 0.79, "extra": extra}, "hide:eps=8/255": {"mIoU": 0.1}}
    attacks["hide:eps=8/255"]["extra"] = {"goal_reached": 0.4, "background_kept": 0.99}
    said = headline(tiny(attacks)).replace("\u00a0", " ")
    assert "stealthy at ε = 8/255 turns 70.0 % of the pixels it aims at into what it wants; 95.0 % of all" in said
    assert "noise of the same length turns 3.0 % and keeps 90.0 %" in said
    assert "leaves 5.0 %" in headline(tiny(attacks | {"pgd:eps=8/255": {"mIoU": 0.05}})).replace("\u00a0", " ")


def test_attack_that_failed_everywhere_draws_no_line():
    run = tiny({"pgd:eps=8/255": {"mIoU": None, "failed": 5}, "fgsm:eps=8/255": {"mIoU": 0.4}})
    assert [s.label for s in curve_figures(run, "mIoU")[0].series] == ["fgsm"]
    assert curve_figures(tiny({"pgd:eps=8/255": {"mIoU": None}}), "mIoU") == []


def test_equal_values_are_set_apart():
    series = [Series(n, [Point(0, 0.5, note=n)], i) for i, n in enumerate("abc")]
    root = ElementTree.fromstring(str(strip_chart([("row", "")], series, title="t", x_title="x")))
    hits = [float(c.get("cy")) for c in root.iter("circle") if c.get("class") == "hit"]
    assert len(set(hits)) == 3


def test_targeted_attacks_are_left_out_of_the_curves_of_wrong_pixels(finished: Path):
    figure = gradient_figure(load(finished))
    assert "hide" not in " ".join(s.label for s in figure.series)
    assert any("pgd" in s.label for s in figure.series)
    assert "goal of their own: hide" in figure.note
