"""The page of a board's photographs, from a summary as `patch photos` writes it."""

from __future__ import annotations

import copy
import json

import pytest
from PIL import Image

from robustseg.errors import UserError
from robustseg.report.photos import lines, page
from robustseg.report.text import signed


def board(changed, pictures=5):
    return {
        "pictures": pictures, "changed": changed, "mIoU": 1 - changed, "ci95": {"changed": [changed / 2, changed * 2]},
        "classes": {"road": {"share": 0.6, "gone": changed, "new": 0.0}, "<b>car": {"share": 0.1, "gone": None,
                                                                                     "new": changed}},
    }  # fmt: skip


def place(n, metres):
    one = {"mIoU": 0.9, "laid": "turned", "moved_px": 1.5, "corners_off_px": 0.1}
    return {
        "place": f"p{n}", "distance_m": metres, "angle_deg": None, "pictures": f"{n:03d}", "board_share": 0.1,
        "counted_share": 0.8, "boards": {"clean": {**one, "changed": 0.0}, "random": {**one, "changed": 0.02},
                                         "optimised": {**one, "changed": 0.06}},
    }  # fmt: skip


SUMMARY = {
    "kind": "photos", "version": "0", "model": "zoo:one", "model_hash": "m", "photos": "f", "longest": 64,
    "tolerance": 2, "simulated": None, "label": "photographs",
    "boards": {"random": board(0.02), "optimised": board(0.06)},
    "difference": {"pictures": 5, "changed": 0.04, "mIoU": -0.04, "ci95": {"changed": [0.01, 0.07]}, "more": 5},
    "places": [place(0, 8.0), place(1, 16.0)],
    "palette": {"road": [128, 64, 128], "<b>car": [0, 0, 142]},
    "cautions": [],
}  # fmt: skip


def write(folder, summary):
    (folder / "pictures").mkdir(exist_ok=True)
    for p in summary["places"]:
        for name in p["boards"]:
            for end in (".png", ".labels.png", ".changed.png"):
                Image.new("RGB", (8, 8)).save(folder / "pictures" / f"{p['pictures']}_{name}{end}")
    (folder / "summary.json").write_text(json.dumps(summary))
    return page(folder).read_text()


def test_the_page_holds_numbers_charts_and_pictures(tmp_path):
    html = write(tmp_path, SUMMARY)
    assert html.count("data:image/webp") == 2 * (2 + 3 + 3)
    assert "changes what the model sees in 6.0 % of the pixels, the random print in 2.0 %" in html
    assert "+1.0 to +7.0" in html
    assert "Changed pixels by distance" in html
    assert "Changed pixels by angle" not in html  # not known
    assert "<b>car" not in html
    assert "SIMULATED" not in html
    assert "turned by 1.5 px" in html


def test_what_was_simulated_says_so(tmp_path):
    html = write(tmp_path, {**SUMMARY, "simulated": {"noise": 1}, "label": "SIMULATED: by a formula"})
    assert "SIMULATED: by a formula" in html
    assert "Photographs of a board, simulated" in html


def test_the_table_has_a_line_for_each_print_and_the_difference():
    found = lines(SUMMARY)
    assert [line.split()[0] for line in found] == ["against", "random", "optimised", "optimised"]
    assert "+4.0 points" in found[-1]
    assert "5 of 5 places" in found[-1]
    few = copy.deepcopy(SUMMARY)
    few["difference"]["ci95"]["changed"] = None
    assert "95 %" not in lines(few)[-1]
    assert signed(float("nan")) == "–"


def test_a_name_that_leads_outside_and_another_summary(tmp_path):
    bad = copy.deepcopy(SUMMARY)
    bad["places"][0]["pictures"] = "../../x"
    (tmp_path / "summary.json").write_text(json.dumps(bad))
    with pytest.raises(UserError, match="outside its folder"):
        page(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="no summary of photographs"):
        page(tmp_path)
