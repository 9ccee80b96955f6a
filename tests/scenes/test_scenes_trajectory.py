"""Frames before a billboard: mask, light and texture against the plane's own geometry."""

import json

import numpy as np
import pytest

from robustseg.errors import UserError
from robustseg.scenes import probe
from robustseg.scenes.scene import VOID
from robustseg.scenes.tone import display, to_bytes, to_linear
from robustseg.scenes.trajectory import checked, trajectory, window_around

SIZE = (64, 128)
SITE = {"kind": "truck", "seed": 0, "poses": 2, "size": SIZE}
GREY = np.full((2, 2, 3), 0.6, np.float32)


@pytest.fixture(scope="module")
def frames(mitsuba):
    return trajectory(**SITE)


@pytest.fixture(scope="module")
def grey(mitsuba):
    return trajectory(**SITE, texture=GREY, light=False)


def place_on_board(frame):
    """Where the ray of each pixel centre meets the board: (h,w) fractions from the left and from the top, and z."""
    h, w = frame.label.shape
    y, x = np.mgrid[0:h, 0:w] + 0.5
    R, t = frame.T_cw[:3, :3], frame.T_cw[:3, 3]
    tl, tr, _, bl = frame.board.corners @ R.T + t
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(frame.K).T
    n = np.cross(tr - tl, bl - tl)
    z = (tl @ n) / (rays @ n)
    p = rays * z[..., None] - tl
    e, f = tr - tl, bl - tl
    return p @ e / (e @ e), p @ f / (f @ f), z


def test_the_mask_is_the_projected_board_and_void(frames):
    for frame in frames:
        u, v, z = place_on_board(frame)
        quad = (u > 0) & (u < 1) & (v > 0) & (v < 1)
        mask = frame.board_mask
        assert mask.sum() > 60
        assert not (mask & ~quad).any()
        assert mask.sum() > 0.95 * quad.sum()  # nothing stands before the truck's doors
        assert (frame.label[mask] == VOID).all()
        assert np.allclose(frame.depth_z[mask], z[mask], atol=1e-3)


def test_the_picture_is_the_tone_curve_of_the_exposed_light(frames):
    for frame in frames:
        assert np.array_equal(frame.rgb, to_bytes(display(frame.exposed)))


def error(seen, guess):
    return float(np.sqrt(np.mean((display(seen) - display(guess)) ** 2)))


def test_calibrated_light_foretells_another_texture(frames, grey):
    a = to_linear(GREY[0, 0])
    for frame, real in zip(frames, grey, strict=True):
        m = frame.board_mask
        right = error(real.exposed[m], (frame.dark + frame.gain * a)[m])
        assert right < 0.03
        assert error(real.exposed[m], (frame.dark + frame.gain * GREY[0, 0])[m]) > 3 * right  # sRGB taken for light
        assert error(real.exposed[m], frame.exposed[m]) > 3 * right
        assert np.abs(display(real.exposed) - display(frame.exposed))[~m].mean() < 0.01  # all else stays


def test_far_from_the_board_calibration_changes_nothing(frames):
    frame = frames[0]
    top, bottom, left, right = window_around(frame.board_mask)
    outside = np.ones(SIZE, bool)
    outside[top:bottom, left:right] = False
    assert outside.any()
    assert (frame.gain[outside] == 0).all()
    assert np.array_equal(frame.dark[outside], frame.exposed[outside])
    assert (frame.gain[frame.board_mask].mean(-1) > 0.02).all()


def test_a_texture_hangs_the_right_way_round(mitsuba):
    texture = np.zeros((2, 4, 3), np.float32)
    texture[0, :2, 0] = texture[0, 2:, 1] = texture[1, :2, 2] = 1.0
    texture[1, 2:] = 1.0
    frame = trajectory(**SITE, texture=texture.repeat(16, 0).repeat(16, 1), light=False)[1]
    u, v, _ = place_on_board(frame)
    colour = lambda right, low: frame.exposed[  # noqa: E731
        frame.board_mask & ((u > 0.6) if right else (u < 0.4)) & ((v > 0.65) if low else (v < 0.35))
    ].mean(0)
    for place, channel in (((0, 0), 0), ((1, 0), 1), ((0, 1), 2)):
        seen = colour(*place)
        assert seen[channel] > 4 * np.delete(seen, channel).max()
    assert colour(1, 1).min() > 0.5 * colour(1, 1).max()


def test_the_same_arguments_give_the_same_frames_whatever_came_between(frames, grey):
    again = trajectory(**SITE)
    for a, b in zip(frames, again, strict=True):
        for name in ("rgb", "label", "instance", "depth_z", "exposed", "dark", "gain", "T_cw"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_corners_project_onto_the_edge_of_the_mask(frames):
    frame = frames[1]
    R, t = frame.T_cw[:3, :3], frame.T_cw[:3, 3]
    q = (frame.board.corners @ R.T + t) @ frame.K.T
    low, high = (q[:, :2] / q[:, 2:]).min(0), (q[:, :2] / q[:, 2:]).max(0)
    y, x = np.nonzero(frame.board_mask)
    assert np.abs(np.array([x.min(), y.min()]) - low).max() < 1.5
    assert np.abs(np.array([x.max() + 1, y.max() + 1]) - high).max() < 1.5


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4)), np.zeros((4, 4, 4)), np.full((4, 4, 3), 200.0), np.full((4, 4, 3), np.nan), -np.ones((4, 4, 3))],
)
def test_textures_that_are_none_are_one_line(bad):
    with pytest.raises(UserError, match="texture"):
        checked(bad)


def test_bytes_and_floats_are_the_same_texture():
    a = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.allclose(checked(a), checked(a / 255.0))


def test_missing_mitsuba_is_one_line_before_a_billboard_too(monkeypatch):
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match='pip install "robustseg'):
        trajectory("wall", 90, poses=1)


def test_preview_writes_a_sheet_and_what_is_known(frames, tmp_path):
    from PIL import Image

    from robustseg.scenes.preview import preview_billboards

    preview_billboards(lambda kind: frames, ["truck"], tmp_path)
    told = json.loads((tmp_path / "preview.json").read_text())["truck"]
    assert [p["board_pixels"] for p in told["poses"]] == [int(f.board_mask.sum()) for f in frames]
    assert told["poses"][0]["distance_m"] > told["poses"][1]["distance_m"]
    sheet = np.array(Image.open(tmp_path / "preview.png"))
    assert sheet.shape[1] == 2 * SIZE[1]
    magenta = (sheet == (255, 0, 255)).all(-1)
    assert 10 < magenta.sum() < sum(f.board_mask.sum() for f in frames)


def test_a_texture_file_is_a_picture_of_a_bearable_size(tmp_path, monkeypatch):
    from PIL import Image

    from robustseg.scenes import preview

    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "red.png")
    assert preview.read_texture(tmp_path / "red.png").shape == (6, 8, 3)
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.setattr(preview, "LARGEST", 47)
    for name, says in (("red", "8 x 6 pixels; make it smaller"), ("text", "cannot be read"), ("none", "is no file")):
        with pytest.raises(UserError, match=says):
            preview.read_texture(tmp_path / f"{name}.png")
