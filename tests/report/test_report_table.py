"""The terminal's table and the Markdown one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from robustseg.report.table import markdown, table
from robustseg.report.text import percent


@pytest.fixture
def summary(finished: Path) -> dict:
    return json.loads((finished / "summary.json").read_text())


def printed(summary: dict, width: int) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as caught:
        console.print(table(summary, width=width))
    return caught.get()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_numbers_are_whole_at_every_width(summary: dict, width: int):
    text = printed(summary, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for attack in [summary["clean"], *summary["attacks"].values(), *summary["worst_case_by_eps"].values()]:
        assert percent(attack["mIoU"]) in text
    if width >= 140:
        assert "too narrow" not in text
        assert percent(summary["attacks"]["fgsm:eps=8/255"]["ASR"]) in text
    if width <= 60:
        assert "too narrow for 95 %, NmIoU, ASR" in " ".join(text.split())


def test_an_empty_column_is_not_called_too_narrow(summary: dict):
    for attack in summary["attacks"].values():
        attack.update(failed=0, violations=0, not_applicable=0)
    for width in (40, 80, 100, 140):
        text = " ".join(printed(summary, width).split())
        assert "problems" not in text


def test_failures_are_counted(summary: dict):
    assert "1 failed, 1 violation" in " ".join(printed(summary, 140).split())
    assert "1 n/a" in printed(summary, 140)


def test_markdown_has_one_line_an_attack_and_ten_cells(summary: dict):
    summary["attacks"]["evil|name\nx:eps=8/255"] = summary["attacks"]["fgsm:eps=8/255"]
    lines = markdown(summary).splitlines()
    assert len(lines) == 2 + 1 + len(summary["attacks"]) + len(summary["worst_case_by_eps"])
    assert all(line.replace("\\|", "").count("|") == 11 for line in lines)
    pgd = next(line for line in lines if line.startswith("| segpgd") and "8/255" in line)
    assert f"| {percent(summary['attacks']['segpgd:eps=8/255,steps=20']['mIoU'])} |" in pgd
