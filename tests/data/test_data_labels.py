"""Label files: indices come out as they are, and every confusion is one line."""

import numpy as np
import pytest
from PIL import Image

from robustseg.data import labels as L
from robustseg.errors import UserError


def test_grey_values_are_indices(tmp_path, make):
    values = make.labels(classes=3)
    values[0, 0] = 255
    out = L.read_labels(make.png(tmp_path / "a.png", values), L.plain_code(3))
    assert out.dtype == np.int64
    assert np.array_equal(out, values)


def test_palette_files_are_read_as_indices_not_as_colours(tmp_path, make):
    values = make.labels(classes=3)
    path = make.png(tmp_path / "a.png", values, palette=[200, 0, 0, 0, 200, 0, 0, 0, 200])
    assert np.array_equal(L.read_labels(path, L.plain_code(3)), values)


@pytest.mark.parametrize(("depth", "packed"), [(1, 0b01100000), (2, 0b00011000), (4, None)])
def test_few_bits_are_not_stretched(tmp_path, make, depth, packed):
    """Pillow shows a 2-bit grey value of 1 as 85: labels would silently become other classes."""
    want = [0, 1, 1, 0] if depth == 1 else [0, 1, 2, 0]
    row = bytes([packed]) if packed is not None else bytes([0x01, 0x20])
    path = make.raw_png(tmp_path / "a.png", 4, 1, depth, 0, [row])
    assert L.read_labels(path, L.plain_code(3)).tolist() == [want]


def test_colour_coded_labels_are_a_palette_confusion(tmp_path, make):
    path = make.png(tmp_path / "a.png", make.photo())
    with pytest.raises(UserError, match=r"a\.png: .*palette confusion.*save it as a grey or palette PNG"):
        L.read_labels(path, L.plain_code(3))


def test_a_value_out_of_range_is_named_with_its_count(tmp_path):
    values = np.zeros((4, 5), dtype=np.uint8)
    values[0] = 37
    values[1, 0] = 30
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    message = r"a\.png: label value 37 in 5 pixels \(and 1 other such values\).*knows the values 0\.\.10, 255$"
    with pytest.raises(UserError, match=message):
        L.read_labels(path, L.plain_code(11))


def test_sixteen_bits_only_where_allowed(tmp_path):
    values = np.array([[0, 300]], dtype=np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    with pytest.raises(UserError, match=r"a\.png: label file has 16 bits a pixel, expected 8"):
        L.read_labels(path, L.plain_code(3))
    assert L.read_labels(path, L.plain_code(301, ignore=65535, void=(65535,), bits=16)).tolist() == [[0, 300]]
    assert L.read_ids(path).tolist() == [[0, 300]]


def test_reduce_zero_label(tmp_path, make):
    path = make.png(tmp_path / "a.png", np.array([[0, 1, 150]], dtype=np.uint8))
    assert L.read_labels(path, L.reduce_zero_label(150)).tolist() == [[255, 0, 149]]


def test_void_mask_takes_the_camera_car_out(tmp_path, make):
    ego = make.png(tmp_path / "ego.png", np.array([[0, 0], [0, 9]], dtype=np.uint8))
    path = make.png(tmp_path / "a.png", np.ones((2, 2), dtype=np.uint8))
    code = L.LabelCode({0: 0, 1: 1}, void_mask=ego)
    assert L.read_labels(path, code).tolist() == [[1, 1], [1, 255]]
    small = make.png(tmp_path / "b.png", np.ones((1, 2), dtype=np.uint8))
    with pytest.raises(UserError, match=r"ego\.png is 2x2, but .*b\.png is 1x2"):
        L.read_labels(small, code)


def test_black_and_white_masks_must_say_what_255_is(tmp_path, make):
    path = make.png(tmp_path / "a.png", np.array([[0, 255]], dtype=np.uint8))
    guarded = L.LabelCode({0: 0, 1: 1, 255: 255}, mask_guard=True)
    with pytest.raises(UserError, match=r'a\.png: only the values 0 and 255.*"values": \[0, 255\]'):
        L.read_labels(path, guarded)
    assert L.read_labels(path, L.LabelCode({0: 0, 255: 1})).tolist() == [[0, 1]]
    three = make.png(tmp_path / "b.png", np.array([[0, 1, 255]], dtype=np.uint8))
    assert L.read_labels(three, guarded).tolist() == [[0, 1, 255]]


def test_an_exif_rotation_is_never_applied_to_labels(tmp_path, make):
    values = make.labels(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(L.read_labels(tmp_path / "a.png", L.plain_code(3)), values)


def test_lossy_and_broken_label_files(tmp_path, make):
    lossy = make.jpg(tmp_path / "a.jpg", make.labels())
    with pytest.raises(UserError, match=r"a\.jpg: label file is not a readable PNG"):
        L.read_labels(lossy, L.plain_code(3))
    cut = make.png(tmp_path / "b.png", make.labels(60, 60, 200))
    cut.write_bytes(cut.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"b\.png: label file is broken or ends early"):
        L.read_labels(cut, L.plain_code(200))
    (tmp_path / "c.png").touch()
    with pytest.raises(UserError, match=r"c\.png: label file is empty"):
        L.read_labels(tmp_path / "c.png", L.plain_code(3))
