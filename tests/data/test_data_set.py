"""The data set itself: lazy, hashable by content, the same under every name."""

import shutil

import pytest
import torch
from PIL import Image

from robustseg.data import load_data
from robustseg.errors import UserError
from robustseg.types import DataSet


@pytest.fixture
def root(tmp_path, make):
    for seed, name in enumerate("abc"):
        make.png(tmp_path / "set" / "test" / f"{name}.png", make.photo(24, 30, seed))
        make.png(tmp_path / "set" / "testannot" / f"{name}.png", make.labels(24, 30, 11, seed))
    return tmp_path / "set"


def test_it_is_what_types_asks_for(root):
    data = load_data(f"camvid:{root}:test")
    assert isinstance(data, DataSet)
    assert data.ref == f"camvid:{root}:test"
    assert [s.id for s in data] == ["a", "b", "c"]
    assert data[-1].id == "c"
    with pytest.raises(IndexError):
        data[3]


def test_ids_need_no_decoding(root):
    """Files of nonsense still have ids; the fault is told when the image is asked for, with its name."""
    for path in root.glob("*/b.png"):
        path.write_bytes(b"nonsense")
    data = load_data(f"camvid:{root}:test")
    assert data.ids == ("a", "b", "c")
    assert data[0].id == "a"
    with pytest.raises(UserError, match=r"test/b\.png: image is not a readable"):
        data[1]


def test_the_digest_is_of_the_content(root, tmp_path):
    first = load_data(f"camvid:{root}:test").digest()
    assert len(first) == 16
    shutil.copytree(root, tmp_path / "copy")
    assert load_data(f"camvid:{tmp_path}/copy:test").digest() == first


@pytest.mark.parametrize("name", ["test/b.png", "testannot/b.png"])
def test_one_changed_pixel_changes_the_digest(root, name):
    first = load_data(f"camvid:{root}:test").digest()
    with Image.open(root / name) as picture:
        copy = picture.copy()
    old = copy.getpixel((0, 0))
    copy.putpixel((0, 0), (old + 1) % 11 if isinstance(old, int) else (old[0] ^ 1, *old[1:]))
    copy.save(root / name)
    assert load_data(f"camvid:{root}:test").digest() != first


def test_names_and_ways_of_reading_change_the_digest(root):
    ref = f"camvid:{root}:test"
    digests = [
        load_data(ref).digest(),
        load_data(ref, resize=(12, 15)).digest(),
        load_data(ref, resize=(15, 12)).digest(),
        load_data(ref, class_map={"Sky": "ignore"}).digest(),
        load_data(ref, class_map={"Sky": "Air"}).digest(),
    ]
    for path in root.glob("*/b.png"):
        path.rename(path.with_name("bb.png"))
    digests.append(load_data(ref).digest())
    assert len(set(digests)) == len(digests)


def test_what_a_class_map_merges_changes_the_digest(root):
    """Both maps leave the same names in the same order."""
    ref, common = f"camvid:{root}:test", {"Sky": "x", "Building": "y"}
    one, two = (load_data(ref, class_map={**common, "Pole": name}) for name in "xy")
    assert one.classes == two.classes
    assert one.digest() != two.digest()


def test_swapped_labels_change_the_digest(root):
    first = load_data(f"camvid:{root}:test").digest()
    a, b = root / "testannot/a.png", root / "testannot/b.png"
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    assert load_data(f"camvid:{root}:test").digest() != first


def test_a_limit_shows_fewer_images_under_the_same_digest(root):
    data = load_data(f"camvid:{root}:test")
    two = data.subset(2)
    assert len(two) == 2
    assert two.ids == ("a", "b")
    assert [s.id for s in two] == ["a", "b"]
    assert two.digest() == data.digest()
    assert two.subset(None).ids == data.ids
    assert data.subset(99).ids == data.ids
    with pytest.raises(IndexError):
        two[2]
    with pytest.raises(UserError, match="limit of 0 images leaves nothing"):
        data.subset(0)


def test_a_file_that_went_away_is_named(root):
    data = load_data(f"camvid:{root}:test")
    (root / "testannot/c.png").unlink()
    with pytest.raises(UserError, match=r"c\.png: cannot be read"):
        data.digest()


def test_size_mismatch_names_both_files(root, make):
    make.png(root / "testannot/b.png", make.labels(24, 29))
    with pytest.raises(UserError, match=r"test/b\.png is 24x30, but .*testannot/b\.png is 24x29; they must be equal$"):
        load_data(f"camvid:{root}:test")[1]


def test_a_rotated_image_beside_its_unrotated_labels(root, make):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make.photo(24, 30)).save(root / "test/b.png", exif=exif)
    with pytest.raises(UserError, match=r"is 30x24, but .* is 24x30; .*turned by their EXIF tag, labels never"):
        load_data(f"camvid:{root}:test")[1]


def test_resize_changes_image_and_truth_together(root):
    plain = load_data(f"camvid:{root}:test")[0]
    small = load_data(f"camvid:{root}:test", resize="12x10")[0]
    assert small.image.shape == (3, 12, 10)
    assert small.labels.shape == small.instances.shape == (12, 10)
    assert torch.equal(small.labels, plain.labels[1::2][:, 1::3])
    assert torch.equal(small.instances, plain.instances[1::2][:, 1::3])


def test_a_class_map_merges_and_ignores(root):
    plain = load_data(f"camvid:{root}:test")
    merged = load_data(f"camvid:{root}:test", class_map={"car": "vehicle", "Bicyclist": "vehicle", "Sky": "ignore"})
    assert merged.classes == (
        "Building", "Pole", "Road", "Sidewalk", "Tree", "Sign", "Fence", "vehicle", "Pedestrian",
    )  # fmt: skip
    assert merged.things == ("vehicle", "Pedestrian")
    old, new = plain[0].labels, merged[0].labels
    assert torch.equal(new == 255, old == 0)
    assert torch.equal(new == 7, (old == 8) | (old == 10))
    assert torch.equal(new == 0, old == 1)
    assert load_data(plain.ref, class_map={"Car": "x", "Road": "x"}).things == ("Pedestrian", "Bicyclist")


def test_samples_are_the_same_every_time(root):
    data = load_data(f"camvid:{root}:test", resize=(7, 9))
    first, second = data[1], data[1]
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.labels, second.labels)
    first.image.zero_()
    assert data[1].image.any()
