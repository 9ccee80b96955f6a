"""The page: its numbers, its safety, and that it needs neither torch nor a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import edit
from page_reader import Page

from robustseg.errors import UserError
from robustseg.report.page import report
from robustseg.report.text import percent

EVIL = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>"


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return report(finished).read_text(encoding="utf-8")


def test_every_score_of_the_summary_stands_in_the_page(finished: Path, page: str):
    summary, cells = json.loads((finished / "summary.json").read_text()), Page(page).cells
    for spec, attack in summary["attacks"].items():
        for name in ("aAcc", "mIoU", "NmIoU", "ASR", "mAcc", "relative_drop", "seconds_per_image"):
            exact, shown = cells[spec, name]
            assert float(exact) == attack[name], (spec, name)
            if name != "seconds_per_image":
                assert shown == percent(attack[name]), (spec, name)
        for name, value in attack["extra"].items():
            assert float(cells[spec, f"extra.{name}"][0]) == value
    for name in ("aAcc", "mIoU"):
        assert float(cells["clean", name][0]) == summary["clean"][name]
        assert float(cells["worst_case", name][0]) == summary["worst_case"][name]
        for ball, worst in summary["worst_case_by_eps"].items():
            assert float(cells[f"worst_case_by_eps:{ball}", name][0]) == worst[name]


def test_per_class_numbers_are_those_of_the_largest_radius(finished: Path, page: str):
    summary, cells = json.loads((finished / "summary.json").read_text()), Page(page).cells
    spec = "segpgd:eps=8/255,steps=20"
    for name, value in summary["attacks"][spec]["IoU"].items():
        assert cells[spec, f"IoU.{name}"] == (str(value), percent(value))
    assert ("segpgd:eps=4/255,steps=20", "IoU.road") not in cells


def test_page_says_what_failed_what_was_not_applicable_and_how_to_run_it_again(page: str):
    for text in ("out of memory at batch size 1", "outside the linf ball", "1 failed, 1 violation", "robustseg replay"):
        assert text in page
    assert "robustseg evaluate --model zoo:street-unet" in page
    assert "2.14.0" in page


def test_page_names_no_address_outside_itself(page: str):
    found = Page(page)
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    assert found.handlers == []
    assert found.tags["script"] == 1
    assert "default-src 'none'" in page


def test_policy_lets_only_the_page_s_own_script_run(page: str):
    import base64
    import hashlib
    import re

    body = re.search(r"<script>(.*?)</script>", page, re.S)
    assert body
    digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.replace("&#39;", "'")


def test_untrusted_texts_never_become_markup(run: Path):
    def spoil_summary(s):
        s["model"] = s["data"] = EVIL
        s["seed"] = s["task"] = EVIL
        s["definitions"][EVIL] = EVIL
        s["clean"]["IoU"][EVIL] = 0.5
        for text in list(s["attacks"]):
            s["attacks"][text]["IoU"][EVIL] = 0.1
            s["attacks"][text]["extra"] = {EVIL: 0.3}
            s["attacks"][text + ",x=" + EVIL] = s["attacks"][text]

    def spoil_index(index):
        index["palette"] = {EVIL: [1, 2, 3], "bad": "url(http://evil.example)"}
        index["images"][0]["id"] = EVIL
        index["images"][0]["attacks"][0]["spec"] = EVIL

    edit(run / "summary.json", spoil_summary)
    edit(run / "pictures" / "INDEX.json", spoil_index)
    edit(run / "run.json", lambda c: c.update({EVIL: EVIL, "argv": [EVIL]}))
    text = report(run).read_text()
    found = Page(text)
    assert found.tags["script"] == 1
    assert found.handlers == []
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    assert text.count("&lt;script&gt;alert(1)") > 20
    assert "url(http" not in text


def test_report_never_imports_torch(run: Path):
    code = (
        "import sys; from robustseg.report import page, compare, export, table; import json, pathlib\n"
        f"d = pathlib.Path({str(run)!r}); page.report(d); compare.compare([d, d]); export.export(d)\n"
        "table.table(json.loads((d / 'summary.json').read_text()))\n"
        "heavy = {'torch', 'torchvision', 'transformers', 'matplotlib', 'plotly'}\n"
        "bad = {m.split('.')[0] for m in sys.modules} & heavy\n"
        "sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (run / "rows.csv").stat().st_size
    assert (run.parent / "compare.html").stat().st_size


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "summary.json").unlink(), "summary.json does not exist"),
        (lambda d: (d / "summary.json").write_text("{"), "not valid JSON"),
        (lambda d: (d / "summary.json").write_text("[]"), "no JSON object"),
        (lambda d: (d / "summary.json").write_text('{"attacks": {"pgd": 3}, "clean": {}}'), "lacks a table"),
        (lambda d: (d / "summary.json").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda d: (d / "store.sqlite").unlink(), "store.sqlite"),
        (lambda d: (d / "store.sqlite").write_bytes(b"no database" * 100), "store.sqlite"),
        (lambda d: (d / "pictures" / "INDEX.json").write_text('{"images": 3}'), "no list of images"),
        (lambda d: (d / "pictures" / "000" / "clean.png").write_bytes(b"no picture"), "clean.png"),
    ],
)
def test_damaged_folders_get_one_line(run: Path, spoil, words: str):
    spoil(run)
    with pytest.raises(UserError, match=words) as caught:
        report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()
    assert not (run / "report.html.part").exists()


def test_missing_folder_gets_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="not a folder"):
        report(tmp_path / "nothing")


def test_scores_that_do_not_exist_are_dashes(run: Path):
    def blank(s):
        for a in s["attacks"].values():
            a.update(
                {"mIoU": None, "aAcc": float("nan"), "NmIoU": None, "ASR": None, "ci95": {}, "seconds_per_image": None}
            )
        s["worst_case"] = None
        s["worst_case_by_eps"] = {}

    edit(run / "summary.json", blank)
    cells = Page(report(run).read_text()).cells
    assert cells["fgsm:eps=8/255", "mIoU"] == ("", "–")
    assert cells["fgsm:eps=8/255", "aAcc"] == ("", "–")


def test_run_without_attacks_or_pictures_still_makes_a_page(run: Path):
    import shutil

    shutil.rmtree(run / "pictures")
    edit(run / "summary.json", lambda s: s.update(attacks={}, worst_case=None, worst_case_by_eps={}))
    text = report(run).read_text()
    assert "no attack has a score" in text
    assert 'id="gallery"' not in text


def test_failures_of_one_kind_stand_in_one_line(finished: Path):
    from dataclasses import replace
    from types import SimpleNamespace

    from robustseg.report.load import load
    from robustseg.report.page import html, problems

    rows = [SimpleNamespace(image=f"i{n}", status="failed", error="RuntimeError: no") for n in range(9)]
    found = problems(replace(load(finished), rows={"": [], "pgd:eps=8/255": rows}))
    assert found == {"rows": [("pgd:eps=8/255", "failed", "RuntimeError: no", [f"i{n}" for n in range(9)])], "more": 0}
    assert "street/0001" in html(load(finished))


def test_command_to_run_again_is_made_from_what_was_recorded(finished: Path):
    from dataclasses import replace

    from robustseg.report.commands import again
    from robustseg.report.load import load

    run = load(finished)
    assert again(run)[:2] == ["robustseg", "evaluate"]
    words = again(replace(run, config={"resize": [180, 240], "eight_bit": True, "keep": 3, "early_stop": False}))
    said = " ".join(words)
    for part in ("--attack fgsm", "--attack sea", "--eps 4/255,8/255", "--resize 180x240", "--eight-bit", "--keep 3"):
        assert part in said
    assert "segpgd" not in said, "a member comes with its ensemble"
    assert "noise" not in said, "noise joins by itself"
    assert words[-2:] == ["--out", str(finished)]
