"""Decoding pictures: exact values for every kind, one line naming the file for every fault."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from robustseg.data.images import read_image
from robustseg.errors import UserError


def expected(values):
    return torch.from_numpy(np.asarray(values, dtype=np.float64)).permute(2, 0, 1).float()


def test_rgb_is_divided_by_255(tmp_path, make):
    values = make.photo()
    image = read_image(make.png(tmp_path / "a.png", values))
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert torch.equal(image, torch.from_numpy(values).permute(2, 0, 1) / 255)


def test_eight_bit_values_survive_a_round_trip(tmp_path, make):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3)
    image = read_image(make.png(tmp_path / "a.png", values))
    assert torch.equal((image * 255).round().byte().permute(1, 2, 0), torch.from_numpy(values))
    assert image.min() == 0
    assert image.max() == 1


def test_grey_becomes_three_equal_channels(tmp_path, make):
    values = make.labels(classes=256)
    image = read_image(make.png(tmp_path / "a.png", values))
    assert torch.equal(image, (torch.from_numpy(values) / 255).expand(3, -1, -1))


def test_alpha_is_dropped_and_nothing_is_blended(tmp_path, make):
    values = np.dstack([make.photo(), make.labels(classes=256)])
    image = read_image(make.png(tmp_path / "a.png", values))
    assert torch.equal(image, torch.from_numpy(values[..., :3].copy()).permute(2, 0, 1) / 255)
    grey = np.dstack([values[..., 0], values[..., 3]])
    image = read_image(make.png(tmp_path / "b.png", grey))
    assert torch.equal(image[1], torch.from_numpy(values[..., 0].copy()) / 255)


def test_palette_is_looked_up(tmp_path, make):
    index = make.labels(classes=3)
    colours = np.array([[255, 0, 0], [0, 128, 0], [7, 8, 9]])
    image = read_image(make.png(tmp_path / "a.png", index, palette=colours.ravel().tolist()))
    assert torch.equal(image, expected(colours[index]) / 255)


def test_one_bit_is_black_and_white(tmp_path, make):
    values = make.labels(classes=2).astype(bool)
    image = read_image(make.png(tmp_path / "a.png", values))
    assert torch.equal(image[0], torch.from_numpy(values).float())


def test_sixteen_bit_grey_is_divided_by_65535(tmp_path, make):
    values = np.array([[0, 1, 256, 65535]], dtype=np.uint16)
    image = read_image(make.png(tmp_path / "a.png", values))
    assert torch.equal(image, torch.from_numpy(values.astype(np.float32) / np.float32(65535)).expand(3, 1, 4))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4)])
def test_sixteen_bit_colour_keeps_its_low_byte(tmp_path, make, colour, channels):
    values = np.random.default_rng(1).integers(0, 65536, (3, 5, channels), dtype=np.uint16)
    rows = [row.astype(">u2").tobytes() for row in values]
    image = read_image(make.raw_png(tmp_path / "a.png", 5, 3, 16, colour, rows))
    assert torch.equal(image, torch.from_numpy(values[..., :3] / np.float32(65535)).permute(2, 0, 1))


def test_sixteen_bit_grey_with_alpha_is_refused(tmp_path, make):
    path = make.raw_png(tmp_path / "a.png", 1, 1, 16, 4, [b"\1\2\3\4"])
    with pytest.raises(UserError, match=r"a\.png: 16-bit grey image with alpha"):
        read_image(path)


@pytest.mark.parametrize(("tag", "turns"), [(3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_rotation_is_applied(tmp_path, make, tag, turns, suffix):
    values = np.zeros((16, 32, 3), dtype=np.uint8)
    values[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path, exif=exif)
    image = (read_image(path) > 0.5).float()
    assert torch.equal(image, expected(np.rot90(values, turns) / 255))


def test_cmyk_is_refused(tmp_path, make):
    path = tmp_path / "a.jpg"
    Image.fromarray(make.photo()).convert("CMYK").save(path)
    with pytest.raises(UserError, match=r"a\.jpg: CMYK image.*convert it to RGB"):
        read_image(path)


@pytest.mark.parametrize("mode", ["LAB", "F", "I"])
def test_other_colour_spaces_are_refused(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(UserError, match=rf"a\.tif: image mode '{mode}'"):
        read_image(path)


def test_sixteen_bit_colour_tiff_is_refused(tmp_path):
    """A 1x1 TIFF of three 16-bit samples, written by hand: Pillow would drop the low bytes."""
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 128), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6)]
    body = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path = tmp_path / "a.tif"
    path.write_bytes(body.ljust(128, b"\0") + struct.pack("<3H", 16, 16, 16) + b"\0" * 6 + b"\1\2\3\4\5\6")
    with pytest.raises(UserError, match=r"a\.tif: TIFF with 16-bit colour"):
        read_image(path)


def test_missing_empty_and_foreign_files(tmp_path):
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("not a picture")
    for path, what in ((tmp_path / "gone.png", "missing"), (empty, "0 bytes"), (text, "not a readable")):
        with pytest.raises(UserError, match=f"{path.name}: image .*{what}"):
            read_image(path)
    with pytest.raises(UserError, match="is no file"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, make, suffix, share):
    path = make.png(tmp_path / f"a.{suffix}", make.photo(40, 40))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"a\.{suffix}: image is "):
        read_image(path)


def test_truncated_files_even_where_pillow_was_told_to_be_lenient(tmp_path, make, monkeypatch):
    path = make.png(tmp_path / "a.png", make.photo(40, 40))
    path.write_bytes(path.read_bytes()[:-2000])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UserError, match="ends early"):
        read_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_flipped_byte_is_noticed(tmp_path, make):
    path = make.png(tmp_path / "a.png", make.photo(40, 40))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"a\.png: image is broken"):
        read_image(path)


@pytest.mark.parametrize("side", [9_001, 60_000])
@pytest.mark.filterwarnings("error")
def test_decompression_bombs_are_refused_by_their_header(tmp_path, make, side):
    path = make.raw_png(tmp_path / "a.png", side, side, 1, 0, [b"\0"])
    with pytest.raises(UserError, match=r"a\.png: image has .* pixels"):
        read_image(path)
