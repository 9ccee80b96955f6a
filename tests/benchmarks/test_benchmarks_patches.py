"""The page of patches: its chapter on defences is made by one script and put into the page by the other."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGE = EXAMPLES.parent / "docs" / "results" / "patches.md"


@pytest.fixture
def programs(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    patches, defences = importlib.import_module("patches"), importlib.import_module("patch_defences")
    monkeypatch.setattr(patches, "PAGE", tmp_path / "page.md")
    return patches, defences


def test_a_chapter_takes_the_place_of_the_one_that_stands_there(programs):
    patches, defences = programs
    patches.PAGE.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    before = patches.standing()
    assert before.startswith(defences.CHAPTER)
    patches.renew(before)
    assert patches.PAGE.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")  # else: --defences
    patches.renew(f"{defences.CHAPTER}\n\nnew\n")
    text = patches.PAGE.read_text(encoding="utf-8")
    assert text.endswith(f"\n\n{defences.CHAPTER}\n\nnew\n")
    assert text.partition(defences.CHAPTER)[0] == PAGE.read_text(encoding="utf-8").partition(defences.CHAPTER)[0]


def test_the_chapter_holds_every_part_and_is_kept(programs, monkeypatch, tmp_path):
    _, defences = programs
    for part, width in (("hiding", 8), ("single", 5), ("certificates", 9)):
        monkeypatch.setattr(defences, part, lambda *a, part=part, width=width: [(part, *["1"] * (width - 1))])
    monkeypatch.setattr(defences, "falling", lambda *a: [("falling", "0 of 9", "2.0")])
    text = defences.chapter(tmp_path, 1, "64x128")
    assert (tmp_path / "chapter.md").read_text(encoding="utf-8") == text
    for part in ("hiding", "single", "certificates", "falling"):
        assert f"\n| {part} |" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {9, 6, len(defences.HEAD) + 2, 4}
    assert "first 1 images of `street:val` at 64x128" in text
    assert "A patch of 16x32 in the middle" in text
