"""The page of a billboard's patch, from a summary as `patch evaluate` writes it."""

from __future__ import annotations

import copy
import json
import re

import pytest
from PIL import Image

from robustseg.errors import UserError
from robustseg.report.board import lines, page
from robustseg.report.page import report


def scored(changed, **more):
    rings = [
        {"from": a, "to": b, "pixels": 100, "aAcc": 1 - changed / k, "changed": changed / k}
        for k, (a, b) in enumerate([(0, 8), (8, 16), (16, None)], 1)
    ]
    return {"mIoU": 0.5 - changed, "aAcc": 0.9 - changed, "changed": changed, "rings": rings, **more}


TEXTURES = {"clean": scored(0.0), "random": scored(0.04), "grey": scored(0.03), "optimised": scored(0.12)}
GAP = {
    "poses": 6, "mIoU": -0.08, "aAcc": -0.08, "changed": 0.08, "more": 6,
    "ci95": {"mIoU": [-0.1, -0.02], "aAcc": [-0.1, -0.02], "changed": [0.05, 0.11]},
}  # fmt: skip
ABOUT = {
    "scene": "billboard", "seed": 3, "model": "zoo:one", "given": "patch:gamma=dynamic; rm", "fast": True,
    "texture": [64, 128], "board_m": [7.5, 3.75], "backwards": 400, "poses": 4,
}  # fmt: skip
SUMMARY = {
    "kind": "board", "simulated": True, "warp": TEXTURES, "rerendered": TEXTURES,
    "difference": {"warp": GAP, "rerendered": GAP}, "fidelity_dB": {"random": 23.4, "grey": None, "optimised": 24.1},
    "poses": [
        {"distance_m": d, "angle_deg": a, "board_pixels": n, "warp": TEXTURES, "rerendered": TEXTURES}
        for d, a, n in ((25.0, 7.0, 1500), (20.0, 13.0, 2500), (16.0, 13.0, 4000))
    ],
    "model": "zoo:<two>", "size": [128, 256], "fast": True, "palette": {"road": [128, 64, 128]},
    "folder": "runs/board", "about": ABOUT, "cautions": ["One <street>."],
}  # fmt: skip


def write(folder, summary, drive=True):
    Image.new("RGB", (16, 8)).save(folder / "patch.png")
    if drive:
        frames = [Image.new("RGB", (30, 20), c) for c in ("red", "blue")]
        frames[0].save(folder / "drive.webp", save_all=True, append_images=frames[1:])
    (folder / "summary.json").write_text(json.dumps(summary))
    return page(folder).read_text()


def test_the_page_holds_drive_patch_charts_numbers_and_the_command(tmp_path):
    html = write(tmp_path, SUMMARY)
    assert "what it maximises" not in html
    named = write(tmp_path, {**SUMMARY, "about": {**ABOUT, "attack": "patch:loss=pq-price"}})
    assert "<code>patch:loss=pq-price</code> (<code>loss=</code> is what it maximises" in named
    assert html.count("data:image/webp") == 2
    assert "12.0 % of the pixels outside the board" in html
    assert "95 % interval +5.0 to +11.0" in html
    assert html.count('class="chart"') == 3
    assert "simulated" in html.lower()
    assert "<two>" not in html
    assert "<street>" not in html
    assert "://" not in html
    command = re.search(r"robustseg patch optimise.*", html)[0]
    assert "&#39;patch:gamma=dynamic; rm&#39;" in command  # one word for the shell
    assert "--fast" in command
    assert f"robustseg patch evaluate runs/board --fast --out {tmp_path}" in html
    values = dict(re.findall(r'data-spec="optimised" data-name="(rerendered\.\w+)" data-value="([\d.]+)"', html))
    assert float(values["rerendered.changed"]) == 0.12


def test_the_general_report_of_such_a_folder_is_this_page(tmp_path):
    html = write(tmp_path, SUMMARY)
    (tmp_path / "report.html").unlink()
    assert report(tmp_path).read_text() == html


def test_pq_stands_where_there_is_one(tmp_path):
    assert "PQ" not in write(tmp_path, SUMMARY)
    found = copy.deepcopy(SUMMARY)
    for domain in ("warp", "rerendered"):
        found[domain] = {n: {**s, "PQ": 0.3} for n, s in TEXTURES.items()}
        found["difference"][domain]["PQ"] = -0.05
    assert "PQ" in write(tmp_path, found)
    assert "PQ -5.0 points" in lines(found)[-1]


def test_the_lines_are_the_table(tmp_path):
    text = lines(SUMMARY)
    assert [line.split()[-1] for line in text if line.startswith("optimised patch")] == ["12.0"]
    assert "changed +8.0 points (95 % +5.0 to +11.0)" in text[-1]
    assert all(len(line) <= 160 for line in text)


@pytest.mark.parametrize("drive", [b"<svg onload=alert(1)>", b"", b"RIFF0000WAVE"])
def test_an_animation_that_is_none_is_left_out(tmp_path, drive):
    (tmp_path / "drive.webp").write_bytes(drive)
    assert write(tmp_path, SUMMARY, drive=False).count("data:image/webp") == 1


def test_another_summary_is_one_line(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"kind": "photos"}))
    with pytest.raises(UserError, match="no summary of a billboard"):
        page(tmp_path)
