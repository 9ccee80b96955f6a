"""Scores outside a board: rings by hand, changes against the clean prediction, gaps with paired intervals, PQ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from robustseg.evaluation.board_pictures import LARGEST, animate
from robustseg.evaluation.board_scores import RINGS, gap, observe, scores
from robustseg.types import DenseOutput, ModelSpec, SemanticTarget

CLASSES = ("road", "sky")
WIDE = 80


class Says:
    """Says of every pixel what its red channel is."""

    spec = ModelSpec("says", "semantic", CLASSES, "0" * 16)

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1)

    def __call__(self, images: torch.Tensor, **_: Any) -> DenseOutput:
        red = images[:, 0]
        return DenseOutput(torch.stack([1 - red, red], 1))


def seen(*, changed: slice | None) -> Any:
    """A row of 80 pixels whose first is the board; all is road. The sky is seen at ``changed`` by mistake."""
    labels = torch.zeros(1, 1, WIDE, dtype=torch.int64)
    labels[..., 0] = 255
    view = SimpleNamespace(target=SemanticTarget(labels), away=(torch.arange(WIDE)[None] - 1.0).clamp_min(0))
    image = torch.zeros(1, 3, 1, WIDE)
    if changed is not None:
        image[..., changed] = 1
    return image, view


def test_rings_hold_the_pixels_at_their_distance_and_nothing_of_the_board():
    model = Says()
    clean_image, view = seen(changed=None)
    clean = observe(model, [clean_image], [view], None)
    rows = observe(model, [seen(changed=slice(0, 9))[0]], [view], clean)  # board, and 8 pixels beside it
    found = scores(rows, [False, False])
    assert RINGS == (0, 8, 16, 32, 64)
    assert [r["pixels"] for r in found["rings"]] == [8, 8, 16, 32, 15]
    assert [r["changed"] for r in found["rings"]] == [1, 0, 0, 0, 0]
    assert found["rings"][0]["aAcc"] == 0
    assert found["rings"][-1]["to"] is None
    assert found["changed"] == pytest.approx(8 / 79)
    assert found["aAcc"] == pytest.approx(71 / 79)
    assert found["mIoU"] == pytest.approx((71 / 79 + 0) / 2)
    assert scores(clean, [False, False])["changed"] == 0
    assert "PQ" not in found


def test_a_change_for_the_better_is_a_change_too():
    model = Says()
    wrong, view = seen(changed=slice(1, 21))
    clean = observe(model, [wrong], [view], None)
    found = scores(observe(model, [seen(changed=None)[0]], [view], clean), [False, False])
    assert found["aAcc"] == 1
    assert found["changed"] == pytest.approx(20 / 79)


def test_the_gap_is_paired_and_has_no_interval_for_few_poses():
    model = Says()
    clean_image, view = seen(changed=None)

    def rows(sizes: list[int]) -> list[dict[str, Any]]:
        clean = observe(model, [clean_image] * len(sizes), [view] * len(sizes), None)
        images = [seen(changed=slice(1, 1 + n))[0] for n in sizes]
        return observe(model, images, [view] * len(sizes), clean)

    many = gap(rows([10, 20, 30, 40, 50]), rows([8, 18, 28, 38, 48]), CLASSES, [False, False])
    # the poses differ by far more than the textures: only a paired interval sees two pixels
    assert many["changed"] == pytest.approx(2 / 79)
    assert many["ci95"]["changed"] == pytest.approx([2 / 79, 2 / 79])
    assert many["aAcc"] == pytest.approx(-2 / 79)
    assert many["ci95"]["aAcc"] == pytest.approx([-2 / 79, -2 / 79])
    assert many["more"] == many["poses"] == 5
    few = gap(rows([10, 20, 30, 40]), rows([8, 18, 28, 38]), CLASSES, [False, False])
    assert few["changed"] == pytest.approx(2 / 79)
    assert set(few["ci95"].values()) == {None}


def test_the_drive_is_one_small_animated_picture_whatever_it_shows(tmp_path):
    g = torch.Generator().manual_seed(0)
    noise = [(torch.rand(3, 160, 320, generator=g), torch.randint(0, 2, (160, 320), generator=g)) for _ in range(3)]
    animate(tmp_path / "drive.webp", {"a": noise, "b": noise}, ["1 m", "2 m", "3 m"], [[0, 0, 0], [9, 200, 9]])
    assert (tmp_path / "drive.webp").stat().st_size < LARGEST
    with Image.open(tmp_path / "drive.webp") as moving:
        assert moving.n_frames == 3
        assert moving.size == (640, 16 + 2 * 160)
