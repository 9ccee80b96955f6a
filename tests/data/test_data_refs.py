"""Data references: every form, and one clear line for each way to get them wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from robustseg.data import fit_ref, list_refs, load_data
from robustseg.data.refs import SCHEMES, parse
from robustseg.errors import UserError


@pytest.mark.parametrize(
    ("text", "scheme", "path", "split"),
    [
        ("street:val", "street", None, "val"),
        ("street:fit", "street", None, "fit"),
        ("street:./val", "street", "val", None),
        ("street:runs/s", "street", "runs/s", None),
        ("street:runs/s:train", "street", "runs/s", "train"),
        ("camvid:/d/camvid:test", "camvid", "/d/camvid", "test"),
        ("folder:/d/a:b/c", "folder", "/d/a:b/c", None),
        ("folder:/d/a:b/c:val", "folder", "/d/a:b/c", "val"),
        ("ade20k:d:validation", "ade20k", "d", "validation"),
        ("coco:/d/coco:panoptic_val2017", "coco", "/d/coco", "panoptic_val2017"),
        ("coco:/d/mine.json", "coco", "/d/mine.json", None),
        ("coco:/d/mine.json?images=/e:f/g", "coco", "/d/mine.json", None),
        ("folder:/d/a?b=c:val", "folder", "/d/a?b=c", "val"),
    ],
)
def test_the_last_word_is_the_split(text, scheme, path, split):
    ref = parse(text)
    assert (ref.scheme, ref.split) == (scheme, split)
    assert ref.path == (None if path is None else Path(path))


def test_options_of_a_reference():
    assert parse("coco:/d/mine.json?images=/e:f/g&masks=h").options == {"images": "/e:f/g", "masks": "h"}
    assert parse("coco:/d/mine.json").options == {}
    for text in ("coco:/d/mine.json?", "coco:/d/mine.json?images", "coco:/d/mine.json?images=", "coco:/d/m.json?x=y"):
        with pytest.raises(UserError, match=r"is no option of coco; write \?images=DIR; known: images, masks"):
            parse(text)


def test_unknown_kind_lists_the_near_ones():
    with pytest.raises(UserError, match="unknown kind 'camvids'; did you mean camvid"):
        parse("camvids:d:test")
    with pytest.raises(UserError, match="the kinds are street, camvid"):
        parse("zzzzz:d:test")


def test_a_bare_path_is_told_what_to_put_in_front(tmp_path):
    with pytest.raises(UserError, match=f"write e.g. folder:{tmp_path}"):
        parse(str(tmp_path))


def test_a_mistyped_bundled_split_is_corrected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="did you mean the bundled street:val"):
        load_data("street:vall")
    (tmp_path / "vall").mkdir()
    with pytest.raises(UserError, match=r"meta\.json"):
        load_data("street:vall")


def test_a_kind_without_a_folder_shows_the_form():
    with pytest.raises(UserError, match="camvid:PATH:test"):
        parse("camvid:")


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES)))
def test_a_missing_folder_is_named_with_what_is_there(scheme, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match=r"does not exist; .* has: here"):
        load_data(f"{scheme}:{tmp_path}/gone:val")


def test_fit_ref_is_the_training_split_where_it_exists(tmp_path, make):
    for name in ("test", "train"):
        make.png(tmp_path / name / "a.png", make.photo())
        make.png(tmp_path / f"{name}annot" / "a.png", make.labels())
    assert fit_ref(f"camvid:{tmp_path}:test") == f"camvid:{tmp_path}:train"
    assert fit_ref(f"camvid:{tmp_path}:train") is None
    (tmp_path / "train" / "a.png").unlink()
    assert fit_ref(f"camvid:{tmp_path}:test") is None


def test_list_names_every_kind():
    shown = [row["ref"].split(":")[0] for row in list_refs()]
    assert set(shown) == set(SCHEMES)


def test_listing_needs_no_torch():
    code = "import sys, robustseg.data as d; d.list_refs(); sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rendered_set_fits_on_its_train_split(tmp_path, make):
    for split in ("val", "train"):
        make.jpg(tmp_path / split / "images" / "000000.jpg", make.photo())
        make.png(tmp_path / split / "labels" / "000000.png", make.labels())
        (tmp_path / split / "meta.json").write_text("{}")
    assert fit_ref(f"street:{tmp_path}:val") == f"street:{tmp_path}:train"
    assert fit_ref(f"street:{tmp_path}:train") is None
    assert fit_ref(f"street:{tmp_path}/val") is None
