"""Sums of tables, resamples of rankings, and a scoring path without torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from robustseg.tasks import instance, panoptic
from robustseg.tasks.segment_scoring import score_boundary, score_fates, score_instance, score_panoptic, score_prompted

CLASSES = ("road", "car", "man")
THINGS = (False, True, True)


def panoptic_rows(rng, images):
    found = []
    for _ in range(images):
        tp, fp, fn = (rng.integers(0, 3, len(CLASSES)) for _ in range(3))
        iou = tp * rng.uniform(0.5, 1, len(CLASSES))
        found.append({"iou": iou.tolist(), "tp": tp.tolist(), "fp": fp.tolist(), "fn": fn.tolist()})
    return found


def ranked_rows(rng, images):
    """Rows with many detections, all scores different, so that no tie decides anything."""
    found = []
    for _ in range(images):
        row = {}
        for c in range(len(CLASSES)):
            number, objects = int(rng.integers(0, 9)), int(rng.integers(0, 6))
            hits = 0
            detections = []
            for score in sorted(rng.random(number), reverse=True):
                hit = hits < objects and rng.random() < 0.6
                hits += hit
                codes = "1" * int(rng.integers(1, 11)) if hit else ""
                codes = (codes + "0" * 10)[:10] if rng.random() < 0.9 else "2" * 10
                detections.append([float(score), codes * 4])
            row[str(c)] = {"objects": [objects, 0, objects, 0], "detections": detections}
        found.append(row)
    return found


def test_many_sums_at_once_equal_one_by_one():
    rows = panoptic_rows(np.random.default_rng(0), 6)
    tables = panoptic.table(rows, 3)
    assert tables.shape == (6, 4, 3)
    weights = np.random.default_rng(1).integers(0, 3, (20, 6))
    weights[0] = 0
    many = panoptic.quality_of(np.einsum("rn,nsc->rsc", weights, tables), THINGS)
    for r, w in enumerate(weights):
        one = panoptic.quality([row for row, n in zip(rows, w) for _ in range(n)], THINGS)
        for name in ("PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"):
            assert many[name][r] == pytest.approx(np.nan if one[name] is None else one[name], abs=1e-12, nan_ok=True)
        each = [np.nan if q is None else q for q in one["per_class"]]
        assert many["per_class"][r] == pytest.approx(each, abs=1e-12, nan_ok=True)
    assert np.isnan(many["PQ"][0])


def test_pq_by_hand():
    rows = [
        {"iou": [0.9, 0.0, 0.0], "tp": [1, 0, 0], "fp": [0, 0, 0], "fn": [0, 1, 0]},
        {"iou": [0.7, 0.6, 0.0], "tp": [1, 1, 0], "fp": [0, 2, 0], "fn": [0, 0, 0]},
    ]
    found = panoptic.quality(rows, THINGS)
    assert found["per_class"] == [pytest.approx(0.8), pytest.approx(0.6 / 2.5), None]
    assert found["PQ"] == pytest.approx((0.8 + 0.24) / 2)
    assert found["SQ"] == pytest.approx((0.8 + 0.6) / 2)
    assert found["RQ"] == pytest.approx((1 + 0.4) / 2)
    assert (found["PQ_st"], found["PQ_th"]) == (pytest.approx(0.8), pytest.approx(0.24))


def test_resamples_of_a_ranking_equal_images_drawn_again():
    rows = ranked_rows(np.random.default_rng(0), 7)
    weights = np.random.default_rng(1).integers(0, 4, (12, 7)).astype(float)
    weights[0], weights[1] = 1, 0
    many = instance.resampled(rows, CLASSES, weights)
    assert np.isnan(many["AP"][1])
    for r, w in enumerate(weights):
        one = instance.average_precision([row for row, n in zip(rows, w) for _ in range(int(n))], CLASSES)
        for name in ("AP", "AP50", "AP75"):
            wanted = np.nan if one[name] is None else one[name]
            assert many[name][r] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert 0 < many["AP"][0] < many["AP50"][0] < 1


def test_ap_by_hand():
    """Two objects; hit, false alarm, hit: precision 1 up to recall 1/2, 2/3 beyond."""
    detections = [[0.9, "1" * 40], [0.8, "0" * 40], [0.7, "1" * 40]]
    row = {"1": {"objects": [2, 2, 0, 0], "detections": detections}}
    found = instance.average_precision([row], CLASSES)
    assert found["AP"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert found["AP_m"] is None
    assert found["per_class"] == {"road": None, "car": found["AP"], "man": None}
    # split over two images it is the same, and an ignored detection is nobody's fault
    first = {"1": {"objects": [1, 1, 0, 0], "detections": [[0.95, "2" * 40], detections[0]]}}
    second = {"1": {"objects": [1, 1, 0, 0], "detections": detections[1:]}}
    assert instance.average_precision([first, second], CLASSES)["AP"] == pytest.approx(found["AP"])


def test_rows_without_a_part_are_left_out_of_its_scores():
    row = {"inter": [1], "panoptic": panoptic_rows(np.random.default_rng(0), 1)[0]}
    assert score_panoptic([row, {}], THINGS, CLASSES)["PQ"] == panoptic.quality([row["panoptic"]], THINGS)["PQ"]
    assert score_instance([row], CLASSES)["AP"] is None
    assert score_boundary([row]) == {"mBIoU": None, "BIoU_segments": None}
    assert score_prompted([row])["prompts"] == 0
    assert score_fates([row], CLASSES) is None


def test_scoring_needs_no_torch():
    program = (
        "import sys, robustseg.tasks.segment_scoring, robustseg.tasks.panoptic, robustseg.tasks.instance;"
        "import robustseg.tasks.fates, robustseg.tasks.boundary; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
