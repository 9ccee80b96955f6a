"""Z-Mask: its formulas by hand, what it hides, which gradient passes, its calibration, and patches that avoid it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import attack_toys as toys
from robustseg.catalog import Artefact, attack
from robustseg.defenses import zmask, zmask_fit
from robustseg.defenses.defended import Defended, defended
from robustseg.defenses.words import parse, text_of_parts
from robustseg.defenses.zmask import ZMask, _refined, _windows, _z, block
from robustseg.defenses.zmask_fit import Watched, calibrate
from robustseg.errors import UserError
from robustseg.ops.style import Features
from robustseg.types import DenseOutput, ModelSpec, Sample

IDENTITY = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])


class Seen(nn.Module):
    """Two feature maps: the image, and its mean over 2x2; a class is what is brighter. Spread over the image a bit."""

    def __init__(self):
        super().__init__()
        self.sharp = nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        wide = nn.functional.avg_pool2d(x, 9, 1, 4, count_include_pad=False)
        s = self.sharp * (0.5 * x[:, 0] + 1.5 * wide[:, 0] - wide.mean((1, 2, 3))[:, None, None] - 0.5)
        return torch.stack([s, -s], 1)


class Model:
    """The smallest one with feature maps."""

    spec = ModelSpec("seen", "semantic", ("bright", "dark"), "5" * 16)
    gives = frozenset({"features"})

    def __init__(self):
        self.module, self.forwards = Seen(), 0

    def __call__(self, images, *, want=frozenset(), **options):
        self.forwards += len(images)
        maps = (images, nn.functional.avg_pool2d(images, 2))
        return DenseOutput(self.module(images), extras={"features": Features(maps, maps[0])} if want else {})


class Pictures:
    """Grey pictures with a little noise; their labels are what the model says of them."""

    ref, ignore, task, classes, ids = "toy:fit", 255, "semantic", ("bright", "dark"), ()

    def __init__(self, number=4, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.images = [0.45 + 0.1 * torch.rand(3, 24, 32, generator=g) for _ in range(number)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        with torch.no_grad():
            return Sample(str(i), self.images[i], Seen()(self.images[i][None]).argmax(1)[0])

    def digest(self):
        return self.ref


@pytest.fixture(scope="module")
def learned() -> Artefact:
    return calibrate(Model(), Pictures(), seed=1)


def spot(image, at=(4, 6), size=(8, 10)):
    """An image with something on it that no clean one has."""
    x = image.clone()
    x[..., at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    return x


def test_the_formulas_by_hand():
    a = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])
    z = _z(a, torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]))
    assert torch.allclose(z, torch.tensor([[[[0.0, 1.0]], [[-1.0, 1.0]]]]), atol=1e-4)
    # a window of one place: the mean over channels of |z| is (0.5, 1); one of all: |mean| is (0.5 + 0) / 2
    assert torch.allclose(_refined(z, [0.1], (1, 2)), torch.tensor([[[[0.5, 1.0]]]]), atol=1e-4)
    whole = _refined(z, [2.0], (1, 2))
    assert torch.allclose(whole, torch.full((1, 1, 1, 2), 0.25), atol=1e-4)
    both = _refined(z, [2.0, 0.1], (1, 2))
    assert torch.allclose(both, 0.25 / 1.25 * torch.tensor([[[[0.5, 1.0]]]]), atol=1e-4)
    S, D, w = torch.rand(5), torch.rand(5), torch.randn(4, 2)
    gate = (w[1, 0] * (w[0, 0] * D + w[0, 1]).tanh() + w[1, 1]).sigmoid()
    assert torch.allclose(block(S, D, w), (w[3, 0] * (w[2, 0] * (S * gate) + w[2, 1]).tanh() + w[3, 1]).sigmoid())


def test_a_window_at_the_border_is_the_part_that_is_inside():
    z = torch.arange(5.0).view(1, 1, 1, 5)
    assert torch.allclose(_windows(z, 0.6, (1, 5)).flatten(), torch.tensor([0.5, 1.0, 2.0, 3.0, 3.5]))
    x = torch.rand(1, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(x, (12, 20), mode="bilinear", align_corners=False)
    pooled = torch.nn.functional.avg_pool2d(wide, (5, 9), 1, (2, 4), count_include_pad=False)
    assert torch.allclose(_windows(x, 0.43, (12, 20)), pooled, atol=1e-6)


def test_what_is_suspect_is_hidden_and_an_attack_sees_through_the_soft_mask(learned):
    model = Model()
    z, image = ZMask.of(learned, model), spot(Pictures()[0].image)[None]
    mask, score = z.seen(zmask.maps_of(model, image), (24, 32))
    behind = defended(model, "zmask", learned=learned)
    shown, _ = behind.pixels(image)
    hides = (mask > 0.5).expand_as(image)
    colour = z.colour.view(1, 3, 1, 1).expand_as(image)
    assert torch.equal(shown, torch.where(hides, colour, image))
    assert 0 < float(hides.float().mean()) < 1
    output = behind(image)
    assert torch.equal(output.extras["suspicion"], score)
    weight = torch.rand(shown.shape, generator=torch.Generator().manual_seed(0))
    x = image.clone().requires_grad_()
    through, _ = behind.pixels(x)
    assert torch.equal(through, shown)
    (found,) = torch.autograd.grad((through * weight).sum(), x)
    y = image.clone().requires_grad_()
    soft, _ = z.seen(zmask.maps_of(model, y), (24, 32))
    (wanted,) = torch.autograd.grad(((y * (1 - soft) + colour * soft) * weight).sum(), y)
    assert torch.allclose(found, wanted, atol=1e-6)
    flat, _ = defended(model, "zmask", bpda=False, learned=learned).pixels(x)
    (plain,) = torch.autograd.grad((flat * weight).sum(), x)
    assert torch.equal(plain, weight * ~hides)


def test_who_keeps_it_silent_follows_what_would_be_seen_and_is_judged_by_what_is(learned):
    """Past the mask, an answer that is differentiated is the bare model's; without a gradient nothing changes."""
    model, image = Model(), spot(Pictures()[0].image)[None]
    behind = defended(model, "zmask", learned=learned)
    x = image.clone().requires_grad_()
    output = behind.past()(x)
    assert torch.equal(output.scores, model(image).scores)
    assert not torch.equal(output.scores, behind(image).scores)  # here it hides
    (found,) = torch.autograd.grad(output.scores[:, 0].sum(), x)
    (wanted,) = torch.autograd.grad(model(x).scores[:, 0].sum(), x)
    assert torch.equal(found, wanted)
    assert torch.equal(behind.past()(x).extras["suspicion"], behind(x).extras["suspicion"])
    with torch.no_grad():
        assert torch.equal(behind.past()(x).scores, behind(image).scores)
    plain = defended(model, "zmask", bpda=False, learned=learned)
    assert torch.equal(plain.past()(x).scores, plain(x).scores)


def test_a_patch_that_avoids_is_fitted_past_the_mask(learned, monkeypatch):
    """With the term, gradients are those of the model without its mask; without it they pass through the soft mask."""
    made = []
    past = Defended.past
    monkeypatch.setattr(Defended, "past", lambda self: made.append(1) or past(self))
    behind = defended(Model(), "zmask", learned=learned)
    for weight, times in (("0", 0), ("1", 1)):
        attack("patch:size=8x8,steps=1,images=1,batch=1,vary=none", avoid=weight).fit(behind, Pictures(1))
        assert len(made) == times


def test_calibration_finds_patches_and_leaves_clean_images_alone(learned):
    model = Model()
    z = ZMask.of(learned, model)
    clean = torch.stack([Pictures(3, seed=7)[i].image for i in range(3)])
    masks, scores = z.seen(zmask.maps_of(model, clean), (24, 32))
    there, suspect = z.seen(zmask.maps_of(model, spot(clean)), (24, 32))
    inside = torch.zeros(24, 32, dtype=torch.bool)
    inside[4:12, 6:16] = True
    assert masks.max() < 0.5
    assert there[..., inside].mean() > 2 * there[..., ~inside].mean()
    assert (suspect > 2 * scores).all()


def test_the_same_seed_finds_the_same(monkeypatch):
    monkeypatch.setattr(zmask_fit, "ROUNDS", 5)
    one, again, other = (calibrate(Model(), Pictures(), seed=s).digest for s in (1, 1, 2))
    assert one == again != other


def test_all_its_passes_are_counted(monkeypatch):
    model, made = Model(), []
    monkeypatch.setattr(zmask_fit, "ROUNDS", 5)
    whole = zmask_fit._patch
    monkeypatch.setattr(zmask_fit, "_patch", lambda *a: made.append(whole(*a)) or made[-1])
    artefact = calibrate(model, Pictures())
    assert artefact.forwards == model.forwards
    assert artefact.backwards == sum(a.backwards for a in made)
    assert made[1].backwards == 2 * made[0].backwards  # the second keeps layers calm: a gradient more


def test_statistics_are_means_over_images(learned):
    data = Pictures()
    first = torch.stack([data[i].image.mean((1, 2)) for i in range(4)]).mean(0)
    assert torch.allclose(learned.tensors["mean0"], first, atol=1e-5)
    assert torch.allclose(learned.tensors["colour"], first, atol=1e-5)
    spread = torch.stack([data[i].image.flatten(1).std(1, correction=0) for i in range(4)]).mean(0)
    assert torch.allclose(learned.tensors["std0"], spread, atol=1e-5)


def test_a_patch_that_avoids_is_less_suspect(learned):
    """The same search with and without the term; and the term costs a backward, which is counted."""
    behind, scores = defended(Model(), "zmask", learned=learned), {}
    for weight in ("0", "3"):
        made = attack("patch:size=8x8,steps=12,images=2,batch=2,vary=none", avoid=weight)
        fitted = made.fit(behind, Pictures(2, seed=5))
        assert fitted.backwards == 12 * 2 * (1 if weight == "0" else 2)
        images = torch.stack([Pictures(2, seed=5)[i].image for i in range(2)])
        scores[weight] = behind(
            made.with_artefact(fitted)(behind, images, torch.zeros(2, 24, 32, dtype=torch.int64)).images
        )
    assert scores["3"].extras["suspicion"].mean() < 0.8 * scores["0"].extras["suspicion"].mean()


def test_a_model_that_suspects_nothing_is_attacked_as_ever():
    """``avoid`` says nothing there: the same patch at the same price, to the bit."""
    made = [attack("patch:size=8x8,steps=4,images=2,batch=1", avoid=w).fit(Model(), Pictures(2)) for w in ("0", "1")]
    assert torch.equal(made[0].tensors["patch"], made[1].tensors["patch"])
    assert made[0].backwards == made[1].backwards


def test_a_watched_model_is_the_model_with_the_heat_of_its_shallow_layers(learned):
    model, image = Model(), Pictures()[0].image[None]
    z = ZMask.of(learned, model)
    output = Watched(model, z)(image)
    assert torch.equal(output.scores, model(image).scores)
    S, _ = z.heat(zmask.maps_of(model, image), (24, 32))
    assert torch.equal(output.extras["suspicion"], S.flatten(1).mean(1))


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("zmask", "zmask"),
        ("zmask=.5", "zmask"),
        ("zmask=0.30,bits=3", "zmask=0.3,bits=3"),
        ("zmask=a/b.safetensors", "zmask=a/b.safetensors"),
        ("zmask=0.4@b", "zmask=0.4@b"),
        ("demask=1.0%", "demask=1%"),
        ("jpeg=50,demask=12/three", "jpeg=50,demask=12x12/three"),
    ],
)
def test_words_have_one_spelling(text, canonical):
    assert text_of_parts(parse(text)) == canonical == text_of_parts(parse(canonical))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("zmask=1.5", "choose between 0 and 1"),
        ("zmask,zmask=0.4", "zmask stands there twice"),
        ("z-mask", "did you mean zmask"),
        ("demask", "write e.g. demask=1%"),
        ("demask=1%/windows", "choose one of columns, rows, three, four"),
        ("demask=1%,bits=3", "the last of a chain"),
    ],
)
def test_bad_words_are_one_line(text, says):
    with pytest.raises(UserError, match=says):
        parse(text)


def test_what_it_cannot_do_is_refused_in_one_line(learned, tmp_path):
    with pytest.raises(UserError, match="must be calibrated on images"):
        defended(Model(), "zmask")
    with pytest.raises(UserError, match="toy gives none; use demask"):
        calibrate(toys.Toy(toys.PixelLinear(), 2), Pictures())
    with pytest.raises(UserError, match="is no number and no file"):
        defended(Model(), "zmask=nowhere.safetensors")
    other = Model()
    other.spec = replace(Model.spec, digest="6" * 16)
    with pytest.raises(UserError, match="calibrated for another model"):
        defended(other, "zmask", learned=learned)
    with pytest.raises(UserError, match="no calibration of zmask"):
        defended(Model(), "zmask", learned=Artefact("patch", {}, "x"))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not an attack artefact"):
        defended(Model(), f"zmask={tmp_path / 'bad.safetensors'}")


def test_a_file_is_the_same_defence_as_what_it_holds(learned, tmp_path):
    learned.save(tmp_path / "z.safetensors")
    image = spot(Pictures()[0].image)[None]
    here, there = defended(Model(), "zmask", learned=learned), defended(Model(), f"zmask={tmp_path / 'z.safetensors'}")
    assert torch.equal(here(image).scores, there(image).scores)
    assert here.spec.digest == there.spec.digest != Model.spec.digest
    assert defended(Model(), "zmask=0.4", learned=learned).spec.digest != here.spec.digest


def test_demask_votes(learned):
    from robustseg.defenses.demasked import certified
    from robustseg.defenses.masking import layout

    image = Pictures()[0].image[None]
    found = defended(Model(), "demask=4")(image)
    assert found.kind == "scores"
    made = layout("columns", "recovery", (4, 4), (24, 32))
    assert torch.equal(found.scores.max(1).indices, certified(Model(), image, made, "recovery").labels)
    both = defended(Model(), "zmask,demask=4", learned=learned)(image)
    assert "suspicion" in both.extras
