"""One perturbation for all images: the tiled gradient, what it reaches on images it has not seen, its file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import save_file

import attack_toys as toys
from robustseg.catalog import Artefact, attack
from robustseg.errors import UserError
from robustseg.ops.tiling import tiled
from robustseg.types import Sample

EPS = 8 / 255


@dataclass(frozen=True)
class Pictures:
    """Images in memory, labels in the model's class indices."""

    images: torch.Tensor
    labels: torch.Tensor
    ref: str = "toy:fit"
    ignore: int = 255
    task: str = "semantic"
    classes: tuple[str, ...] = toys.CLASSES
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Sample:
        return Sample(str(i), self.images[i], self.labels[i])

    def digest(self) -> str:
        return self.ref


def blocks(n: int, seed: int, size: int = 24) -> Pictures:
    images, labels = toys.blocks(n, seed, size)
    return Pictures(images.clamp(0, 1), labels)


@pytest.fixture(scope="module")
def model() -> toys.Toy:
    return toys.trained()


def test_the_gradient_of_a_tile_is_the_sum_of_those_of_its_copies():
    tile = torch.rand(1, 3, 4, 5, requires_grad=True)
    weight = torch.rand(1, 3, 10, 10)
    (found,) = torch.autograd.grad((weight * tiled(tile, (10, 10))).sum(), tile)
    by_hand = torch.zeros(1, 3, 12, 10)
    by_hand[:, :, :10] = weight
    by_hand = sum(by_hand[:, :, r : r + 4, s : s + 5] for r in (0, 4, 8) for s in (0, 5))
    assert torch.allclose(found, by_hand)


def test_on_a_linear_model_the_fit_is_the_sign_of_the_weights():
    """Every pixel shows road, whatever the image: the best perturbation is known, and one for all."""
    linear = toys.Toy(toys.PixelLinear(), 2)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2
    images[:, 0] += 0.7
    data = Pictures(images, torch.zeros(5, 8, 8, dtype=torch.int64))
    whole = attack("universal:steps=4")
    for tile in ("image", "3x5"):
        tile_attack = attack(whole, tile=tile)
        found = tile_attack.fit(linear, data).tensors["tile"]
        assert found.shape == ((3, 8, 8) if tile == "image" else (3, 3, 5))
        best = -EPS * torch.tensor([3.0, -2.0, 1.0]).sign().view(3, 1, 1)
        assert torch.allclose(found, best.expand_as(found), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"tile": "8x8"}, {"eot": "noise=0.01", "eot_samples": 2}])
def test_it_beats_noise_on_images_it_has_not_seen_of_any_size(model, options):
    made = attack("universal:steps=8,images=8", **options)
    artefact = made.fit(model, blocks(10, seed=1))
    ready, scored = made.with_artefact(artefact), blocks(6, seed=7, size=36)
    found = ready(model, scored.images, scored.labels)
    noise = attack("noise")(model, scored.images, scored.labels)
    clean = toys.wrong(model, scored.images, scored.labels).float().mean()
    lost = [toys.wrong(model, r.images, scored.labels).float().mean() - clean for r in (noise, found)]
    assert lost[1] > 2 * max(lost[0], 0.01)
    assert found.backwards.tolist() == [0] * 6
    delta = found.images - scored.images
    inside = (scored.images > EPS) & (scored.images < 1 - EPS)
    same = tiled(artefact.tensors["tile"][None], (36, 36)).expand_as(delta)
    assert torch.allclose(delta[inside], same[inside], atol=1e-6)


def test_gradients_of_the_fit_are_counted_and_those_of_an_image_are_none():
    network = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene(4)
    made = attack("universal:steps=3,images=3,reference=pred")
    artefact = made.fit(network, Pictures(images, labels))
    assert (artefact.forwards, artefact.backwards) == (
        3 + 3 * 4,
        3 * 3,
    )  # clean predictions, then steps and last scores
    assert (network.images, network.backwards) == (artefact.forwards, artefact.backwards)
    result = made.with_artefact(artefact)(network, images, labels)
    assert made.budget == (2, 0)
    assert result.forwards.tolist() == [2] * 4


def test_a_class_is_hidden_on_new_images_and_images_without_it_are_not_fitted_on(model):
    made = attack("universal:target=nearest,class=person,steps=10,eps=12/255,images=6,reference=pred")
    data = blocks(8, seed=2)
    data.images[0] = torch.tensor([0.425, 0.5, 0.55]).view(3, 1, 1)  # nothing but road
    artefact = made.fit(model, data)
    assert artefact.backwards == 10 * 6
    assert artefact.forwards == 7 + 6 * 11  # seven clean predictions for six images
    scored = blocks(4, seed=9)
    found = made.with_artefact(artefact)(model, scored.images)
    before, after = (model.module(x).argmax(1) for x in (scored.images, found.images))
    assert (after == 1).sum() < 0.6 * (before == 1).sum()
    empty = Pictures(data.images[:1], data.labels[:1])
    with pytest.raises(UserError, match="no image of toy:fit has anything to do"):
        made.fit(model, empty)


def test_the_same_seed_the_same_tile(model):
    made = attack("universal:steps=3,images=4,eot=noise:0.02")
    one, two, other = (made.fit(model, blocks(4, seed=3), seed=s).tensors["tile"] for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_what_is_shared_and_what_is_not():
    name = attack("universal").fit_name
    assert attack("universal", region="clothing").fit_name == name
    for options in ({"steps": 5}, {"eps": "4/255"}, {"eot": "noise=0.1"}, {"tile": "8x8"}, {"reference": "pred"}):
        assert attack("universal", **options).fit_name != name


def saved(path, tile, kind="universal-tile"):
    Artefact(kind, {"tile": tile}, "toy:fit", 5, 4).save(path)
    return path


def test_a_file_is_used_again(tmp_path, model):
    tile = EPS * torch.sign(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5)
    made = attack(f"universal:file={saved(tmp_path / 'tile.safetensors', tile)},reference=pred")
    images = 0.2 + 0.6 * torch.rand(1, 3, 12, 20)
    assert torch.allclose(made(model, images).images - images, tiled(tile[None], (12, 20)), atol=1e-6)
    assert attack(made, reference="gt").artefact is not None
    with pytest.raises(UserError, match="more than eps=4/255"):
        attack(made, eps="4/255")


def bad(tmp_path, what):
    path, tile = tmp_path / "bad.safetensors", torch.zeros(3, 4, 4)
    if what == "none":
        return tmp_path / "missing.safetensors"
    if what == "pickle":
        torch.save({"tile": tile}, path)
    elif what == "garbage":
        path.write_bytes(b"\xff" * 100)
    elif what == "bare":
        save_file({"tile": tile}, str(path))
    elif what == "kind":
        saved(path, tile, "class-pixels")
    elif what == "shape":
        saved(path, torch.zeros(3, 4))
    elif what == "type":
        saved(path, tile.double())
    elif what == "empty":
        saved(path, torch.zeros(3, 0, 4))
    elif what == "nan":
        saved(path, tile * torch.nan)
    elif what == "size":
        saved(path, tile + 9 / 255)
    return path


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("none", "is no file"),
        ("pickle", "is not an attack artefact"),
        ("garbage", "is not an attack artefact"),
        ("bare", "is not an attack artefact"),
        ("kind", "holds 'class-pixels', no universal tile"),
        ("shape", r"\(3, 4\); a tile is float32 \(C,h,w\)"),
        ("type", "float64"),
        ("empty", r"\(3, 0, 4\)"),
        ("nan", "NaN"),
        ("size", "changes pixels by 9/255, more than eps=8/255"),
    ],
)
def test_a_hostile_file_is_one_line(tmp_path, what, says):
    with pytest.raises(UserError, match=says) as caught:
        attack(f"universal:file={bad(tmp_path, what)}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("universal:tile=0x4", "neither image nor HEIGHTxWIDTH"),
        ("universal:images=0", "images=0"),
        ("universal:norm=l2", "takes no norm"),
        ("universal:restarts=2", "takes no restarts"),
    ],
)
def test_refusals(spec, says):
    with pytest.raises(UserError, match=says):
        attack(spec)


def test_without_a_fit_or_with_other_channels_it_says_what_to_do(model, tmp_path):
    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(UserError, match=r"attack\.fit\(model, data\)"):
        attack("universal")(model, images)
    grey = attack(f"universal:file={saved(tmp_path / 'grey.safetensors', torch.zeros(1, 4, 4))},reference=pred")
    with pytest.raises(UserError, match="1 channels, the images 3"):
        grey(model, images)


def test_a_gradient_that_is_zero_makes_no_tile():
    class Rounded(toys.PixelLinear):
        def forward(self, x):
            return super().forward(x.round() + 0 * x)

    data = blocks(2, seed=4)
    dead = toys.Toy(Rounded(), 2)
    with pytest.raises(UserError, match="exactly zero at every step"):
        attack("universal:steps=3").fit(dead, replace(data, labels=data.labels % 2))
