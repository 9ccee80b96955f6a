"""The folder of a board's photographs: what is read, and one line that names the file for what cannot be."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from robustseg.data.photos import COLUMNS, read_photos, write_template
from robustseg.errors import UserError

CORNERS = [[2, 2], [6, 2], [6, 5], [2, 5]]
HEAD = ",".join(COLUMNS)
LINE = "2,2,6,2,6,5,2,5"


@pytest.fixture
def folder(tmp_path):
    for board in ("clean", "random", "optimised"):
        (tmp_path / board).mkdir()
        for name in ("far", "near"):
            Image.new("RGB", (8, 8)).save(tmp_path / board / f"{name}.JPG")
    write(tmp_path, f"near,8,,{LINE}", f"far,16,30,{LINE}")
    return tmp_path


def write(folder, *lines, head=HEAD):
    (folder / "photos.csv").write_text("\n".join([head, *lines]) + "\n")


def test_places_from_near_to_far_with_a_photograph_of_each_print(folder):
    found = read_photos(folder)
    assert [(p.name, p.distance, p.angle) for p in found.places] == [("near", 8, None), ("far", 16, 30)]
    assert list(found.places[0].photos) == ["clean", "random", "optimised"]
    assert found.places[0].photos["random"].corners == CORNERS
    assert found.simulated is None


def test_a_photograph_may_have_corners_of_its_own_and_spreadsheets_write_semicolons(folder):
    other = LINE.replace("6", "7").replace(",", ";")
    plain = LINE.replace(",", ";")
    write(folder, f"near;8;;{plain}", f"random/near.JPG;;;{other}", f"clean/far;16;;{plain}", head=";".join(COLUMNS))
    near, far = read_photos(folder).places
    assert near.photos["random"].corners == [[2, 2], [7, 2], [7, 5], [2, 5]]
    assert near.photos["optimised"].corners == CORNERS
    assert far.photos["optimised"].corners == CORNERS  # of the clean photograph: a tripod
    assert far.distance == 16


def test_json_says_the_same(folder):
    (folder / "photos.csv").unlink()
    one = {"distance_m": 8, "angle_deg": -20, "corners": CORNERS}
    (folder / "photos.json").write_text(json.dumps({"photos": {"near": one, "far": {"corners": CORNERS}}}))
    near, far = read_photos(folder).places
    assert (near.distance, near.angle, far.distance) == (8, 20, None)


def test_a_template_has_a_line_for_every_photograph_and_never_overwrites(folder):
    with pytest.raises(UserError, match="is there already"):
        write_template(folder)
    (folder / "photos.csv").unlink()
    lines = write_template(folder).read_text().splitlines()
    assert lines[0] == HEAD
    assert [line.split(",")[0] for line in lines[1:]] == [f"{b}/{n}" for n in ("far", "near")
                                                          for b in ("clean", "random", "optimised")]  # fmt: skip
    with pytest.raises(UserError, match="no corners of the board in clean/far"):
        read_photos(folder)


@pytest.mark.parametrize(
    ("break_", "says"),
    [
        (lambda f: shutil.rmtree(f / "random"), "random: no photographs"),
        (lambda f: (f / "random").rename(f / "randon"), "rename the folder to random"),
        (lambda f: (f / "random" / "far.JPG").unlink(), "random: no photograph 'far', but .*clean.far"),
        (lambda f: shutil.copy(f / "random" / "far.JPG", f / "random" / "x.JPG"), "x.JPG: .* no photograph 'x'"),
        (lambda f: shutil.copy(f / "random" / "far.JPG", f / "random" / "far.png"), "same name"),
        (lambda f: (f / "photos.csv").unlink(), "neither is there; start with: .*--template"),
        (lambda f: (f / "photos.json").write_text("{}"), "both are there"),
        (lambda f: write(f, f"nera,8,,{LINE}"), "no photograph 'nera'; did you mean near"),
        (lambda f: write(f, f"near,8,,{LINE}"), "no corners of the board in clean/far"),
        (lambda f: write(f, f"near,8m,,{LINE}"), "line 2: distance_m is '8m', no number"),
        (lambda f: write(f, f"near,0,,{LINE}", f"far,1,,{LINE}"), "near: distance_m is 0"),
        (lambda f: write(f, f"near,1,120,{LINE}", f"far,1,,{LINE}"), "near: angle_deg is 120"),
        (lambda f: write(f, "near,8,,2,2,6"), "line 2: all of x1"),
        (lambda f: write(f, f"near,8,,{LINE}", f"near,8,,{LINE}"), "line 3: near stands there twice"),
        (lambda f: write(f, head="photo,metres"), "no column 'x1'"),
        (lambda f: (f / "photos.csv").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda f: (f / "photos.csv").write_text(""), "no column 'photo'"),
        (lambda f: (f / "photos.csv").write_text("a" * 200_000), "not a readable CSV"),
    ],
)
def test_what_is_wrong_is_named(folder, break_, says):
    break_(folder)
    with pytest.raises(UserError, match=says):
        read_photos(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[" * 100000, "not valid JSON"),
        ("[]", "needs"),
        ('{"photos": {"near": {"metres": 1}}}', "unknown key 'metres'"),
        ('{"photos": {}, "simulated": "no"}', '"simulated"'),
        ('{"photos": {"far": {"distance_m": true, "corners": 1}}}', "distance_m is True"),
        ('{"photos": {"far": {"distance_m": 1e999, "corners": 1}}}', "distance_m is inf"),
    ],
)
def test_a_hostile_table(folder, text, says):
    (folder / "photos.csv").unlink()
    (folder / "photos.json").write_text(text)
    with pytest.raises(UserError, match=says):
        read_photos(folder)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        read_photos(tmp_path / "nothing")
