"""All paths of the panoptic benchmark score the same maps; predicted void tells ours and torchmetrics apart."""

import pytest

from benchmarks import panoptic, tables


def test_paths_agree_where_nothing_is_predicted_void():
    pairs = panoptic.maps(2, (128, 192), 9, 12, 0.0)
    scores = {name: run() for name, run in panoptic.contestants(pairs, 9).items()}
    assert all(v == pytest.approx(scores["ours"], abs=1e-6) for v in scores.values())
    assert 0.1 < scores["ours"] < 0.9


def test_predicted_void_costs_us_and_not_torchmetrics():
    pairs = panoptic.maps(2, (128, 192), 9, 12, 0.4)
    scores = {name: run() for name, run in panoptic.contestants(pairs, 9).items()}
    assert scores["torchmetrics"] > scores["ours"] + 0.05
    assert scores["ours, with fates"] == scores["ours"]


def test_the_table_shows_time_and_score():
    ms = {"median": 1.0, "q1": 0.9, "q3": 1.1}
    run = {"size": [64, 96], "segments": 5, "void": 0.3, "rows": [{"name": "ours", "PQ": None, "cpu_ms": ms}]}
    machine = {"load": None, "gpu": None, "cpu": "x", "cores": 1, "threads": 1, "torch": "2", "python": "3"}
    lines = tables.panoptic({"measured": "2026-01-01", "machine": machine, "runs": [run]})
    assert lines[2:] == [
        "| CPU ms an image (PQ) | 64x96, 5 segments, 30% predicted void |",
        "|---|---|",
        "| ours | 1.00 [0.90, 1.10] (none) |",
    ]
