"""Curves become pictures."""

import pytest

from robustseg.defenses.training.curve import plot_curve, smooth


def test_smooth_by_hand():
    assert smooth([1.0, 3.0, 5.0], window=2) == [1.0, 2.0, 4.0]


def test_a_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [{"step": s, "loss": 1 / s} for s in range(1, 9)] + [{"step": 8, "val_mIoU": 0.5}]
    plot_curve(rows, "tiny", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
