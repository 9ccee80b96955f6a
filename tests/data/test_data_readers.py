"""Every reader on a tiny fake of its data set, and the faults of its layout."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from robustseg.data import load_data
from robustseg.data.cityscapes import CLASSES as CITY
from robustseg.errors import UserError

SIZE = (24, 20)


def plane(value=0):
    return np.full(SIZE, value, dtype=np.uint8)


def with_box(value, base=0):
    """A plane of ``base`` with a 6x5 box of ``value``."""
    out = plane(base)
    out[2:8, 3:8] = value
    return out


# ---------------------------------------------------------------------------------------------- camvid


def test_camvid(tmp_path, make):
    for name in ("b", "a"):
        make.png(tmp_path / "test" / f"{name}.png", make.photo(*SIZE))
        make.png(tmp_path / "testannot" / f"{name}.png", with_box(8, base=11))
    data = load_data(f"camvid:{tmp_path}:test")
    assert data.ids == ("a", "b")
    assert data.classes[8] == "Car"
    assert len(data.classes) == 11
    sample = data[0]
    assert sample.labels.unique().tolist() == [8, 255]
    assert torch.equal(sample.instances, (sample.labels == 8).int())


def test_camvid_lists_the_splits_that_are_there(tmp_path):
    for name in ("train", "trainannot", "val", "valannot", "other"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"needs a split, as in camvid:PATH:test \(present: train, val\)"):
        load_data(f"camvid:{tmp_path}")
    with pytest.raises(UserError, match=r"no split 'test' \(present: train, val\)"):
        load_data(f"camvid:{tmp_path}:test")
    with pytest.raises(UserError, match="no images found"):
        load_data(f"camvid:{tmp_path}:val")


def test_missing_pairs_are_named_both_ways(tmp_path, make):
    make.png(tmp_path / "test" / "a.png", make.photo())
    make.png(tmp_path / "test" / "b.png", make.photo())
    make.png(tmp_path / "testannot" / "a.png", make.labels())
    with pytest.raises(UserError, match=r"missing pair: .*test/b\.png: image without label file in .*testannot"):
        load_data(f"camvid:{tmp_path}:test")
    (tmp_path / "test" / "b.png").unlink()
    make.png(tmp_path / "testannot" / "c.png", make.labels())
    make.png(tmp_path / "testannot" / "d.png", make.labels())
    with pytest.raises(UserError, match=r"missing pair: .*c\.png \(and 1 more\): label file without image"):
        load_data(f"camvid:{tmp_path}:test")


def test_one_image_in_two_formats_is_refused(tmp_path, make):
    make.png(tmp_path / "test" / "a.png", make.photo())
    make.jpg(tmp_path / "test" / "a.jpg", make.photo())
    make.png(tmp_path / "testannot" / "a.png", make.labels())
    with pytest.raises(UserError, match=r"a\.png: same name as a\.jpg"):
        load_data(f"camvid:{tmp_path}:test")


# ---------------------------------------------------------------------------------------------- cityscapes


@pytest.fixture
def cityscapes(tmp_path, make):
    for city, name in (("bonn", "bonn_000000_000019"), ("aachen", "aachen_000001_000019")):
        label = with_box(26, base=7)  # a car on the road
        label[20:] = 1  # ego vehicle
        label[0] = 34 - 1  # bicycle
        ids = label.astype(np.uint16)
        ids[2:8, 3:8] = 26_001
        ids[0] = 33  # a group of bicycles: no object
        make.png(tmp_path / "leftImg8bit/val" / city / f"{name}_leftImg8bit.png", make.photo(*SIZE))
        make.png(tmp_path / "gtFine/val" / city / f"{name}_gtFine_labelIds.png", label)
        make.png(tmp_path / "gtFine/val" / city / f"{name}_gtFine_instanceIds.png", ids)
        make.png(tmp_path / "gtFine/val" / city / f"{name}_gtFine_color.png", make.photo(*SIZE))
    return tmp_path


def test_cityscapes(cityscapes):
    data = load_data(f"cityscapes:{cityscapes}:val")
    assert data.ids == ("aachen_000001_000019", "bonn_000000_000019")
    assert data.things == ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    sample = data[1]
    assert sample.labels[0].unique().tolist() == [18]
    assert sample.labels[2:8, 3:8].unique().tolist() == [CITY.index("car")]
    assert sample.labels[20:].unique().tolist() == [255]
    assert sample.labels[10].unique().tolist() == [0]
    assert sample.instances.unique().tolist() == [0, 26_001]
    assert int((sample.instances > 0).sum()) == 30
    assert data.tasks == ("semantic", "instance", "panoptic")


def test_cityscapes_groups_are_crowds(cityscapes):
    """Things that nobody told apart carry their label id as instance value; they are neither hit nor missed."""
    from robustseg.tasks.truth import segments

    data = load_data(f"cityscapes:{cityscapes}:val")
    sample = data[1]
    found = segments(sample, [name in data.things for name in CITY], data.ignore)
    named = sorted(zip([CITY[c] for c in found.categories], found.crowd.tolist(), found.masks.sum((1, 2)).tolist()))
    row = SIZE[1]  # the first row is a group of bicycles, the last four are void
    assert named == [("bicycle", True, row), ("car", False, 30), ("road", False, 24 * row - 5 * row - 30)]


def test_cityscapes_without_instances_scores_classes_only(cityscapes):
    for path in cityscapes.rglob("*_instanceIds.png"):
        path.unlink()
    assert load_data(f"cityscapes:{cityscapes}:val").tasks == ("semantic",)


def test_cityscapes_files_that_do_not_belong_together(cityscapes, make):
    """A copy of the labels has no objects, and objects of another class are another set's: neither is scored."""
    labels, ids = (
        cityscapes / f"gtFine/val/bonn/bonn_000000_000019_gtFine_{kind}.png" for kind in ("labelIds", "instanceIds")
    )
    raw, numbers = (np.array(PIL.Image.open(path)) for path in (labels, ids))
    numbers[3, 4] = 24_001
    make.png(ids, numbers)
    with pytest.raises(UserError, match=r"instance 24001 is of label 24, but .* \(1 such pixels\)"):
        load_data(f"cityscapes:{cityscapes}:val")[1]
    make.png(ids, raw)
    with pytest.raises(UserError, match="is it a copy of"):
        load_data(f"cityscapes:{cityscapes}:val")[1]


def test_cityscapes_label_table_is_the_official_one():
    """Seven ids checked against cityscapesScripts' label list by hand, and what is void."""
    from robustseg.data.cityscapes import TRAIN_IDS

    assert {i: TRAIN_IDS[i] for i in (7, 8, 11, 17, 24, 26, 33)} == {7: 0, 8: 1, 11: 2, 17: 5, 24: 11, 26: 13, 33: 18}
    void = [i for i, train in TRAIN_IDS.items() if train == 255]
    assert void == [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255]
    assert sorted(t for t in TRAIN_IDS.values() if t != 255) == list(range(19))


def test_cityscapes_faults(cityscapes, make):
    with pytest.raises(UserError, match=r"no split 'test' \(present: val\)"):
        load_data(f"cityscapes:{cityscapes}:test")
    path = cityscapes / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    make.png(path, plane(77))
    with pytest.raises(UserError, match=r"bonn_000000_000019_gtFine_labelIds\.png: label value 77 in 480 pixels"):
        load_data(f"cityscapes:{cityscapes}:val")[1]
    path.unlink()
    with pytest.raises(UserError, match=r"missing pair: .*bonn_000000_000019_leftImg8bit.png"):
        load_data(f"cityscapes:{cityscapes}:val")


# ---------------------------------------------------------------------------------------------- ade20k


def test_ade20k(tmp_path, make):
    make.jpg(tmp_path / "images/validation/ADE_val_1.jpg", make.photo(*SIZE))
    make.png(tmp_path / "annotations/validation/ADE_val_1.png", with_box(13, base=0))
    data = load_data(f"ade20k:{tmp_path}:validation")
    assert (len(data.classes), len(data.things)) == (150, 100)
    assert data.classes[0] == "wall"
    assert data.classes[149] == "flag"
    assert set(data.things) < set(data.classes)
    sample = data[0]
    assert sample.labels.unique().tolist() == [data.classes.index("person"), 255]
    assert int((sample.instances == 1).sum()) == 30


# ---------------------------------------------------------------------------------------------- voc


@pytest.fixture
def voc(tmp_path, make):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    label = with_box(15)
    label[9] = 255
    objects = with_box(1)
    objects[9] = 255
    colours = np.random.default_rng(0).integers(0, 256, 768).tolist()
    for name in ("2007_000033", "2007_000042", "2007_000061"):
        make.jpg(root / "JPEGImages" / f"{name}.jpg", make.photo(*SIZE))
        make.png(root / "SegmentationClass" / f"{name}.png", label, palette=colours)
        make.png(root / "SegmentationObject" / f"{name}.png", objects, palette=colours)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000042\n2007_000033\n")
    return root


def test_voc(voc):
    for path in (voc, voc.parent, voc.parent.parent):
        data = load_data(f"voc:{path}:val")
        assert data.ids == ("2007_000042", "2007_000033")
    sample = data[0]
    assert data.classes[15] == "person"
    assert sample.labels.unique().tolist() == [0, 15, 255]
    assert sample.labels[9].unique().tolist() == [255]
    assert sample.instances.unique().tolist() == [0, 1]
    assert data.tasks == ("semantic", "instance")
    (voc / "SegmentationObject" / "2007_000033.png").unlink()
    assert load_data(f"voc:{voc}:val").tasks == ("semantic",)


def test_voc_faults(voc):
    with pytest.raises(UserError, match=r"no split 'train' \(present: val\)"):
        load_data(f"voc:{voc}:train")
    (voc / "SegmentationClass" / "2007_000033.png").unlink()
    with pytest.raises(UserError, match=r"missing pair: .*2007_000033\.png does not exist, but .*val\.txt lists it"):
        load_data(f"voc:{voc}:val")
    (voc.parent / "VOC2007" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no single Pascal VOC folder: .*VOC2007, .*VOC2012; name one"):
        load_data(f"voc:{voc.parent}:val")


# ---------------------------------------------------------------------------------------------- street


@pytest.fixture
def street(tmp_path, make):
    for split in ("train", "val"):
        root = tmp_path / split
        for index in range(2):
            name = f"{index:06d}"
            make.jpg(root / "images" / f"{name}.jpg", make.photo(*SIZE))
            make.png(root / "labels" / f"{name}.png", with_box(11))
            make.png(root / "instances" / f"{name}.png", with_box(1).astype(np.uint16) * 700)
            parts = with_box(1)
            parts[2, 3:8] = 2
            make.png(root / "parts" / f"{name}.png", parts)
        (root / "meta.json").write_text(json.dumps({"classes": list(CITY), "split": split}))
    return tmp_path


def test_street(street):
    data = load_data(f"street:{street}:val")
    assert data.ids == ("000000", "000001")
    assert data.classes == CITY
    sample = data[0]
    assert sample.instances.unique().tolist() == [0, 700]
    assert set(sample.regions) == {"clothing", "skin"}
    assert int(sample.regions["skin"].sum()) == 5
    assert int(sample.regions["clothing"].sum()) == 25
    assert torch.equal(sample.regions["skin"] | sample.regions["clothing"], sample.labels == 11)
    assert load_data(f"street:{street}/val").digest() == data.digest()


def test_street_faults(street):
    with pytest.raises(UserError, match=r"needs a split: .*:SPLIT, one of train, val"):
        load_data(f"street:{street}")
    (street / "val/instances/000001.png").unlink()
    with pytest.raises(UserError, match=r"missing pair: .*000001\.jpg: image without instances PNG"):
        load_data(f"street:{street}:val")
    (street / "train/meta.json").write_text('{"classes": ["road"]}')
    with pytest.raises(UserError, match=r"meta\.json: classes are not the 19 Cityscapes"):
        load_data(f"street:{street}:train")
    (street / "train/meta.json").unlink()
    with pytest.raises(UserError, match=r"meta\.json: cannot be read .*is this a rendered street folder"):
        load_data(f"street:{street}:train")
