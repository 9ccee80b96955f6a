"""Regions: text -> the mask of each sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data import load_data
from robustseg.data.region import region
from robustseg.errors import UserError
from robustseg.types import Sample


@pytest.fixture
def data(tmp_path, make):
    for name in "ab":
        make.png(tmp_path / "test" / f"{name}.png", make.photo())
        make.png(tmp_path / "testannot" / f"{name}.png", make.labels(classes=11, seed=ord(name)))
    return load_data(f"camvid:{tmp_path}:test")


def test_classes_go_by_name(data):
    sample = data[0]
    assert torch.equal(region("class:car", data)(sample), sample.labels == 8)
    empty = replace(sample, labels=torch.zeros_like(sample.labels))
    assert not region("class:Car", data)(empty).any()
    with pytest.raises(UserError, match="region class:lorry: the data have no such class; they have Sky, Building"):
        region("class:lorry", data)


@given(st.integers(0, 10), st.integers(0, 99))
def test_the_class_regions_are_a_partition(index, seed):
    from robustseg.data.camvid import CLASSES

    class Names:
        classes = CLASSES

    labels = torch.randint(0, 11, (5, 7), generator=torch.Generator().manual_seed(seed))
    labels[0, 0] = 255
    sample = Sample("x", torch.zeros(3, 5, 7), labels)
    masks = torch.stack([region(f"class:{name}", Names())(sample) for name in CLASSES])
    assert torch.equal(masks.sum(0) == 1, labels != 255)
    assert torch.equal(masks[index], labels == index)


def test_instances(data):
    sample = replace(data[0], instances=torch.tensor([[0, 3], [3, 7]], dtype=torch.int32))
    assert region("instance:3", data)(sample).tolist() == [[False, True], [True, False]]
    assert not region("instance:4", data)(sample).any()
    for text in ("instance:0", "instance:x", "instance:-1"):
        with pytest.raises(UserError, match="an instance is a number from 1 on"):
            region(text, data)
    with pytest.raises(UserError, match=r"image a of camvid.* has no instances"):
        region("instance:1", data)(replace(sample, instances=None))


def test_clothing(data):
    mask = torch.tensor([[True, False]])
    sample = replace(data[0], regions={"clothing": mask})
    assert torch.equal(region("clothing", data)(sample), mask)
    with pytest.raises(UserError, match="has no clothing masks"):
        region("clothing", data)(data[0])


def test_one_mask_file_for_all(data, tmp_path, make):
    values = make.labels(classes=2) * 200
    path = make.png(tmp_path / "mask.png", values)
    for sample in data:
        assert torch.equal(region(str(path), data)(sample), torch.from_numpy(values > 0))
    wrong = make.png(tmp_path / "wrong.png", values[:, :-1])
    with pytest.raises(UserError, match=r"wrong\.png: mask is 6x7 \(HxW\), but image a is 6x8"):
        region(str(wrong), data)(data[0])


def test_a_folder_of_masks(data, tmp_path, make):
    values = make.labels(classes=2)
    make.png(tmp_path / "masks" / "a.png", values)
    mask = region(str(tmp_path / "masks"), data)
    assert torch.equal(mask(data[0]), torch.from_numpy(values > 0))
    assert mask(data[1]).shape == (6, 8)
    assert not mask(data[1]).any()


def test_masks_are_resized_with_the_data(tmp_path, make, data):
    small = load_data(data.ref, resize=(3, 4))
    values = np.kron(np.array([[0, 1, 0, 1]] * 3), np.ones((2, 2))).astype(np.uint8)
    path = make.png(tmp_path / "mask.png", values)
    assert region(str(path), small)(small[0]).tolist() == [[False, True, False, True]] * 3


def test_text_without_meaning(data):
    with pytest.raises(
        UserError, match=r"region 'nowhere\.png' is neither a file .* nor one of: a mask FILE, .*class:NAME"
    ):
        region("nowhere.png", data)
