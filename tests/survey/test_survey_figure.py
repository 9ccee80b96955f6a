"""The survey's figures: the picture, and a JSON file that agrees with the run behind it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from robustseg.errors import UserError
from robustseg.survey.figure import Figure, figure
from robustseg.survey.panels import Tile, sheet


def test_sheet_holds_pictures_legend_and_text(tmp_path):
    red, blue = Image.new("RGB", (8, 4), (200, 0, 0)), Image.new("RGB", (16, 8), (0, 0, 200))
    path = sheet([[Tile(red, "one"), Tile(blue, "two " * 30)]], "title", ["text"], tmp_path / "s.png",
                 colours={"grass": (0, 150, 0)}, width=100)  # fmt: skip
    pixels = np.asarray(Image.open(path)).reshape(-1, 3)
    for colour, least in (((200, 0, 0), 100 * 50), ((0, 0, 200), 100 * 50), ((0, 150, 0), 100)):
        assert (pixels == colour).all(1).sum() >= least


def test_figure_1_tells_what_it_shows(tmp_path):
    told = figure(1, out=tmp_path, fast=True)
    (row,) = told["attacks"]
    assert json.loads((tmp_path / "figure-1.json").read_text()) == told
    assert Image.open(told["picture"]).width > 5 * 320
    assert row["spec"] == "fgsm:eps=8/255"
    assert row["gradients"] == 1
    pictures = next((tmp_path / "figure-1" / "pictures").glob("000-*"))
    before, after = (
        np.asarray(Image.open(pictures / f"{n}.index.png")) for n in ("clean_prediction", "fgsm_eps=8_255.prediction")
    )
    assert row["changed"] == pytest.approx((before != after).mean())
    assert row["changed"] > 0.2  # the zoo's CNN is fooled by a step of 8/255


def test_a_goal_is_told_with_its_figure(tmp_path, monkeypatch):
    one = Figure("Figure 3", "a step", ("stealthy:steps=1",), ())
    monkeypatch.setattr("robustseg.survey.figure.FIGURES", {3: one})
    (row,) = figure(3, out=tmp_path)["attacks"]
    summary = json.loads((tmp_path / "figure-3" / "summary.json").read_text())
    extra = summary["attacks"][row["spec"]]["extra"]
    assert (row["goal_reached"], row["background_kept"]) == (extra["goal_reached"], extra["background_kept"])


def test_own_picture_is_attacked_on_the_models_view(tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(photo)
    told = figure(1, out=tmp_path / "o", image=photo)
    assert told["image"] == str(photo)
    assert told["attacks"][0]["linf"] == pytest.approx(8 / 255, abs=1e-6)


def test_unknown_figure_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no figure 9; choose from 1, 2, 3, 4"):
        figure(9, out=tmp_path)


def test_clothes_in_an_own_picture_must_be_named(tmp_path):
    with pytest.raises(UserError, match="--region"):
        figure(2, out=tmp_path, image=tmp_path / "photo.png")
