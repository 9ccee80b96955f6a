"""Runs side by side: the warnings, the paired differences, the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_run import edit, fake_store, make_run
from page_reader import Page

from robustseg.errors import UserError
from robustseg.report.compare import compare, warnings
from robustseg.report.load import load
from robustseg.report.paired import difference

SMALL = {"fgsm": 0.25, "noise": 0.02}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("side")
    common = {"kept": 0, "images": 6, "attacks": SMALL, "failures": False}
    make_run(folder / "a", eps=("8/255",), **common)
    make_run(folder / "b", eps=("8/255",), model="hf:other", **(common | {"attacks": {"fgsm": 0.6, "noise": 0.02}}))
    make_run(folder / "seed", eps=("8/255",), seed=3, **common)
    make_run(folder / "eps", eps=("4/255", "8/255"), **common)
    make_run(folder / "few", eps=("8/255",), **(common | {"images": 4}))
    return folder


def test_only_the_model_differs(runs: Path):
    assert warnings([load(runs / "a"), load(runs / "b")]) == []
    text = compare([runs / "a", runs / "b"]).read_text()
    assert "Only the model differs" in text
    assert (runs / "compare.html").exists()


@pytest.mark.parametrize(
    ("other", "words"),
    [("seed", "Different seed."), ("eps", "Different set of ε"), ("few", "Different number of images")],
)
def test_what_differs_is_said(runs: Path, other: str, words: str):
    said = warnings([load(runs / "a"), load(runs / other)])
    assert any(w.startswith(words) for w in said)
    assert all("\n" not in w for w in said)


@pytest.mark.parametrize(
    ("field", "words"),
    [("data", "data (digest"), ("resize", "resize"), ("dtype", "dtype"), ("count", "pixels that count")],
)
def test_conditions_of_the_key_are_compared(runs: Path, field: str, words: str):
    a, b = load(runs / "a"), load(runs / "b")
    b.configs[b.keys[""]][field] = "something else"
    assert any(words in w and "something else" in w for w in warnings([a, b]))


@pytest.mark.parametrize(
    ("field", "words"),
    [("reference", "reference"), ("eight_bit", "8-bit"), ("version", "code version"), ("early_stop", "early stop")],
)
def test_conditions_of_attacks_stand_in_one_line(runs: Path, field: str, words: str):
    a, b = load(runs / "a"), load(runs / "b")
    for spec, key in b.keys.items():
        if spec:
            b.configs[key][field] = "other"
    said = [w for w in warnings([a, b]) if words in w]
    assert said
    assert all("other" in w for w in said)
    if field != "reference":
        assert len(said) == 1
        assert "every attack" in said[0]


def test_planned_gradients_versions_and_images_are_compared(runs: Path):
    from dataclasses import replace

    a, b = load(runs / "a"), load(runs / "b")
    more = {s: [replace(r, budget_b=r.budget_b + 5) if s else r for r in rows] for s, rows in b.rows.items()}
    said = warnings([a, replace(b, rows=more, config={"versions": {"torch": "9.9"}})])
    assert any("planned gradients" in w for w in said)
    assert any("9.9" in w for w in said)
    moved = {s: [replace(r, content="other") if r.position == 0 else r for r in rows] for s, rows in b.rows.items()}
    assert any("Different images. 5 of 6" in w for w in warnings([a, replace(b, rows=moved)]))


def test_paired_difference_is_that_of_the_scores(runs: Path):
    a, b = load(runs / "a"), load(runs / "b")
    spec = "fgsm:eps=8/255"
    gap = difference(a, b, spec)
    assert gap
    assert gap.images == 6
    assert gap.value == pytest.approx(
        b.summary["attacks"][spec]["mIoU"] - a.summary["attacks"][spec]["mIoU"], abs=1e-12
    )
    assert gap.low <= gap.value <= gap.high
    assert gap.clear
    assert gap.high < 0
    same = difference(a, a, spec)
    assert same
    assert (same.value, same.low, same.high, same.clear) == (0, 0, 0, False)


def test_paired_interval_is_narrower_than_that_of_independent_runs(runs: Path):
    a, b = load(runs / "a"), load(runs / "b")
    gap = difference(a, b, "")  # the same images and nearly the same predictions
    assert gap is not None
    one = np.ptp(a.summary["clean"]["ci95"]["mIoU"])
    assert gap.high - gap.low <= one


def test_fewer_than_five_images_have_no_interval(runs: Path):
    few = load(runs / "few")
    gap = difference(few, few, "")
    assert gap
    assert (gap.value, gap.low, gap.high, gap.clear, gap.images) == (0, None, None, False, 4)
    assert "+0.0</span>" in compare([runs / "few", runs / "few"], runs / "few.html").read_text()


def test_one_perturbation_for_several_models_is_said(runs: Path):
    from dataclasses import replace

    from robustseg.report.page import html

    a, b = ("zoo:street-unet", "hf:other")
    alone = load(runs / "a")
    pair = replace(alone, info={**alone.info, "models": [a, b]})
    said = "made on these models together"
    assert (alone.together, pair.together) == ((), (a, b))
    assert said not in compare([runs / "a", runs / "b"]).read_text()
    assert "made on zoo:street-unet and hf:other together" in html(pair)
    assert "together" not in html(alone).partition("<main>")[0]


def test_page_holds_both_runs_and_nothing_from_outside(runs: Path, tmp_path: Path):
    edit(runs / "seed" / "summary.json", lambda s: s.update(model="<script>alert(1)</script>"))
    path = compare([runs / "a", runs / "seed", runs / "b"], tmp_path)
    found = Page(path.read_text())
    assert path == tmp_path / "compare.html"
    assert found.tags["script"] == 1  # the slider's own, allowed by its hash; the model's name stays text
    assert "<script>alert" not in path.read_text()
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    for i, name in enumerate(("a", "seed", "b")):
        summary = json.loads((runs / name / "summary.json").read_text())
        assert float(found.cells["fgsm:eps=8/255", f"mIoU#{i}"][0]) == summary["attacks"]["fgsm:eps=8/255"]["mIoU"]


def test_one_run_is_not_a_comparison(runs: Path):
    with pytest.raises(UserError, match="two or more"):
        compare([runs / "a"])


def test_fake_store_is_the_evaluation_s_own():
    assert fake_store().CLASSES[0] == "road"
