"""Rows as CSV and Parquet say the same as the store."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from robustseg.errors import UserError
from robustseg.evaluation import store
from robustseg.report.export import export


def test_csv_adds_up_to_the_summary(finished: Path, tmp_path: Path):
    path = export(finished, out=tmp_path / "rows.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    contents = store.read(finished)
    assert len(rows) == sum(len(r) for r in contents.rows.values())
    summary = json.loads((finished / "summary.json").read_text())
    spec = "segpgd:eps=8/255,steps=20"
    mine = [r for r in rows if r["spec"] == spec]
    right, valid = sum(int(r["right"]) for r in mine), sum(int(r["valid"]) for r in mine)
    assert right / valid == pytest.approx(summary["attacks"][spec]["aAcc"], abs=1e-12)
    assert [float(r["aAcc"]) for r in mine] == [int(r["right"]) / int(r["valid"]) for r in mine]
    ious = []
    for name in summary["classes"]:
        inter, pred, target = (sum(int(r[f"{k}:{name}"]) for r in mine) for k in ("inter", "pred", "target"))
        ious.append(inter / (pred + target - inter))
    assert sum(ious) / len(ious) == pytest.approx(summary["attacks"][spec]["mIoU"], abs=1e-12)
    assert sum(r["attack"] == "clean" for r in rows) == 6


def test_rows_without_a_score_have_empty_cells_and_their_reason(finished: Path, tmp_path: Path):
    with export(finished, out=tmp_path / "rows.csv").open(newline="") as file:
        bad = {r["status"]: r for r in csv.DictReader(file) if r["status"] != "ok"}
    assert set(bad) == {"failed", "violation", "not-applicable"}
    assert bad["failed"]["right"] == bad["failed"]["aAcc"] == ""
    assert "out of memory" in bad["failed"]["error"]


def test_parquet_holds_the_same_numbers(finished: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(export(finished, to="parquet", out=tmp_path / "rows.parquet")).to_pylist()
    with export(finished, out=tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: "" if v is None else str(v) for k, v in r.items()} for r in table] == rows


def test_default_place_is_the_run_s_folder(run: Path):
    assert export(run) == run / "rows.csv"


def test_missing_pyarrow_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'pip install "robustseg\[export\]"'):
        export(run, to="parquet")


def test_unknown_format_is_one_line(run: Path):
    with pytest.raises(UserError, match="choose csv or parquet"):
        export(run, to="xlsx")  # type: ignore[arg-type]
