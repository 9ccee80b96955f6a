"""A patch on a billboard, from a drive to the table, with a renderer of the tests in place of Mitsuba."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustseg import catalog
from robustseg.errors import UserError
from robustseg.evaluation.board_frames import view
from robustseg.evaluation.board_patch import LEARN, Plan, optimise_board
from robustseg.evaluation.board_scores import gap, observe, scores
from robustseg.evaluation.board_table import cautions, evaluate_board
from robustseg.evaluation.patch_spec import to_learn_from
from robustseg.physical.export import save_print
from robustseg.scenes import CLASSES, Frame
from robustseg.scenes import tone as rendered
from robustseg.scenes.board import Board
from robustseg.types import DenseOutput, ModelSpec, QueryOutput, SegmentTarget

ROAD, BUILDING, SKY, POLE = 0, 2, 10, 5
PLAN = Plan((32, 64), 3, 2, 24, 2)
CORNERS = np.array([[-0.7, -0.8, 0.0], [1.3, -0.8, 0], [1.3, 0.4, 0], [-0.7, 0.4, 0]])
BOARD = Board("roadside", CORNERS, 7, 255)


def bilinear(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    h, w = texture.shape[:2]
    x, y = np.clip(u * w - 0.5, 0, w - 1), np.clip(v * h - 0.5, 0, h - 1)
    x0, y0 = np.minimum(x.astype(int), w - 2), np.minimum(y.astype(int), h - 2)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = texture[y0, x0] * (1 - a) + texture[y0, x0 + 1] * a
    return top * (1 - b) + (texture[y0 + 1, x0] * (1 - a) + texture[y0 + 1, x0 + 1] * a) * b


def render(texture: np.ndarray | None, size: tuple[int, int], away: float, light: bool) -> Frame:
    """A ray through 6 x 6 points of every pixel meets the board, or the ground and sky behind it; a pole hides some."""
    H, W = size
    K = np.array([[W * 0.8, 0, W / 2], [0, W * 0.8, H / 2], [0, 0, 1.0]])
    T = np.eye(4)
    T[2, 3] = away
    n = 6
    y, x = np.meshgrid((np.arange(H * n) + 0.5) / n, (np.arange(W * n) + 0.5) / n, indexing="ij")
    ray = np.stack([(x - W / 2) / K[0, 0], (y - H / 2) / K[1, 1]], -1) * away  # where it meets the plane of the board
    u = (ray[..., 0] - BOARD.corners[0, 0]) / 2.0
    v = (ray[..., 1] - BOARD.corners[0, 1]) / 1.2
    on = (u >= 0) & (u < 1) & (v >= 0) & (v < 1) & (away > 0)
    behind = np.where((y < H / 2)[..., None], [0.4, 0.5, 0.7], [0.2, 0.2, 0.2])
    falloff = 0.5 + 0.3 * u.clip(0, 1)[..., None]
    ad = np.full((4, 8, 3), 0.6) if texture is None else texture

    def mean(values: np.ndarray) -> np.ndarray:
        return values.reshape(H, n, W, n, 3).mean((1, 3))

    def lit(albedo: np.ndarray) -> np.ndarray:
        return mean(np.where(on[..., None], 0.03 + falloff * albedo, behind))

    exposed = lit(bilinear(rendered.to_linear(ad), u, v))
    dark = lit(np.zeros((H * n, W * n, 3)))
    gain = lit(np.ones((H * n, W * n, 3))) - dark
    visible = on[n // 2 :: n, n // 2 :: n].copy()
    pole = slice(W // 2 + 2, W // 2 + 4)
    label = np.where(np.arange(H)[:, None] < H / 2, SKY, ROAD).astype(np.uint8) * np.ones((1, W), np.uint8)
    visible[:, pole] = False
    exposed[:, pole] = dark[:, pole] = 0.1
    gain[:, pole] = 0
    label[visible], label[:, pole] = 255, POLE
    instance = np.where(visible, BOARD.instance, 0).astype(np.int32)
    rgb = rendered.to_bytes(rendered.display(exposed))
    return Frame(rgb, exposed, label, instance, np.zeros((H, W), np.uint8), np.ones((H, W)), K, T, BOARD, exposed,
                 dark if light else None, gain if light else None)  # fmt: skip


def drive(scene, seed, *, poses, size, path, texture=None):
    return [render(texture, size, 4.0 - 1.6 * (k + 0.3 * path) / poses, texture is None) for k in range(poses)]


class Colourful(nn.Module):
    """Sky and road by the half of the image; everything is taken for building as the picture gets redder than green."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(150.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, _, H, W = x.shape
        z = x.new_full((B, len(CLASSES), H, W), -5.0)
        z[:, SKY, : H // 2], z[:, ROAD, H // 2 :] = 5.0, 5.0
        wrong = self.scale * (x[:, 0] - x[:, 1]).mean((1, 2)).view(-1, 1, 1)
        extra = torch.zeros_like(z)
        extra[:, BUILDING] = 1
        ramp = torch.linspace(-2, 2, W).view(1, 1, W)
        return z + extra * (wrong + ramp + 6).unsqueeze(1)


class Fake:
    spec = ModelSpec("fake", "semantic", CLASSES, "0" * 16)

    def __init__(self) -> None:
        self.module = Colourful()

    def __call__(self, images, *, want=frozenset()):
        return DenseOutput(self.module(images))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    about = optimise_board("billboard", Fake(), folder, plan=PLAN, texels=16, shoot=drive, spec="patch:smooth=0")
    return folder, about, evaluate_board(folder, model=Fake(), shoot=drive)


def test_the_table_has_every_texture_twice_and_the_optimised_one_does_most(made):
    folder, about, found = made
    assert json.loads((folder / "summary.json").read_text())["warp"] == found["warp"]
    for domain in ("warp", "rerendered"):
        scores = {name: found[domain][name]["mIoU"] for name in ("clean", "random", "grey", "optimised")}
        assert scores["optimised"] < min(scores["clean"], scores["random"], scores["grey"]) - 0.02
        assert found[domain]["clean"]["changed"] == 0
    assert about["texture"] == [10, 16]
    assert about["backwards"] == 24 * 2
    assert "eot=rotate:1+shift:0.03" in about["attack"]  # the camera turns while it is fitted
    # judged on all three poses at every third step and at the end; one look of any other step says "latest"
    assert about["forwards"] == 24 * 2 + 16 + (8 + 1) * 3


def test_the_warp_is_what_the_renderer_shows(made):
    _, _, found = made
    assert all(value > 38 for value in found["fidelity_dB"].values())
    for name in ("random", "grey", "optimised"):
        assert found["warp"][name]["mIoU"] == pytest.approx(found["rerendered"][name]["mIoU"], abs=0.03)


def test_poses_say_how_far_and_from_where(made):
    _, _, found = made
    poses = found["poses"]
    assert len(poses) == 2
    assert poses[0]["distance_m"] > poses[1]["distance_m"]
    assert poses[0]["board_pixels"] < poses[1]["board_pixels"]
    middle = np.hypot(np.hypot(0.3, 0.2), 4.0 - 1.6 * 0.3 / 2)
    assert poses[0]["distance_m"] == pytest.approx(middle, abs=0.01)
    assert set(poses[0]["warp"]) == {"clean", "random", "grey", "optimised"}


def test_light_is_dark_plus_gain_times_albedo_and_only_what_is_visible_changes():
    frame = render(None, (32, 64), 3.3, True)
    v = view(frame, (4, 8), Fake(), "one")
    shown = v.lit.show(torch.full((1, 3, 4, 8), 0.8))[0].permute(1, 2, 0).numpy()
    mask = frame.board_mask
    by_hand = rendered.display(frame.dark + frame.gain * rendered.to_linear(0.8))
    assert np.abs(shown - by_hand)[mask].max() < 1e-5
    edge = np.pad(mask, 1)
    edge = np.any([edge[r : r + 32, c : c + 64] for r in range(3) for c in range(3)], 0)  # the board's edge runs there
    assert np.array_equal(shown[~edge], frame.rgb[~edge] / np.float32(255))
    partly = edge & ~mask & (frame.gain.max(-1) > 0) & v.lit.at.mask().numpy()
    assert partly.any()
    assert np.abs(shown - by_hand)[partly].max() < 1e-5
    hidden = frame.label == POLE
    assert np.array_equal(shown[hidden], frame.rgb[hidden] / np.float32(255))
    assert bool((v.target.labels[0].numpy()[mask] == 255).all())


class Segments:
    """One query a class, whose mask is that class in the true labels; ``lost``: it does not see poles."""

    spec = ModelSpec("segments", "universal", CLASSES, "0" * 16, things=("car",))

    def __init__(self, label: np.ndarray, lost: bool = False) -> None:
        self.module, self.lost = nn.Linear(1, 1), lost
        self.masks = torch.from_numpy(label[None] == np.arange(len(CLASSES))[:, None, None]).float()[None] * 40 - 20

    def __call__(self, images, *, want=frozenset()):
        kinds = 20 * torch.eye(len(CLASSES), len(CLASSES) + 1)[None]
        if self.lost:
            kinds[0, POLE] = 20 * torch.eye(len(CLASSES) + 1)[-1]
        return QueryOutput(kinds, self.masks)


def test_models_of_segments_have_a_pq_too_and_specks_are_no_objects():
    frame = render(None, (32, 64), 3.3, True)
    label, instance = frame.label.copy(), frame.instance.copy()
    car = CLASSES.index("car")
    label[24:28, 4:12], instance[24:28, 4:12] = car, 40
    label[30, 2:4], instance[30, 2:4] = car, 41  # two pixels: a speck
    frame = replace(frame, label=label, instance=instance)
    all_seen, poles_lost = Segments(label), Segments(label, lost=True)
    v = view(frame, (4, 8), all_seen, "one")
    assert isinstance(v.target, SegmentTarget)
    cars = (v.target.categories[0] == car).nonzero().flatten()
    assert v.target.crowd[0, cars].tolist() == [False, True]
    assert not bool((v.target.masks[0] & v.mask).any())  # the board is in no segment
    clean = observe(all_seen, [v.image], [v], None)
    rows = observe(poles_lost, [v.image], [v], clean)
    things = [name == "car" for name in CLASSES]
    assert scores(clean, things)["PQ"] == pytest.approx(1, abs=0.03)  # one query holds car and speck
    kinds = len({int(c) for c in np.unique(label)} - {255})
    assert scores(rows, things)["PQ"] == pytest.approx((kinds - 1) / kinds, abs=0.05)
    assert gap(rows, clean, CLASSES, things)["PQ"] == pytest.approx(-1 / kinds, abs=0.05)


def test_what_noise_does_as_well_is_said():
    gap = {"changed": 0.02, "ci95": {"mIoU": [-0.03, -0.01], "changed": [0.01, 0.03], "PQ": [-0.02, 0.01]}}
    found = {"difference": {"warp": gap, "rerendered": gap}, "poses": [{"board_pixels": 9}] * 5}
    assert "may be nothing in PQ:" in cautions(found)[0]
    gap["ci95"]["PQ"] = [-0.02, -0.01]
    assert all("may be nothing" not in c for c in cautions(found))
    rendered = {**gap, "changed": 0.009}
    half = cautions({**found, "difference": {"warp": gap, "rerendered": rendered}})
    assert any("loses more than half" in c for c in half)
    unseen = cautions({**found, "poses": [{"board_pixels": 9}] * 4 + [{"board_pixels": 0}]})
    assert any("In 1 of 5 poses" in c for c in unseen)


def test_the_patch_is_a_print_of_the_boards_size(made):
    folder, about, _ = made
    with Image.open(folder / "patch.png") as image:
        wide, high = image.size[0] / image.info["dpi"][0] * 0.0254, image.size[1] / image.info["dpi"][1] * 0.0254
        assert wide == pytest.approx(about["board_m"][0], rel=2e-3)
        assert high == pytest.approx(wide * 10 / 16, rel=2e-3)
        assert image.size[0] >= 10 * about["board_m"][0] / 0.0254
        assert "2 m x 1.25 m" in image.info["Description"]


def test_a_print_of_no_size_is_refused(tmp_path):
    for width, dpi in ((0, 25), (float("nan"), 25), (1, 0), (1000, 300), (1, float("inf"))):
        with pytest.raises(UserError):
            save_print(torch.rand(3, 4, 8), tmp_path / "p.png", width, dpi)


def test_a_print_makes_its_folder_and_is_a_png(tmp_path):
    save_print(torch.rand(3, 4, 8), tmp_path / "new" / "folder" / "p.PNG", 1)
    with Image.open(tmp_path / "new" / "folder" / "p.PNG") as image:
        assert image.format == "PNG"
    for name in ("p.jpg", "p.xyz", "p"):
        with pytest.raises(UserError, match=r"name .*p\.png"):
            save_print(torch.rand(3, 4, 8), tmp_path / name, 1)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("pgd", "is no patch to fit"),
        ("patch:fill=grey", "is no patch to fit"),
        ("patch:size=4x4", "hangs where it hangs"),
        ("patch:vary=scale:0.5-2", "poses of the camera"),
    ],
)
def test_what_cannot_be_fitted(tmp_path, spec, says):
    with pytest.raises(UserError, match=says):
        optimise_board("billboard", Fake(), tmp_path, plan=PLAN, shoot=drive, spec=spec)


def test_a_board_that_no_pose_shows_and_a_folder_without_patch(tmp_path):
    def away(*args, **options):
        return [render(None, (32, 64), -50.0, True)]

    with pytest.raises(UserError, match="from no pose"):
        optimise_board("billboard", Fake(), tmp_path, plan=PLAN, shoot=away)
    with pytest.raises(UserError, match="holds no patch"):
        evaluate_board(tmp_path / "nothing")
    with pytest.raises(UserError, match="unknown scene 'moon'"):
        optimise_board("moon", Fake(), tmp_path)


def test_a_loss_that_learns_beforehand_learns_from_other_streets(tmp_path):
    """Class prices come from bundled streets, which photographs do not have."""
    given = catalog.attack("patch:loss=pq-price")
    data = to_learn_from(LEARN, Fake(), (32, 64), given)
    assert (data.ref, data.things[-1]) == (LEARN, "bicycle")
    assert tuple(data[0].image.shape) == (3, 32, 64)
    with pytest.raises(UserError, match="loss=pq-price must learn from other images first"):
        to_learn_from(None, Fake(), None, given)


def test_the_record_says_how_many_steps_were_made(tmp_path):
    about = optimise_board("billboard", Fake(), tmp_path, plan=PLAN, shoot=drive, texels=8, spec="patch:steps=1")
    assert about["steps"] == json.loads((tmp_path / "optimise.json").read_text())["steps"] == 1


def test_a_misspelt_model_or_option_is_told_before_anything_is_rendered(tmp_path):
    def rendered_in_vain(*args, **options):
        raise AssertionError("rendered")

    for model, spec, says in (("zoo:street-unett", "patch", "did you mean"), (Fake(), "patch:gama=1", "gamma")):
        with pytest.raises(UserError, match=says):
            optimise_board("billboard", model, tmp_path, plan=PLAN, shoot=rendered_in_vain, spec=spec)
    cells = Fake()
    cells.spec = ModelSpec("cells", "semantic", ("background", "nucleus"), "0" * 16)
    with pytest.raises(UserError, match="cells does not know the classes of a street"):
        optimise_board("billboard", cells, tmp_path, plan=PLAN, shoot=rendered_in_vain)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be a folder"):
        optimise_board("billboard", Fake(), tmp_path / "file", plan=PLAN, shoot=rendered_in_vain)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", None, "seed is missing or no int"),
        ("model", 3, "model is missing or no str"),
        ("size", "big", "size is missing or no list"),
        ("size", [32, 10**9], "size is no pair of sizes"),
        ("board_m", [2.0], "board_m is no pair of sizes"),
        ("held_out", 10**9, "held_out is not from 1 to 512"),
    ],
)
def test_a_damaged_record_is_one_line(made, tmp_path, key, value, says):
    for name in ("optimise.json", "patch.safetensors"):
        (tmp_path / name).write_bytes((made[0] / name).read_bytes())
    about = json.loads((tmp_path / "optimise.json").read_text())
    (tmp_path / "optimise.json").write_text(json.dumps({**about, key: value}))
    with pytest.raises(UserError, match=says):
        evaluate_board(tmp_path, model=Fake(), shoot=drive)
