"""COCO's mask codes, bit for bit as the official mask tools decode them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg.data import rle

official = pytest.importorskip("pycocotools.mask")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(SIZES, st.integers(0, 9999), st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
def test_compressed_run_lengths_are_read_back(size, seed, share):
    mask = np.random.default_rng(seed).random(size) < share
    text = official.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(rle.from_counts(rle.read_text(text), size), mask)


@pytest.mark.parametrize("shift", range(0, 25, 4))
def test_long_runs_take_several_groups_of_bits(shift):
    """Runs of more than 5, 10, 15 and 20 bits, growing and shrinking, so that differences have both signs."""
    runs = [1 << shift, 3, 1 << min(shift, 12), 70_000, 1, 33, 5]
    size = (sum(runs), 1)
    text = official.frPyObjects({"counts": runs, "size": list(size)}, *size)["counts"].decode()
    assert rle.read_text(text).tolist() == runs


def test_run_lengths_go_down_the_columns_and_begin_with_zeros():
    assert rle.from_counts([0, 1, 3, 2], (2, 3)).astype(int).tolist() == [[1, 0, 1], [0, 0, 1]]
    assert not rle.from_counts([6], (2, 3)).any()


@settings(max_examples=300)
@given(
    SIZES,
    st.lists(st.tuples(st.floats(-20, 60, width=32), st.floats(-20, 60, width=32)), min_size=3, max_size=12),
    st.sampled_from([None, 1.0, 0.5, 0.1]),
)
def test_polygons_are_filled_as_the_official_tool_fills_them(size, corners, grid):
    """Any polygon: crossing itself, leaving the image, with repeated corners, on pixel centres and borders."""
    points = np.array(corners, dtype=np.float64).ravel()
    if grid is not None:
        points = np.round(points / grid) * grid
    wanted = official.decode(official.frPyObjects([points.tolist()], *size))[..., 0].astype(bool)
    assert np.array_equal(rle.from_polygon(points.tolist(), size), wanted)


def test_a_square_has_its_area():
    assert rle.from_polygon([2, 3, 7, 3, 7, 9, 2, 9], (20, 20)).sum() == 5 * 6


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, 4], r"the runs fill 7 pixels, but the mask has 2x3 = 6"),
        ([7], "no whole number from 0 to 6"),
        ([-1, 7], "no whole number"),
        ([10**30], "no whole number"),
        ([3, 3.0], "no whole number"),
        ([True, 5], "no whole number"),
        (["3", 3], "no whole number"),
        ([], "the runs fill 0 pixels"),
    ],
)
def test_run_lengths_that_fit_no_mask(counts, message):
    with pytest.raises(ValueError, match=message):
        rle.from_counts(counts, (2, 3))


@pytest.mark.parametrize("text", ["", "5 3", "\u0661", "5é", "o", "oooooooo0", "5p"])
def test_text_that_is_no_run_lengths(text):
    with pytest.raises(ValueError, match=r"run.length"):
        rle.read_text(text)


@pytest.mark.parametrize(
    "points",
    [[], [1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, 1e9, 0, 0, 1], [0, 0, float("nan"), 0, 0, 1], [0, 0, "1", 0, 0, 1],
     [0, 0, [1], 0, 0, 1], [0, 0, 10**400, 0, 0, 1], [-9e5, 0, 9e5, 0] * 3],
)  # fmt: skip
def test_polygons_that_are_none(points):
    with pytest.raises(ValueError, match="polygon"):
        rle.from_polygon(points, (4, 4))


@pytest.mark.real
@pytest.mark.parametrize("name", ["val_ccby/instances.json", "panoptic_sample/panoptic_coco_detection_format.json"])
def test_every_mask_of_the_real_samples(shared_data, name):
    found = json.loads((shared_data / "coco" / name).read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in found["images"]}
    kinds = set()
    for annotation in found["annotations"]:
        size, code = sizes[annotation["image_id"]], annotation["segmentation"]
        if isinstance(code, list):
            wanted = official.decode(official.merge(official.frPyObjects(code, *size)))
            mine = np.any([rle.from_polygon(points, size) for points in code], axis=0)
        elif isinstance(code["counts"], list):
            wanted = official.decode(official.frPyObjects(code, *size))
            mine = rle.from_counts(code["counts"], size)
        else:
            wanted = official.decode(code)
            mine = rle.from_counts(rle.read_text(code["counts"]), size)
        kinds.add(type(code).__name__ + type(code["counts"] if isinstance(code, dict) else 0).__name__)
        assert np.array_equal(mine, wanted.astype(bool)), annotation["id"]
    assert kinds == ({"listint", "dictlist"} if "ccby" in name else {"dictstr"})
