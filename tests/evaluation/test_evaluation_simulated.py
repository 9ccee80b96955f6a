"""Photographs by formula: the board lies where the table says, every photo has its own noise, and all say SIMULATED."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from photo_toys import field, sees
from PIL import Image

from robustseg.catalog.artefact import Artefact
from robustseg.data.photos import read_photos
from robustseg.errors import UserError
from robustseg.evaluation.board_photos import SIMULATED, score_photos
from robustseg.evaluation.board_simulated import simulate_photos
from robustseg.ops import tone
from robustseg.physical.photo import Camera, Gamut
from robustseg.scenes import Frame
from robustseg.scenes.board import Board

CORNERS = np.array([[-1.0, -0.5, 0], [1, -0.5, 0], [1, 0.5, 0], [-1, 0.5, 0]])
ABOUT = {
    "scene": "wall", "seed": 3, "model": "toy", "given": "patch", "attack": "patch", "size": [48, 96],
    "texture": [4, 8], "board_m": [2.0, 1.0], "poses": 2, "held_out": 2, "backwards": 9,
}  # fmt: skip


def drive(scene, seed, *, poses, size, path, texture):
    """A board in a grey world, as bright as the mean of its texture; a pixel shows what its middle does."""
    assert (scene, seed, path) == ("wall", 3, 1)
    H, W = size
    found = []
    for k in range(poses):
        away = 4.0 - k
        K = np.array([[W * 0.8, 0, W / 2], [0, W * 0.8, H / 2], [0, 0, 1.0]])
        T = np.eye(4)
        T[2, 3] = away
        y, x = np.meshgrid(np.arange(H) + 0.5, np.arange(W) + 0.5, indexing="ij")
        on = (abs(x - W / 2) < K[0, 0] / away) & (abs(y - H / 2) < 0.5 * K[0, 0] / away)
        mean = (texture / 255 if texture.dtype == np.uint8 else texture).mean((0, 1))
        light = np.where(on[..., None], 0.8 * mean, 0.15).astype(np.float32)
        nothing = np.zeros((H, W), np.uint8)
        found.append(Frame(nothing, light, nothing, nothing, nothing, light[..., 0], K, T, Board("wall", CORNERS, 1, 2),
                           light))  # fmt: skip
    return found


@pytest.fixture
def board(tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "optimise.json").write_text(json.dumps(ABOUT))
    texture = torch.zeros(3, 4, 8)
    texture[0] = 1  # red
    Artefact("patch", {"patch": texture}, "wall:3").save(folder / "patch.safetensors")
    return folder


def test_the_folder_is_one_of_photographs_and_the_board_lies_where_it_says(board, tmp_path):
    simulate_photos(board, tmp_path / "p", shoot=drive, camera=Camera(turn=0.5))
    photos = read_photos(tmp_path / "p")
    assert photos.simulated is not None
    assert [p.distance for p in photos.places] == [3.0, 4.0]
    assert list(photos.places[0].photos) == ["clean", "repeat", "random", "grey", "optimised"]
    where = set()
    light = np.linspace(0, 4, 2000)
    curve = tone.display(torch.from_numpy(light)).numpy()
    for place in photos.places:
        for photo in place.photos.values():
            corners = np.array(photo.corners)
            with Image.open(photo.path) as opened:
                pixels = np.interp(np.asarray(opened) / 255, curve, light)  # back through the tone curve
            apart = np.abs(pixels - pixels[2, 2]).sum(-1)
            seen = apart > apart[24, 48] / 2
            y, x = np.nonzero(seen)
            middle = corners.mean(0)
            assert x.mean() + 0.5 == pytest.approx(middle[0], abs=0.4)
            assert y.mean() + 0.5 == pytest.approx(middle[1], abs=0.4)
            width = np.linalg.norm(corners[1] - corners[0])
            assert seen.sum() == pytest.approx(width * width / 2, rel=0.06)
            where.add(tuple(middle))
    assert len(where) == 10  # every photograph has a hand of its own


def test_the_same_folder_gives_the_same_photographs_and_repeats_differ_by_noise(board, tmp_path):
    for name in ("a", "b"):
        simulate_photos(board, tmp_path / name, shoot=drive, camera=Camera(turn=0.0))
    one, two = (tmp_path / n / "clean" / "00.jpg" for n in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()
    clean, again = (np.asarray(Image.open(tmp_path / "a" / n / "00.jpg")).astype(float) for n in ("clean", "repeat"))
    assert 0.5 < np.abs(clean - again).mean() < 6


def test_every_score_says_that_it_is_simulated(board, tmp_path):
    simulate_photos(board, tmp_path / "p", shoot=drive)
    found = score_photos(tmp_path / "p", sees())
    assert found["label"] == SIMULATED
    assert found["simulated"]["camera"]["jpeg"] == 90
    assert found["cautions"][0].startswith("SIMULATED")


def test_simulated_photographs_never_replace_real_ones(board, tmp_path):
    field(tmp_path / "real", 1)
    with pytest.raises(UserError, match="not simulated; choose another"):
        simulate_photos(board, tmp_path / "real", shoot=drive)
    assert len(list((tmp_path / "real" / "clean").iterdir())) == 1
    simulate_photos(board, tmp_path / "p", shoot=drive)
    simulate_photos(board, tmp_path / "p", shoot=drive, places=1)
    assert [f.name for f in (tmp_path / "p" / "clean").iterdir()] == ["00.jpg"]


def test_a_board_that_leaves_the_picture_and_a_folder_without_patch(board, tmp_path):
    def near(*args, **options):
        return drive(*args, **{**options, "poses": 4})[3:]  # 1 m away: wider than the picture

    with pytest.raises(UserError, match="from no place"):
        simulate_photos(board, tmp_path / "p", shoot=near)
    with pytest.raises(UserError, match="holds no patch"):
        simulate_photos(tmp_path, tmp_path / "p", shoot=drive)
    (board / "optimise.json").write_text('{"data": "folder:x"}')
    with pytest.raises(UserError, match="no patch for a rendered scene"):
        simulate_photos(board, tmp_path / "p", shoot=drive)


def test_a_print_is_between_ink_and_paper_and_duller():
    ends = Gamut().printed(torch.tensor([0.0, 1.0]).view(1, 1, 2).expand(3, 1, 2))
    assert tone.to_linear(ends)[0, 0].tolist() == pytest.approx([0.04, 0.9], abs=1e-4)
    red = tone.to_linear(Gamut().printed(torch.tensor([1.0, 0, 0]).view(3, 1, 1))).flatten()
    assert float(red[0] - red[1]) == pytest.approx(0.86 * 0.8, abs=1e-4)


def test_a_turn_of_the_camera_moves_the_middle_by_the_focal_length_times_the_angle():
    K = torch.tensor([[100.0, 0, 50], [0, 100, 25], [0, 0, 1]])
    moves = []
    for k in range(400):
        move = Camera(turn=1.0).turned(K, torch.Generator().manual_seed(k))
        q = move @ torch.tensor([50.0, 25, 1]).double()
        moves.append((q[:2] / q[2] - torch.tensor([50.0, 25])).tolist())
    assert np.std(moves, axis=0) == pytest.approx([100 * np.pi / 180] * 2, rel=0.12)
