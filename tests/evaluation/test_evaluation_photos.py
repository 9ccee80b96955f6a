"""Photographs of a board against the clean ones: counts that can be done by hand, and hands that were not still."""

from __future__ import annotations

import json

import numpy as np
import pytest
from photo_toys import CLASSES, CORNERS, LEVELS, H, W, field, save, scene, sees, table
from PIL import Image

from robustseg.errors import UserError
from robustseg.evaluation.beside import compared, difference
from robustseg.evaluation.board_photos import score_photos

# Not counted: two rows on both sides of the horizon, and the frame of the board with the two pixels around it, but for
# the four pixels at its corners.
COUNTED = H * W - (4 * W + 24 * 20 - 24 * 4 - 4)
CHANGED = {"repeat": 0, "random": 2 * 12, "optimised": 6 * 12}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = field(tmp_path_factory.mktemp("field"))
    return folder, score_photos(folder, sees())


def test_the_shares_are_those_counted_by_hand(scored):
    folder, found = scored
    assert json.loads((folder / "scored" / "summary.json").read_text())["boards"] == found["boards"]
    for board, pixels in CHANGED.items():
        one = found["boards"][board]
        assert one["pictures"] == 6
        assert one["changed"] == pytest.approx(pixels / COUNTED)
        assert one["ci95"]["changed"] == pytest.approx([pixels / COUNTED] * 2)
    assert found["places"][0]["counted_share"] == pytest.approx(COUNTED / (H * W))
    assert found["difference"]["changed"] == pytest.approx((72 - 24) / COUNTED)
    assert found["difference"]["more"] == 6
    assert found["simulated"] is None
    assert found["cautions"] == []


def test_classes_say_what_went_and_what_came(scored):
    classes = scored[1]["boards"]["optimised"]["classes"]
    road = 22 * W - 24 * 6 + 2  # its rows under the horizon's band, without the board's lower part and its corners
    assert classes["road"]["gone"] == pytest.approx(72 / road)
    assert classes["person"]["new"] == pytest.approx(72 / COUNTED)
    assert classes["sky"]["gone"] == 0
    kept = [(road - 72) / road, 1.0, 0.0]
    assert scored[1]["boards"]["optimised"]["mIoU"] == pytest.approx(np.mean(kept))


def test_places_are_sorted_and_pictures_kept(scored):
    folder, found = scored
    assert [p["distance_m"] for p in found["places"]] == sorted(p["distance_m"] for p in found["places"])
    with Image.open(folder / "scored" / "pictures" / "000_optimised.changed.png") as picture:
        red = (np.asarray(picture) == [230, 30, 40]).all(-1)
    assert red.sum() == CHANGED["optimised"]


def textured() -> np.ndarray:
    """A larger scene with something to align by: a wavy horizon, so that no shift or turn leaves it as it is."""
    x = np.arange(160)
    rows = 60 + 8 * np.sin(x / 9) + 4 * np.sin(x / 3.7)
    picture = np.where(np.arange(120)[:, None] < rows, LEVELS[1], LEVELS[0]).astype(np.uint8)
    picture[20:50, 60:110] = 250
    return picture


def turned(picture: np.ndarray, degrees: float, shift: tuple[float, float]) -> tuple[np.ndarray, list[list[float]]]:
    """The picture as another hand would have taken it, and the board's corners in it."""
    angle = np.radians(degrees)
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    t = np.array(shift)
    back = np.c_[R.T, -R.T @ t]
    # Pillow's coefficients are those of pixel edges: it adds the half of the centre itself
    made = Image.fromarray(picture).transform(
        (160, 120), Image.Transform.AFFINE, back.ravel(), Image.Resampling.BILINEAR, fillcolor=128
    )
    corners = np.array([[60.0, 20], [110, 20], [110, 50], [60, 50]]) @ R.T + t
    return np.asarray(made), corners.tolist()


@pytest.mark.parametrize(("degrees", "shift", "how"), [(0, (4.0, -3.0), "shifted"), (2.0, (6.0, -5.0), "turned")])
def test_a_hand_that_moved_is_no_attack(tmp_path, degrees, shift, how):
    still = textured()
    moved, corners = turned(still, degrees, shift)
    own = [[60, 20], [110, 20], [110, 50], [60, 50]]
    for board in ("clean", "random", "optimised"):
        save(tmp_path / board / "a.png", moved if board == "optimised" else still)
    table(tmp_path, {"a": (9, 0, own), "optimised/a": ("", "", corners)})
    found = score_photos(tmp_path, sees())
    one = found["places"][0]["boards"]["optimised"]
    assert one["laid"] == how
    assert one["changed"] < 0.002
    table(tmp_path, {"a": (9, 0, own)})  # as if it had been a tripod
    assert score_photos(tmp_path, sees())["boards"]["optimised"]["changed"] > 0.01


def test_corners_that_were_marked_badly_are_named(tmp_path):
    field(tmp_path, 1)
    bad = [[24.0, 16], [40, 16], [40, 28], [32, 24]]
    table(tmp_path, {"p0": (9, 0, CORNERS), "random/p0": ("", "", bad)})
    (line,) = (c for c in score_photos(tmp_path, sees())["cautions"] if "corners fit" in c)
    assert line.startswith("random/p0: ")


def test_the_rotation_of_the_file_is_honoured(tmp_path):
    field(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a viewer turns it by 90 degrees clockwise
    for board, wrong in (("clean", 0), ("repeat", 0), ("random", 2), ("optimised", 6)):
        lying = Image.fromarray(scene(wrong)).convert("RGB").transpose(Image.Transpose.ROTATE_90)
        (tmp_path / board / "p0.png").unlink()
        lying.save(tmp_path / board / "p0.jpg", exif=exif, quality=100, subsampling=0)
    found = score_photos(tmp_path, sees())
    assert found["boards"]["optimised"]["changed"] == pytest.approx(72 / COUNTED, rel=0.1)


def test_large_photographs_shrink_with_their_corners(tmp_path):
    for board, wrong in (("clean", 0), ("random", 2), ("optimised", 6)):
        save(tmp_path / board / "a.png", scene(wrong).repeat(3, 0).repeat(3, 1))
    table(tmp_path, {"a": (9, 0, (3 * np.array(CORNERS)).tolist())})
    found = score_photos(tmp_path, sees(), longest=W)
    assert found["boards"]["optimised"]["changed"] == pytest.approx(72 / COUNTED)


def test_few_places_no_floor_and_nothing_gained_are_said(tmp_path):
    field(tmp_path, 2, repeat=False)
    for name in ("p0", "p1"):
        save(tmp_path / "optimised" / f"{name}.png", scene(2))
    found = score_photos(tmp_path, sees())
    assert found["difference"]["ci95"]["changed"] is None
    text = " ".join(found["cautions"])
    assert "too few for an interval" in text
    assert "No second photographs" in text


def test_no_difference_is_called_none(tmp_path):
    field(tmp_path, 5)
    for n in range(5):
        save(tmp_path / "optimised" / f"p{n}.png", scene(2 + (1 if n % 2 else -1)))
    found = score_photos(tmp_path, sees())
    low, high = found["difference"]["ci95"]["changed"]
    assert low < 0 < high
    assert "not shown to change more" in " ".join(found["cautions"])


@pytest.mark.parametrize(
    ("break_", "says"),
    [
        (lambda f: save(f / "random" / "p0.png", scene().T), "p0.png and .*p0.png have not the same shape"),
        (lambda f: (f / "random" / "p0.png").write_bytes(b"no picture"), "random.p0.png: .*not a readable"),
        (lambda f: table(f, {"p0": (1, 1, [[0, 0], [640, 0], [640, 480], [0, 480]])}), "p0.png .*outside the picture"),
    ],
)
def test_what_cannot_be_compared(tmp_path, break_, says):
    field(tmp_path, 1)
    break_(tmp_path)
    with pytest.raises(UserError, match=says):
        score_photos(tmp_path, sees())


def test_intervals_of_shares_hold_them():
    rng = np.random.default_rng(0)

    def rows(share):
        found = []
        for _ in range(30):
            wrong = int(rng.binomial(100, share))
            found.append({"inter": [100 - wrong, 0, 0], "pred": [100 - wrong, wrong, 0], "target": [100, 0, 0],
                          "valid": 100, "right": 100 - wrong})  # fmt: skip
        return found

    one, two = rows(0.3), rows(0.1)
    made = compared(one, CLASSES)
    low, high = made["ci95"]["changed"]
    assert low < made["changed"] < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 3000), rel=0.35)
    gap = difference(one, two, CLASSES)
    assert gap["ci95"]["changed"][0] > 0.1
    assert difference(one, one, CLASSES)["ci95"]["changed"] == [0.0, 0.0]
