"""The generic folder: both nestings, every key of classes.json, and its faults."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data import load_data
from robustseg.data.layout import safe_id
from robustseg.errors import UserError


def write(root, make, names=("a", "b"), values=None, classes="sky\nroad\n\n# a comment\ncar\n"):
    for seed, name in enumerate(names):
        make.png(root / "images" / f"{name}.png", make.photo(seed=seed))
        make.png(root / "labels" / f"{name}.png", make.labels(seed=seed) if values is None else values)
    if classes is not None:
        (root / "classes.txt").write_text(classes)
    return root


def about(root, **keys):
    (root / "classes.txt").unlink(missing_ok=True)
    (root / "classes.json").write_text(json.dumps(keys))


def test_plain(tmp_path, make):
    data = load_data(f"folder:{write(tmp_path, make)}")
    assert data.classes == ("sky", "road", "car")
    assert data.ids == ("a", "b")
    assert torch.equal(data[1].labels, torch.from_numpy(make.labels(seed=1)).long())
    assert data[1].instances is None


@pytest.mark.parametrize("nesting", ["images/val", "val/images"])
def test_both_nestings_of_splits(tmp_path, make, nesting):
    make.png(tmp_path / nesting / "x.png", make.photo())
    make.png(tmp_path / nesting.replace("images", "labels") / "x.png", make.labels())
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    assert load_data(f"folder:{tmp_path}:val")[0].labels.shape == (6, 8)
    with pytest.raises(UserError, match=r"needs a split, as in folder:.*:val \(present: val\)"):
        load_data(f"folder:{tmp_path}")
    with pytest.raises(UserError, match=r"no split 'test' \(present: val\)"):
        load_data(f"folder:{tmp_path}:test")


def test_ids_of_nested_images_hold_no_separators(tmp_path, make):
    write(tmp_path, make, names=("ward1/p 1", "ward2/p 1", "ward2/deep/x..y"))
    data = load_data(f"folder:{tmp_path}")
    assert data.ids == ("ward1__p 1", "ward2__deep__x..y", "ward2__p 1")
    out = tmp_path / "out"
    assert all((out / name).resolve().parent == out.resolve() for name in data.ids)


@given(st.text(min_size=1, max_size=12))
def test_no_name_escapes_an_output_folder(name):
    made = safe_id(name)
    assert made not in ("", ".", "..")
    assert not set(made) & set("/\\\0\n:*?")
    assert Path("out", made).parent == Path("out")


def test_colliding_ids_are_refused(tmp_path, make):
    write(tmp_path, make, names=("w/a", "w__a"))
    with pytest.raises(UserError, match="two images have the id 'w__a'"):
        load_data(f"folder:{tmp_path}")


def test_hidden_files_are_left_out(tmp_path, make):
    write(tmp_path, make)
    (tmp_path / "images" / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"")
    assert load_data(f"folder:{tmp_path}").ids == ("a", "b")


def test_links_to_data_elsewhere_are_followed(tmp_path, make):
    write(tmp_path / "real", make)
    (tmp_path / "link").mkdir()
    for name in ("images", "labels", "classes.txt"):
        (tmp_path / "link" / name).symlink_to(tmp_path / "real" / name)
    real, link = (load_data(f"folder:{tmp_path / name}") for name in ("real", "link"))
    assert link.ids == real.ids
    assert link.digest() == real.digest()


def test_images_alone_have_no_truth(tmp_path, make):
    make.jpg(tmp_path / "images" / "a.jpg", make.photo())
    data = load_data(f"folder:{tmp_path}")
    assert data.classes == ()
    assert data[0].labels is None
    assert data[0].instances is None


@pytest.mark.parametrize("other", ["labels", "train/labels"])
def test_a_split_without_labels_beside_labelled_ones_is_a_fault(tmp_path, make, other):
    make.png(tmp_path / "val" / "images" / "a.png", make.photo())
    assert load_data(f"folder:{tmp_path}:val")[0].labels is None
    (tmp_path / other).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"val/labels: missing for split 'val', but .*{other} is there"):
        load_data(f"folder:{tmp_path}:val")


def test_every_key_of_the_class_file(tmp_path, make):
    values = np.array([[0, 10, 20, 99]] * 8, dtype=np.uint16)
    write(tmp_path, make, names=())
    make.png(tmp_path / "images" / "a.png", make.photo(8, 4))
    make.png(tmp_path / "labels" / "a.png", values)
    ego = np.zeros((8, 4), dtype=np.uint8)
    ego[-1] = 255
    make.png(tmp_path / "ego.png", ego)
    about(
        tmp_path, classes=["sky", "road", "car"], values=[20, 0, 10], ignore=99, bits=16, things=["car"],
        void_mask="ego.png",
    )  # fmt: skip
    sample = load_data(f"folder:{tmp_path}")[0]
    assert sample.labels[0].tolist() == [1, 2, 0, 255]
    assert sample.labels[-1].tolist() == [255] * 4
    assert sample.instances.sum() == 0  # seven pixels of car: a speck, no object


def test_reduce_zero_label_key(tmp_path, make):
    write(tmp_path, make, names=("a",), values=np.tile(np.array([0, 1, 2, 0], dtype=np.uint8), (6, 2)))
    about(tmp_path, classes=["x", "y"], reduce_zero_label=True)
    assert load_data(f"folder:{tmp_path}")[0].labels[0, :4].tolist() == [255, 0, 1, 255]


def test_several_void_values(tmp_path, make):
    write(tmp_path, make, names=("a",), values=np.tile(np.array([0, 1, 7, 9], dtype=np.uint8), (6, 2)))
    about(tmp_path, classes=["x", "y"], ignore=[7, 9])
    assert load_data(f"folder:{tmp_path}")[0].labels[0, :4].tolist() == [0, 1, 255, 255]


def test_instance_files_are_read_where_they_are(tmp_path, make):
    write(tmp_path, make, names=("a",))
    ids = np.zeros((6, 8), dtype=np.uint16)
    ids[2] = 40_000
    make.png(tmp_path / "instances" / "a.png", ids)
    assert load_data(f"folder:{tmp_path}")[0].instances.unique().tolist() == [0, 40_000]
    make.png(tmp_path / "instances" / "a.png", ids[:, :4])
    with pytest.raises(UserError, match=r"images/a\.png is 6x8, but .*instances/a\.png is 6x4"):
        load_data(f"folder:{tmp_path}")[0]


def test_black_and_white_masks_ask_what_255_means(tmp_path, make):
    mask = np.where(make.labels(classes=2) > 0, 255, 0).astype(np.uint8)
    write(tmp_path, make, names=("a",), values=mask, classes="background\npolyp\n")
    with pytest.raises(UserError, match=r"labels/a\.png: only the values 0 and 255"):
        load_data(f"folder:{tmp_path}")[0]
    about(tmp_path, classes=["background", "polyp"], values=[0, 255])
    assert torch.equal(load_data(f"folder:{tmp_path}")[0].labels, torch.from_numpy(mask // 255).long())


def test_more_than_255_classes(tmp_path, make):
    values = np.tile(np.array([[0, 299, 255, 65535]], dtype=np.uint16), (6, 2))
    write(tmp_path, make, names=("a",), values=values)
    about(tmp_path, classes=[f"c{i}" for i in range(300)], bits=16)
    data = load_data(f"folder:{tmp_path}", class_map={"c299": "last"})
    assert data.ignore == 65535
    assert data[0].labels[0, :4].tolist() == [0, 299, 255, 65535]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classes": ["a", "a"]}, "class 'a' is named twice"),
        ({"classes": []}, "one or more names"),
        ({"classes": ["a", 3]}, "one or more names"),
        ({"names": ["a"]}, 'needs {"classes"'),
        ({"classes": ["a"], "ingore": 3}, "unknown key 'ingore'; the keys are classes, ignore"),
        ({"classes": ["a", "b"], "values": 3}, '"values" must be a list'),
        ({"classes": ["a", "b"], "void_mask": 3}, '"void_mask" must be a str'),
        ({"classes": ["a", "b"], "values": [1]}, '"values" needs one different file value'),
        ({"classes": ["a", "b"], "values": [1, 1]}, '"values" needs one different file value'),
        ({"classes": ["a", "b"], "values": [1, 300]}, "300 is no pixel value from 0 to 255"),
        ({"classes": ["a", "b"], "ignore": "void"}, '"ignore" must be a int or list'),
        ({"classes": ["a", "b"], "bits": 12}, '"bits" is 8 or 16'),
        ({"classes": ["a", "b"], "things": ["c"]}, "thing 'c' is none of the classes"),
    ],
)
def test_faults_of_the_class_file(tmp_path, make, keys, message):
    write(tmp_path, make)
    about(tmp_path, **keys)
    with pytest.raises(UserError, match=rf"classes\.json: .*{message}"):
        load_data(f"folder:{tmp_path}")


def test_other_faults(tmp_path, make):
    with pytest.raises(UserError, match=r"no folder .*images; put the images there"):
        load_data(f"folder:{tmp_path}")
    write(tmp_path, make, classes=None)
    with pytest.raises(UserError, match=r"classes\.txt: missing"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "classes.json").write_text("[sky")
    with pytest.raises(UserError, match=r"classes\.json: not valid JSON"):
        load_data(f"folder:{tmp_path}")


def test_a_list_is_a_class_file_too(tmp_path, make):
    write(tmp_path, make, classes=None)
    (tmp_path / "classes.json").write_text('["x", "y", "z"]')
    assert load_data(f"folder:{tmp_path}").classes == ("x", "y", "z")
