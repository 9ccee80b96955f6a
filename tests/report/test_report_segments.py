"""Runs with segments: scores, fates and layers on the page are those of rows and files; table, export, comparison."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_run import edit
from page_reader import Page
from PIL import Image
from rich.console import Console
from segment_run import CLASSES, make_segment_run

from robustseg.report.compare import compare, warnings
from robustseg.report.export import export
from robustseg.report.fates import FATES, MEANING, TRUE, lines, of_image
from robustseg.report.load import load
from robustseg.report.page import report
from robustseg.report.paired import difference
from robustseg.report.pictures import gallery
from robustseg.report.table import head, markdown, table
from robustseg.report.text import percent

STRONG = "pgd:eps=64/255,steps=4"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_segment_run(tmp_path_factory.mktemp("segments") / "street")


@pytest.fixture(scope="module")
def summary(street: Path) -> dict:
    return json.loads((street / "summary.json").read_text())


@pytest.fixture(scope="module")
def page(street: Path) -> Page:
    return Page(report(street).read_text(encoding="utf-8"))


def test_every_score_of_the_segments_stands_in_the_page(summary: dict, page: Page):
    names = ("PQ", "PQ_th", "PQ_st", "SQ", "RQ", "AP", "AP50", "mIoU", "aAcc", "SQ_th", "AP75", "mBIoU")
    for spec, attack in summary["attacks"].items():
        for name in names:
            exact, shown = page.cells[spec, name]
            assert float(exact) == attack[name], (spec, name)
            assert shown == percent(attack[name])
    for ball, worst in summary["worst_case_by_eps"].items():
        for name in ("PQ", "PQ_th", "PQ_st", "SQ", "RQ", "AP", "AP50", "mIoU", "aAcc"):
            assert float(page.cells[f"worst_case_by_eps:{ball}", name][0]) == worst[name]
    for name, value in summary["attacks"][STRONG]["PQ_per_class"].items():
        assert page.cells[STRONG, f"PQ.{name}"] == (str(value), percent(value))
    assert float(page.cells["worst_case", "PQ"][0]) == summary["worst_case"]["PQ"]


def test_the_leading_score_is_pq_then_ap_then_miou(summary: dict):
    assert head(summary)[2:4] == ("PQ", "95 %")
    for lost, leads in ((("PQ",), "AP"), (("PQ", "AP"), "mIoU")):
        fewer = json.loads(json.dumps(summary))
        for entry in (fewer["clean"], *fewer["attacks"].values(), *fewer["worst_case_by_eps"].values()):
            for name in [n for n in entry if n.startswith(lost)]:
                del entry[name]
        names = head(fewer)
        assert names[names.index("95 %") - 1] == leads


def test_fates_over_the_set_are_those_of_the_rows(street: Path, summary: dict, page: Page):
    for spec in ("clean", STRONG):
        entry = summary["clean"] if spec == "clean" else summary["attacks"][spec]
        for fate in FATES:
            assert int(page.cells[spec, f"fates.{fate}"][0]) == entry["fates"]["all"][fate]
    rows = load(street).rows[STRONG]
    taken = sum(e[5] == "kept" and e[1] in TRUE[1:] for r in rows for e in r.stats["fates"])
    assert int(page.cells[STRONG, "fates.taken"][0]) == taken > 0
    assert {m.true for m in lines(load(street))} == {30}


def test_each_kept_image_lists_its_segments_by_number(street: Path):
    run = load(street)
    found = gallery(run)
    assert found.segments == "panoptic"
    for card in found.cards:
        item = next(i for i in run.pictures["images"] if i["id"] == card.id)
        listed = {str(one["number"]): one for one in item["segments"]["listed"]}
        for a in card.attacks:
            stats = next(r.stats for r in run.rows[a.spec] if r.image == card.id)
            assert a.fates is not None
            assert a.fates.counts == {f: sum(e[1] == f for e in stats["fates"]) for f in FATES}
            true = [r for r in a.fates.rows if r.fate != "invented"]
            assert sorted(r.number for r in true) == sorted(listed)
            for row in true:  # number, class and colour of the table are those of the picture
                assert row.name == listed[row.number]["class"]
                assert row.colour == "#{:02x}{:02x}{:02x}".format(*listed[row.number]["colour"])


def test_the_flipped_car_is_said_to_be_a_bus(street: Path):
    run = load(street)
    row = next(r for r in run.rows["noise:eps=16/255"] if r.image == "street/0")
    told = of_image(row.stats, CLASSES, [])
    assert told is not None
    flipped = [r for r in told.rows if r.fate == "flipped"]
    assert [(r.name, r.other, r.before, r.changed) for r in flipped] == [("car", "bus", "flipped", False)]


def test_long_lists_are_cut_and_counted():
    told = of_image({"fates": [[0, "lost", 5 + k, 0.1, None, "kept"] for k in range(100)]}, ["road"], [])
    assert told is not None
    assert (len(told.rows), told.more) == (60, 40)
    assert told.rows[0].area == 104


def test_layers_are_transparent_and_lossless(street: Path):
    run = load(street)
    card = gallery(run).cards[0]
    item = next(i for i in run.pictures["images"] if i["id"] == card.id)
    named = {a["spec"]: a["segments"]["layer"] for a in item["attacks"]}
    for picture, name in [
        (card.layer, item["segments"]["clean"]["layer"]),
        (card.true_layer, item["segments"]["truth"]["layer"]),
        *((a.layer, named[a.spec]) for a in card.attacks),
    ]:
        shown = Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",", 1)[1])))
        kept = np.asarray(Image.open(street / "pictures" / name))
        pixels = np.asarray(shown.convert("RGBA"))
        assert np.array_equal(pixels[..., 3], kept[..., 3])
        seen = kept[..., 3] > 0
        assert np.array_equal(pixels[seen], kept[seen])
        assert 0 < (kept[..., 3] == 0).mean() < 1 or seen.all()
        assert len(picture.uri) < 40_000


def test_raw_ids_name_the_predicted_classes(street: Path):
    from segment_run import Street

    run = load(street)
    for item in run.pictures["images"]:
        number = int(item["id"].split("/")[1])
        truth = Street()[number]
        part = item["segments"]["truth"]
        ids = np.asarray(Image.open(street / "pictures" / part["index"]))
        assert ids.dtype == np.uint16
        labels = np.array([255, *part["classes"]])[ids]
        assert np.array_equal(labels, truth.labels.numpy())
        picture = Image.open(street / "pictures" / part["picture"])
        assert picture.width % truth.image.shape[-1] == 0


def test_page_keeps_its_promises_without_torch(street: Path):
    code = (
        "import sys; from robustseg.report import page, compare, export\n"
        f"d = {str(street)!r}; page.report(d); export.export(d, out=d + '/rows.csv')\n"
        "compare.compare([d, d], d + '/c.html')\n"
        "bad = {m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'matplotlib', 'plotly'}\n"
        "sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    text = (street / "report.html").read_text()
    found = Page(text)
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    assert (found.tags["script"], found.handlers) == (1, [])
    assert len(text) < 2_000_000
    images = re.findall(r"<img [^>]*>", text)
    assert images
    assert all(re.search(r'alt="[^"]{6,}"', i) for i in images)


def test_colours_that_are_none_never_reach_the_page(street: Path, tmp_path: Path):
    import shutil

    copy = shutil.copytree(street, tmp_path / "copy")

    def spoil(index):
        for one in index["images"][0]["segments"]["listed"]:
            one["colour"] = "red;background:url(http://evil.example)"

    edit(copy / "pictures" / "INDEX.json", spoil)
    assert "evil.example" not in report(copy).read_text()


def test_fates_have_one_colour_in_pictures_and_page():
    from robustseg.evaluation.overlays import FATE_COLOURS
    from robustseg.report.page import asset

    style = asset("style.css")
    for fate in FATES[1:]:
        (colour,) = re.findall(rf"--f-{fate}: (#\w+);", style)
        wanted = FATE_COLOURS[fate]
        assert tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)) == wanted
    assert set(MEANING) == set(FATE_COLOURS)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_terminal_table_has_the_new_columns(summary: dict, width: int):
    console = Console(width=width, no_color=True)
    with console.capture() as caught:
        console.print(table(summary, width=width))
    text = caught.get()
    assert max(len(line) for line in text.splitlines()) <= width
    for attack in [summary["clean"], *summary["attacks"].values(), *summary["worst_case_by_eps"].values()]:
        assert percent(attack["PQ"]) in text
        assert percent(attack["AP"]) in text
    cells = markdown(summary).splitlines()
    assert all(line.count("|") == cells[0].count("|") for line in cells)
    assert "| PQ |" in cells[0]


def test_exported_sums_give_pq(street: Path, summary: dict, tmp_path: Path):
    with export(street, out=tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["spec"] == STRONG]
    each = []
    for name in CLASSES:
        iou, tp, fp, fn = (sum(float(r[f"{k}:{name}"]) for r in rows) for k in ("iou", "tp", "fp", "fn"))
        each.append(iou / (tp + fp / 2 + fn / 2))
    assert np.mean(each) == pytest.approx(summary["attacks"][STRONG]["PQ"], abs=1e-12)
    assert (
        sum(e[1] == "lost" for r in rows for e in json.loads(r["fates"]))
        == (summary["attacks"][STRONG]["fates"]["all"]["lost"])
    )


def test_comparison_pairs_pq_and_ap(street: Path, summary: dict, tmp_path: Path):
    other = make_segment_run(tmp_path / "other", name="toy:other", task="semantic,panoptic,instance", eps="64/255")
    a, b = load(street), load(other)
    for score in ("PQ", "AP", "mIoU"):
        gap = difference(a, b, STRONG, score)
        assert gap is not None
        assert gap.value == pytest.approx(b.summary["attacks"][STRONG][score] - summary["attacks"][STRONG][score])
        assert gap.low <= gap.value <= gap.high
    text = compare([street, other], tmp_path).read_text()
    cells = Page(text).cells
    assert float(cells[STRONG, "PQ#0"][0]) == summary["attacks"][STRONG]["PQ"]
    assert "AP under every attack" in text


def test_a_semantic_run_stands_beside_a_panoptic_one(street: Path, tmp_path: Path):
    plain = make_segment_run(tmp_path / "plain", task="semantic", keep=0)
    said = warnings([load(street), load(plain)])
    assert any("scored tasks" in w for w in said)
    text = compare([street, plain], tmp_path).read_text()
    assert "mIoU under every attack" in text
    assert "PQ under every attack" not in text
    assert difference(load(street), load(plain), STRONG, "PQ") is None
    assert difference(load(street), load(plain), STRONG, "mIoU") is not None


def test_an_instance_run_speaks_of_ap(tmp_path: Path):
    folder = make_segment_run(tmp_path / "instances", task="instance", eps="64/255", keep=1)
    found = report(folder).read_text()
    assert "AP on 6 images" in found
    assert "AP under" not in found
    cells = Page(found).cells
    assert ("clean", "AP50") in cells
    assert ("clean", "PQ") not in cells
    card = gallery(load(folder)).cards[0]
    assert card.layer is not None
    assert any(a.fates and a.fates.counts["kept"] for a in card.attacks)
