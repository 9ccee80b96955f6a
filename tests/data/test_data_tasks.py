"""Which tasks the truth of a set can score: true instances only, never connected components."""

import numpy as np
import pytest
import torch

from robustseg.data import load_data
from robustseg.errors import UserError

EVERY = ("semantic", "instance", "panoptic")


def test_the_bundled_streets_have_all_three():
    for split in ("val", "fit"):
        data = load_data(f"street:{split}")
        assert data.tasks == EVERY
        assert data.things == ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")


def test_components_are_no_instance_truth(tmp_path, make):
    """CamVid has objects for recall by size, and still scores no instances."""
    make.png(tmp_path / "test" / "a.png", make.photo(24, 20))
    make.png(tmp_path / "testannot" / "a.png", np.full((24, 20), 8, np.uint8))
    data = load_data(f"camvid:{tmp_path}:test")
    assert data[0].instances.max() == 1
    assert data.tasks == ("semantic",)


@pytest.mark.parametrize("kind", ["labels", "instances"])
def test_a_street_folder_is_as_able_as_its_files(tmp_path, make, kind):
    make.jpg(tmp_path / "images" / "000000.jpg", make.photo())
    make.png(tmp_path / "labels" / "000000.png", make.labels())
    if kind == "instances":
        make.png(tmp_path / "instances" / "000000.png", make.labels())
    (tmp_path / "meta.json").write_text("{}")
    assert load_data(f"street:{tmp_path}").tasks == (EVERY if kind == "instances" else ("semantic",))


def test_a_folder_needs_instances_and_things(tmp_path, make):
    make.png(tmp_path / "images" / "a.png", make.photo())
    make.png(tmp_path / "labels" / "a.png", make.labels(classes=2) + 1)
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b", "c"], "things": ["b"]}')
    assert load_data(f"folder:{tmp_path}").tasks == ("semantic",)
    make.png(tmp_path / "instances" / "a.png", make.labels())
    assert load_data(f"folder:{tmp_path}").tasks == EVERY
    (tmp_path / "classes.json").write_text('["a", "b", "c"]')
    assert load_data(f"folder:{tmp_path}").tasks == ("semantic",)


# --------------------------------------------------------------------------------------------- dsb2018


@pytest.fixture
def nuclei(tmp_path, make):
    for split, name, shape in (("test", "b", (24, 20)), ("test", "a", (30, 16)), ("train", "c", (24, 20))):
        ids = np.zeros(shape, np.uint16)
        ids[2:8, 3:8], ids[2:8, 8:12], ids[15:, :] = 1, 300, 2  # two that touch, and more than a byte
        make.png(tmp_path / split / f"{name}.png", make.photo(*shape))
        make.png(tmp_path / split / f"{name}_inst.png", ids)
    return tmp_path


def test_dsb2018(nuclei):
    data = load_data(f"dsb2018:{nuclei}:test")
    assert data.ids == ("a", "b")
    assert data.classes == ("background", "nucleus")
    assert data.things == ("nucleus",)
    assert data.tasks == EVERY
    first, second = data
    assert first.image.shape == (3, 30, 16)
    assert second.image.shape == (3, 24, 20)
    assert second.instances.unique().tolist() == [0, 1, 2, 300]
    assert torch.equal(second.labels, (second.instances > 0).long())
    small = load_data(data.ref, resize=(12, 10))
    assert torch.equal(small[1].instances, second.instances[1::2, 1::2])
    assert torch.equal(small[1].labels, second.labels[1::2, 1::2])
    assert small.digest() != data.digest()


def test_dsb2018_digest_holds_the_instances(nuclei, make):
    data = load_data(f"dsb2018:{nuclei}:test")
    before = data.digest()
    ids = data[0].instances.numpy().astype(np.uint16)
    ids[0, 0] = 9
    make.png(nuclei / "test" / "a_inst.png", ids)
    assert load_data(data.ref).digest() != before


def test_dsb2018_faults(nuclei, make):
    with pytest.raises(UserError, match=r"needs a split, as in dsb2018:PATH:test \(present: test, train\)"):
        load_data(f"dsb2018:{nuclei}")
    make.png(nuclei / "test" / "a_inst.png", np.zeros((30, 15), np.uint16))
    with pytest.raises(UserError, match=r"test/a\.png is 30x16, but .*a_inst\.png is 30x15; they must be equal"):
        load_data(f"dsb2018:{nuclei}:test")[0]
    (nuclei / "test" / "a_inst.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=r"a_inst\.png: instance file is"):
        load_data(f"dsb2018:{nuclei}:test")[0]
    (nuclei / "test" / "a_inst.png").unlink()
    with pytest.raises(UserError, match=r"missing pair: .*test/a\.png: image without ID_inst\.png"):
        load_data(f"dsb2018:{nuclei}:test")


def test_dsb2018_as_it_was_published(tmp_path, make):
    """A folder an image, a mask file a nucleus; where two masks share a pixel, the first keeps it."""
    for name, shape in (("b1", (24, 20)), ("a2", (30, 16))):
        make.png(tmp_path / "stage1_train" / name / "images" / f"{name}.png", make.photo(*shape))
        for k, (top, bottom) in enumerate([(0, 4), (3, 9), (20, 22)]):
            mask = np.zeros(shape, np.uint8)
            mask[top:bottom, 2:6] = 255
            make.png(tmp_path / "stage1_train" / name / "masks" / f"{k}.png", mask)
    data = load_data(f"dsb2018:{tmp_path}:stage1_train")
    assert data.ids == ("a2", "b1")
    values = data[1].instances
    assert [int((values == n).sum()) for n in range(1, 4)] == [16, 20, 8]
    assert torch.equal(data[1].labels, (values > 0).long())
    before = data.digest()
    wrong = make.png(tmp_path / "stage1_train" / "b1" / "masks" / "1.png", np.zeros((24, 19), np.uint8))
    assert load_data(data.ref).digest() != before
    with pytest.raises(UserError, match=r"b1\.png is 24x20, but .*masks/1\.png is 24x19"):
        data[1]
    for path in wrong.parent.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"b1: needs one picture in images/ and one or more in masks/"):
        load_data(data.ref)
    wrong.parent.rmdir()
    with pytest.raises(UserError, match=r"b1/masks does not exist"):
        load_data(data.ref)


def test_dsb2018_under_a_class_map(nuclei):
    data = load_data(f"dsb2018:{nuclei}:test", class_map={"nucleus": "cell", "background": "ignore"})
    assert data.classes == data.things == ("cell",)
    plain = load_data(data.ref)[0]
    assert torch.equal(data[0].labels, torch.where(plain.labels == 1, 0, 255))
    assert torch.equal(data[0].instances, plain.instances)


@pytest.mark.real
@pytest.mark.parametrize(("split", "images", "nuclei"), [("train", 110, 2991), ("test", 65, 4152)])
def test_dsb2018_as_it_is(shared_data, split, images, nuclei):
    data = load_data(f"dsb2018:{shared_data}/dsb2018:{split}")
    assert len(data) == images
    assert sum(len(sample.instances.unique()) - 1 for sample in data) == nuclei


@pytest.mark.real
def test_dsb2018_fits_on_its_training_images(shared_data):
    from robustseg.data import fit_ref

    other = fit_ref(f"dsb2018:{shared_data}/dsb2018:test")
    assert other == f"dsb2018:{shared_data}/dsb2018:train"
    assert not set(load_data(other).ids) & set(load_data(f"dsb2018:{shared_data}/dsb2018:test").ids)
