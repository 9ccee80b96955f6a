"""A patch for marked places in photographs: it lands on its corners, is judged elsewhere, and needs no labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustseg.errors import UserError
from robustseg.evaluation import place_pictures
from robustseg.evaluation.board_patch import Plan
from robustseg.evaluation.place_auto import find_place
from robustseg.evaluation.place_patch import optimise_placed
from robustseg.evaluation.place_pictures import pictures, split
from robustseg.evaluation.place_table import evaluate_placed
from robustseg.models import wrap
from robustseg.report.photos import lines, page

CLASSES = ("road", "sky", "building")
H, W = 32, 48
PLAN = Plan((H, W), 0, 0, 30, 2)
QUAD = [[12.0, 6], [30, 8], [29, 20], [13, 18]]


class Redder(nn.Module):
    """Sky over road; the redder the whole picture is than green, the more of it is taken for a building."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, _, h, w = x.shape
        z = x.new_zeros(B, 3, h, w)
        z[:, 1, : h // 2], z[:, 0, h // 2 :] = 4.0, 4.0
        wrong = self.scale * (x[:, 0] - x[:, 1]).mean((1, 2)).view(-1, 1, 1)
        ramp = torch.linspace(-3, 3, w).view(1, 1, w)
        return torch.stack([z[:, 0], z[:, 1], z[:, 2] + wrong + ramp], 1)


def model():
    return wrap(Redder(), classes=CLASSES, name="redder")


def make(folder, number=6, labels=False, corners=QUAD):
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(number):
        picture = np.full((H, W, 3), 110 + rng.integers(-20, 20, (H, W, 1)), np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"im{n}.png")
        if labels:
            (folder / "labels").mkdir(exist_ok=True)
            truth = np.where(np.arange(H)[:, None] < H // 2, 1, 0).repeat(W, 1).astype(np.uint8)
            Image.fromarray(truth).save(folder / "labels" / f"im{n}.png")
    if labels:
        (folder / "classes.txt").write_text("\n".join(CLASSES))
    (folder / "corners.json").write_text(json.dumps({f"im{n}.png": corners for n in range(number)}))
    return f"folder:{folder}", str(folder / "corners.json")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("placed")
    data, place = make(root / "data")
    about = optimise_placed(data, place, model(), root / "out", plan=PLAN, texels=12, spec="patch:smooth=0,vary=none")
    return root / "out", about, evaluate_placed(root / "out", model=model())


def test_it_is_fitted_on_two_thirds_and_judged_on_the_others(done):
    folder, about, found = done
    assert len(about["fit"]) == 4
    assert len(about["held_out"]) == 2
    assert not set(about["fit"]) & set(about["held_out"])
    assert [p["place"] for p in found["places"]] == about["held_out"]
    assert about["reference"] == "pred"
    assert about["texture"] == [8, 12]  # the shape of the marked places
    assert found["truth"] is None
    assert json.loads((folder / "summary.json").read_text())["boards"] == found["boards"]


def test_the_optimised_print_does_more_than_the_controls(done):
    boards = done[2]["boards"]
    assert boards["optimised"]["changed"] > boards["random"]["changed"] + 0.05
    assert boards["optimised"]["changed"] > boards["grey"]["changed"] + 0.05
    assert done[2]["difference"]["more"] == 2
    assert boards["optimised"]["classes"]["building"]["new"] > 0.05
    assert "too few for an interval" in done[2]["cautions"][0]


def test_the_print_lies_in_its_corners_and_nothing_else_changes(done):
    folder = done[0]
    with Image.open(folder / "pictures" / "000_grey.png") as a, Image.open(folder / "pictures" / "000_clean.png") as b:
        one, clean = (np.asarray(p).astype(int) for p in (a, b))
    x, y = np.array(QUAD).T
    area = 0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()
    changed = (one != clean).any(-1)
    inside = changed.sum()
    assert area - 60 < inside < area + 60
    assert not changed[:6].any()
    assert not changed[20:].any()
    assert (one[13, 20] == 128).all()
    with Image.open(folder / "pictures" / "000_grey.changed.png") as c:
        dimmed = np.asarray(c)[..., 0]
    assert dimmed[13, 20] < 60  # under the board nothing counts


def test_the_table_and_the_page(done):
    text = lines(done[2])
    assert len(text) == 5
    assert "pictures" in text[0]
    assert "A patch laid into photographs" in page(done[0]).read_text()


def test_with_labels_they_are_the_reference_and_stand_in_the_table(tmp_path):
    data, place = make(tmp_path / "data", 3, labels=True)
    about = optimise_placed(data, place, model(), tmp_path / "out", plan=PLAN, texels=12, spec="patch:smooth=0")
    assert about["reference"] == "gt"
    found = evaluate_placed(tmp_path / "out", model=model())
    truth = found["truth"]["boards"]
    assert set(truth) == {"clean", "random", "grey", "optimised"}
    # what the ramp alone gets wrong: nothing up to the column where it beats 4, and it never does
    assert truth["clean"]["wrong"] == 0
    assert truth["optimised"]["wrong"] == pytest.approx(found["boards"]["optimised"]["changed"])
    assert "against the labels" in "\n".join(lines(found))


def test_the_same_seed_gives_the_same_patch(tmp_path):
    data, place = make(tmp_path / "data", 3)
    for name in ("a", "b"):
        optimise_placed(data, place, model(), tmp_path / name, plan=Plan((H, W), 0, 0, 4, 2), texels=12)
    one, two = ((tmp_path / n / "patch.png").read_bytes() for n in ("a", "b"))
    assert one == two


def test_other_photographs_and_another_place(done, tmp_path):
    data, place = make(tmp_path / "data", 5, corners=[[4, 4], [40, 4], [40, 26], [4, 26]])
    found = evaluate_placed(done[0], model=model(), data=data, place=place)
    assert found["held_out"] is False
    assert len(found["places"]) == 5
    assert found["difference"]["ci95"]["changed"][0] > 0
    assert found["cautions"] == []
    evaluate_placed(done[0], model=model())  # leave the folder as it was


def test_a_place_is_found_on_the_wall_and_nowhere_else():
    labels = np.zeros((60, 90), int)
    labels[10:40, 50:88] = 2
    corners, on = find_place(labels, CLASSES, 1.5)
    (x0, y0), (x1, y1) = corners[0], corners[2]
    assert on == "building"
    assert (labels[int(y0) : int(y1), int(x0) : int(x1)] == 2).mean() >= 0.95
    assert (x1 - x0) / (y1 - y0) == pytest.approx(1.5, rel=0.1)
    assert 0.07 < (x1 - x0) * (y1 - y0) / labels.size <= 0.085
    corners, on = find_place(np.zeros((60, 90), int), CLASSES, 2.0)
    assert on == "anywhere"
    assert np.mean(corners, 0) == pytest.approx([45, 24], abs=1)


def test_auto_writes_down_what_it_found(tmp_path):
    data, _ = make(tmp_path / "data", 3)
    about = optimise_placed(data, "auto", model(), tmp_path / "o", plan=Plan((H, W), 0, 0, 2, 2), texels=12)
    assert set(about["on"].values()) == {"anywhere"}  # no building in the clean prediction
    (tmp_path / "again.json").write_text(json.dumps(about["places"]))
    found = pictures(data, str(tmp_path / "again.json"), model(), longest=1024)
    assert [p.written for p in found] == list(about["places"].values())
    assert "board floats" in " ".join(evaluate_placed(tmp_path / "o", model=model())["cautions"])


def test_large_pictures_shrink_with_their_corners(tmp_path):
    data, place = make(tmp_path / "data", 2)
    (one, _) = pictures(data, place, model(), longest=36)
    assert one.size == (24, 36)
    assert torch.allclose(one.corners, torch.tensor(QUAD).double() * 0.75)


@pytest.mark.parametrize(
    ("corners", "says"),
    [
        ({"im9": QUAD}, "has no image 'im9'; did you mean im"),
        ({"im0.png": QUAD, "im0": QUAD}, "stands there twice"),
        ({"im0": QUAD[:3]}, "im0: a board has four corners"),
        ({"im0": [[0, 0], [600, 0], [600, 400], [0, 400]]}, "im0: corner 2 .* outside the picture of 48 x 32"),
        ({"im0": QUAD[::-1]}, "im0: the corners run anticlockwise"),
        ({"im0": QUAD}, "1 picture with a place"),
        ({}, "needs"),
        ([], "needs"),
    ],
)
def test_corners_that_cannot_be_used(tmp_path, corners, says):
    data, place = make(tmp_path / "data", 2)
    (tmp_path / "data" / "corners.json").write_text(json.dumps(corners))
    with pytest.raises(UserError, match=says):
        optimise_placed(data, place, model(), tmp_path / "out", plan=PLAN)


def test_what_else_is_refused(tmp_path, done):
    data, place = make(tmp_path / "data", 2)
    with pytest.raises(UserError, match="no such file"):
        pictures(data, "nowhere.json", model(), longest=64)
    (tmp_path / "data" / "images" / "im1.png").write_bytes((tmp_path / "data" / "images" / "im0.png").read_bytes())
    with pytest.raises(UserError, match="im1 and im0 are the same picture"):
        pictures(data, place, model(), longest=64)
    with pytest.raises(UserError, match="go together"):
        evaluate_placed(done[0], model=model(), data=data)
    with pytest.raises(UserError, match="holds no patch"):
        evaluate_placed(tmp_path, model=model())
    other, place = make(tmp_path / "other", 2)
    with pytest.raises(UserError, match="a marked place hangs where it hangs"):
        optimise_placed(other, place, model(), tmp_path / "out", spec="patch:size=4x4")


def test_the_split_belongs_to_the_names():
    made = [place_pictures.Placed(f"p{n}", torch.zeros(1, 3, 4, 4), None, torch.zeros(4, 2), [], "") for n in range(9)]
    fit, held = split(made, 0)
    assert (len(fit), len(held)) == (6, 3)
    assert {p.name for p in split(made[::-1], 0)[1]} == {p.name for p in held}
    assert {p.name for p in split(made, 1)[1]} != {p.name for p in held}
