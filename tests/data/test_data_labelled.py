"""Images with one label each: folders of classes, and crops of street scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from robustseg.data import load_data
from robustseg.data.street_crops import CLASSES, boxes, crops
from robustseg.errors import UserError
from robustseg.types import Sample


@pytest.fixture
def pets(tmp_path, make):
    """Two classes, one of them nested, images of two sizes."""
    make.png(tmp_path / "dog" / "b.png", make.photo(6, 8, 1))
    make.png(tmp_path / "cat" / "small" / "a.png", make.photo(4, 4, 2))
    make.jpg(tmp_path / "cat" / "c.jpg", make.photo(6, 8, 3))
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_folders_name_the_classes(pets, make):
    data = load_data(f"imagefolder:{pets}")
    assert data.classes == ("cat", "dog")
    assert data.ids == ("cat__c", "cat__small__a", "dog__b")
    assert (data.task, data.tasks) == ("classification", ("classification",))
    labels = [data[i].labels for i in range(3)]
    assert [tuple(x.shape) for x in labels] == [(1, 1)] * 3
    assert [int(x) for x in labels] == [0, 0, 1]
    assert torch.equal(data[2].image, torch.from_numpy(make.photo(6, 8, 1)).permute(2, 0, 1) / 255)


def test_resizing_leaves_the_label_alone(pets):
    data = load_data(f"imagefolder:{pets}", resize="5x7")
    assert {tuple(data[i].image.shape) for i in range(3)} == {(3, 5, 7)}
    assert tuple(data[1].labels.shape) == (1, 1)
    assert data.digest() != load_data(f"imagefolder:{pets}").digest()


def test_the_digest_knows_the_label_but_no_path(pets, tmp_path_factory):
    before = load_data(f"imagefolder:{pets}").digest()
    other = tmp_path_factory.mktemp("copy") / "pets"
    pets.rename(other)
    assert load_data(f"imagefolder:{other}").digest() == before
    assert load_data(f"imagefolder:{other}").subset(1).digest() == before
    (other / "dog" / "c.jpg").write_bytes((other / "cat" / "c.jpg").read_bytes())
    (other / "cat" / "c.jpg").unlink()
    assert load_data(f"imagefolder:{other}").digest() != before


def test_a_class_map_merges_and_ignores(pets):
    data = load_data(f"imagefolder:{pets}", class_map={"cat": "animal", "dog": "animal"})
    assert data.classes == ("animal",)
    assert [int(data[i].labels) for i in range(3)] == [0, 0, 0]
    data = load_data(f"imagefolder:{pets}", class_map={"cat": "ignore"})
    assert [int(data[i].labels) for i in range(3)] == [255, 255, 0]


def test_splits_are_never_mixed(pets, tmp_path):
    root = tmp_path.parent / f"{tmp_path.name}-split"
    root.mkdir()
    pets.rename(root / "val")
    with pytest.raises(UserError, match=r"needs a split, as in imagefolder:PATH \(present: val\)"):
        load_data(f"imagefolder:{root}")
    assert len(load_data(f"imagefolder:{root}:val")) == 3
    with pytest.raises(UserError, match="train does not exist"):
        load_data(f"imagefolder:{root}:train")


def test_faults_are_one_line_that_names_the_file(pets, make):
    (pets / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=r"dog/broken\.png: image is"):
        load_data(f"imagefolder:{pets}")[3]
    (pets / "dog" / "broken.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"dog/broken\.png: image is empty"):
        load_data(f"imagefolder:{pets}")[3]
    make.png(pets / "loose.png", make.photo())
    with pytest.raises(UserError, match=r"loose\.png: lies in no class folder"):
        load_data(f"imagefolder:{pets}")
    with pytest.raises(UserError, match="no pictures in folders of classes"):
        load_data(f"imagefolder:{pets / 'empty'}")
    with pytest.raises(UserError, match="does not exist"):
        load_data(f"imagefolder:{pets / 'absent'}")


# ---------------------------------------------------------------------------------------------- crops

STREET = ("road", "car", "person", "building", "vegetation", "traffic light", "traffic sign")
ROAD, CAR, PERSON, BUILDING = range(4)


def scene(*objects, size=(100, 200)) -> Sample:
    """A road with rectangles ``(class, top, left, height, width)``; cars and people are objects."""
    labels = torch.zeros(size, dtype=torch.int64)
    instances = torch.zeros(size, dtype=torch.int32)
    for number, (c, top, left, height, width) in enumerate(objects, start=1):
        labels[top : top + height, left : left + width] = c
        instances[top : top + height, left : left + width] = number if c in (CAR, PERSON) else 0
    return Sample("s", torch.zeros(3, *size), labels, instances)


def test_a_square_around_an_object_by_hand():
    # 20 x 30: the longer side and a tenth of it on both sides, 36, centred on (50, 115)
    assert list(boxes(scene((CAR, 40, 100, 20, 30)), STREET)) == [("car", (32, 97, 36))]
    # at the corner the square moves inside
    assert list(boxes(scene((CAR, 0, 0, 20, 30)), STREET)) == [("car", (0, 0, 36))]
    assert list(boxes(scene((CAR, 80, 170, 20, 30)), STREET)) == [("car", (64, 164, 36))]


def test_what_is_no_crop():
    assert not list(boxes(scene((CAR, 40, 100, 9, 11)), STREET))  # 99 pixels
    assert not list(boxes(scene((CAR, 40, 100, 15, 15)), STREET))  # no side of 16
    assert list(boxes(scene((CAR, 40, 100, 10, 16)), STREET))
    assert not list(
        boxes(scene((PERSON, 20, 100, 50, 2)), STREET)
    )  # 100 of 3600 pixels: nobody could say what is shown
    # a person before a car: in the square around the person the car is larger
    both = list(boxes(scene((CAR, 30, 60, 40, 80), (PERSON, 40, 90, 24, 8)), STREET))
    assert [name for name, _ in both] == ["car"]


def test_squares_inside_a_building():
    found = list(boxes(scene((BUILDING, 0, 0, 41, 200)), STREET))
    assert [name for name, _ in found] == ["building"] * 2
    (t1, l1, s1), (t2, l2, s2) = (box for _, box in found)
    assert s1 == s2 == 41
    assert t1 == t2 == 0
    assert abs(l1 - l2) >= 41  # the second lies outside the first
    assert not list(boxes(scene((BUILDING, 0, 0, 15, 200)), STREET))


@pytest.fixture(scope="module")
def few():
    return load_data("street:fit").subset(3)


def test_stuff_crops_show_nothing_else_and_objects_enough(few):
    seen = set()
    for i in range(len(few)):
        sample = few[i]
        for name, (top, left, side) in boxes(sample, few.classes):
            assert 0 <= top <= 256 - side
            assert 0 <= left <= 512 - side
            here = sample.labels[top : top + side, left : left + side] == few.classes.index(name)
            seen.add(name)
            assert here.all() if name in ("building", "vegetation") else here.float().mean() > 0.05
    assert {"car", "building"} <= seen <= set(CLASSES)


def test_ids_and_pixels_are_always_the_same(few):
    data, wide = crops(few), crops(few, margin=0.4, size=(80, 80))
    assert data.ids == wide.ids == crops(few).ids
    assert data.digest() == crops(few).digest() != wide.digest()
    assert len(set(data.ids)) == len(data) > 10
    first, last = data[0], data[len(data) - 1]
    assert tuple(first.image.shape) == (3, 64, 64)
    assert torch.equal(data[0].image, first.image)  # also after another scene was read
    box = data.pairs[-1].box
    native = replace(data, size=(box[2], box[2]))[len(data) - 1]
    cut = few[2].image[:, box[0] : box[0] + box[2], box[1] : box[1] + box[2]]
    assert torch.equal(native.image, cut)
    assert last.id.startswith(few.ids[2])
    assert data.classes[int(last.labels)].replace(" ", "_") == last.id.split("-")[2]


def test_people_bring_their_clothing(few):
    data = crops(few)
    people = [data[i] for i, p in enumerate(data.pairs) if data.classes[p.label] == "person"]
    assert any(bool(s.regions["clothing"].any()) for s in people)
    assert all(tuple(s.regions["clothing"].shape) == (64, 64) for s in people)


def test_the_bundled_crops():
    data = load_data("street-crops:fit")
    assert data.ref == "street-crops:fit"
    counts = np.bincount([p.label for p in data.pairs], minlength=len(CLASSES))
    assert counts.min() >= 5
    assert len(data) > 400


def test_crops_are_fitted_on_other_crops():
    from robustseg.data import fit_ref

    assert fit_ref("street-crops:val") == "street-crops:fit"
