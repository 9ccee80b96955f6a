"""Input defences: what they do to pixels, which gradient passes through them, and what they draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attack_toys as toys
from robustseg.attacks.looks import added
from robustseg.attacks.randomness import DRAWS, over_draws
from robustseg.catalog import attack
from robustseg.defenses.adaptive import expecting, findings, flat
from robustseg.defenses.defended import Defended, defended
from robustseg.defenses.inputs import median
from robustseg.defenses.words import parse
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.ops.jpeg import cubic, jpeg, straight
from robustseg.types import DenseOutput, ModelSpec, SemanticTarget


def toy():
    return toys.Toy(toys.PixelLinear(), 2)


class Mirror:
    """Its scores are the image itself: shows what a defence does to pixels, and where they come back."""

    spec = ModelSpec("mirror", "semantic", ("a", "b", "c"), "0" * 16)
    module = torch.nn.Identity()

    def __call__(self, images, **options):
        return DenseOutput(images)


def gradient(model, x, weight):
    x = x.clone().requires_grad_()
    return torch.autograd.grad((model(x).scores * weight).sum(), x)[0]


def test_bits_leave_so_many_levels_and_the_median_is_numpys():
    images, _ = toys.scene(n=2)
    behind = defended(Mirror(), "bits=2")(images).scores
    assert set((behind * 3).flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert torch.equal((behind * 3).round(), (images * 3).round())
    for k in (3, 5):
        padded = np.pad(images.numpy(), ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))
        assert np.array_equal(median(images, torch.full((2,), float(k))).numpy(), np.median(windows, (-2, -1)))


@pytest.mark.parametrize("text", ["bits=3", "jpeg=50", "jpeg=30-90", "median=3", "median=3,bits=4,jpeg=70"])
def test_the_gradient_rule_changes_no_pixel(text):
    images, _ = toys.scene(n=2)
    x = images.clone().requires_grad_()
    through, plain = (defended(Mirror(), text, bpda=b)(x).scores for b in (True, False))
    with torch.no_grad():
        predicted = defended(Mirror(), text)(images).scores
    assert torch.equal(through, plain)
    assert torch.equal(through, predicted)


def test_behind_rounding_the_gradient_is_the_models_at_the_rounded_point():
    images, _ = toys.scene(n=2)
    model = toys.Toy(toys.conv_net(), 4)
    weight = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1))
    rounded = (images * 7).round() / 7
    found = gradient(defended(model, "bits=3"), images, weight)
    assert torch.equal(found, gradient(model, rounded, weight))
    assert not torch.allclose(found, gradient(model, images, weight), rtol=1e-2)


def test_behind_jpeg_only_what_is_near_the_edge_of_a_step_has_a_gradient():
    flat_image = torch.full((1, 3, 16, 16), 128 / 255)  # every coefficient is 0
    ripple = torch.linspace(0, 3.14159, 16).cos().view(1, 1, 1, 16).expand(1, 3, 16, 16)
    assert gradient(defended(Mirror(), "jpeg=50"), flat_image, ripple).abs().max() < 1e-4  # in the middle of its step
    images = 0.4 + 0.2 * toys.scene(n=2)[0]  # far from the clamp
    weight = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    found = gradient(defended(Mirror(), "jpeg=90"), images, weight)
    x = images.clone().requires_grad_()
    rounding = {n: jpeg(x, torch.full((2,), 90.0), r) for n, r in (("cubic", cubic), ("straight", straight))}
    wanted = {n: torch.autograd.grad((y * weight).sum(), x)[0] for n, y in rounding.items()}
    assert torch.allclose(found, wanted["cubic"], atol=1e-5)
    assert not torch.allclose(found, wanted["straight"], atol=0.1)


def test_the_doctor_names_what_has_no_gradient_and_what_draws():
    image = toys.scene(n=1)[0]
    masked = {text: flat(parse(text)[0], image) for text in ("bits=3", "jpeg=50", "median=3", "resize=0.8")}
    assert masked == {"bits=3": True, "jpeg=50": True, "median=3": False, "resize=0.8": False}
    found = {f.name: f for f in findings(defended(Mirror(), "median=3,bits=3,resize=0.8-1.2,jpeg=50"), image)}
    assert found["defense-gradient"].message.startswith("bits=3, jpeg=50: not differentiable")
    assert found["defense-random"].message.startswith("resize=0.8-1.2: drawn at random")
    assert list(findings(defended(Mirror(), "median=3,resize=0.8"), image)) == []


def test_an_identity_leaves_every_bit_of_an_attack():
    images, labels = toys.scene(n=3, classes=2)
    plain = attack("pgd:steps=5")(toy(), images, labels, ids=["a", "b", "c"])
    behind = attack("pgd:steps=5")(defended(toy(), "median=1,resize=1"), images, labels, ids=["a", "b", "c"])
    for name in ("images", "score", "forwards", "backwards", "trace", "fault"):
        assert torch.equal(getattr(plain, name), getattr(behind, name)), name


def test_masked_gradients_stop_a_plain_attack_and_no_adaptive_one():
    images, labels = toys.scene(n=4, classes=2)
    with torch.no_grad():  # right on every pixel to begin with
        labels = torch.where(labels == 255, 255, defended(toy(), "bits=2")(images).scores.argmax(1))
    pgd = attack("pgd:eps=32/255,steps=10")
    plain = pgd(defended(toy(), "bits=2", bpda=False), images, labels, seed=1)
    adaptive = pgd(defended(toy(), "bits=2"), images, labels, seed=1)
    assert (plain.fault == 2).all()  # the gradient is exactly zero at every step
    assert (adaptive.fault == 0).all()
    assert adaptive.score.mean() > 1.5 * plain.score.mean() > 0  # what is left is the luck of the random start


# ------------------------------------------------------------------------------------------------ draws


@pytest.mark.parametrize("draws", [(0.0, 0.0, 0.0), (0.3, 0.999, 0.999), (0.999, 0.5, 0.2)])
def test_scores_come_back_to_where_the_image_was(draws):
    y, x = torch.meshgrid(torch.linspace(0, 1, 30), torch.linspace(0, 1, 40), indexing="ij")
    ramp = torch.stack([y, x, y * x])[None]
    model = defended(Mirror(), "resize=0.7-1.3")
    shown, _ = model.pixels(ramp, torch.tensor([draws]))
    assert tuple(shown.shape[-2:]) == (39, 52)
    back = model(ramp, draws=torch.tensor([draws])).scores
    inside = torch.nn.functional.interpolate(back, (30, 40), mode="bilinear", align_corners=False)
    assert (inside - ramp)[..., 3:-3, 3:-3].abs().max() < 0.02  # an image laid elsewhere is off by 0.2 and more


def test_draws_belong_to_the_image():
    images, labels = toys.scene(n=3, classes=2)
    model = defended(toy(), "resize=0.8-1.2", samples=2)
    pgd, ids = attack("pgd:steps=2"), ["a", "b", "c"]
    found = pgd(model, images, labels, ids=ids, seed=3).images
    alone = [pgd(model, images[i : i + 1], labels[i : i + 1], ids=[ids[i]], seed=3).images for i in range(3)]
    assert torch.equal(found, torch.cat(alone))
    assert torch.equal(found, pgd(model, images, labels, ids=ids, seed=3).images)
    assert not torch.equal(found, pgd(model, images, labels, ids=ids, seed=4).images)
    called = model(images).scores
    assert torch.equal(called, torch.cat([model(images[i : i + 1]).scores for i in range(3)]))


def looks_of(samples, step):
    images, labels = toys.scene(n=2, classes=2)

    def draws(*draw):
        return [seeds.generator(0, i, *draw) for i in ("a", "b")]

    made = list(over_draws(3, samples)(draws, 0, step, False))
    numbers = [k.apply(images, 0 * images, SemanticTarget(labels), {})[2][DRAWS] for k in made]
    return made, torch.stack(numbers)


def test_a_step_follows_fresh_draws_and_judges_by_the_same_ones():
    (first, one), (_, two) = looks_of(2, 0), looks_of(2, 1)
    assert [(k.follow, k.judge) for k in first] == [(True, False)] * 2 + [(False, True)] * 2
    assert torch.equal(one[2:], two[2:])
    follows = torch.cat([one[:2], two[:2], one[2:]]).flatten(1)
    assert len(follows.unique(dim=0)) == 6
    (only,), fixed = looks_of(0, 0)
    assert (only.follow, only.judge) == (True, True)
    assert torch.equal(fixed, looks_of(0, 7)[1])
    assert over_draws(0, 4, added) is added  # a model that draws nothing is looked at as ever


@pytest.mark.parametrize("spec", ["pgd:steps=3", "pgd:steps=3,restarts=2", "pgd:steps=2,eot=noise:0.01,eot_samples=2"])
def test_the_budget_counts_the_draws(spec):
    images, labels = toys.scene(n=2, classes=2)
    inner = toy()
    model = defended(inner, "jpeg=50-90", samples=3)
    made = attack(spec)
    planned = expecting(made, model)
    result = planned(model, images, labels, early_stop=False)
    assert planned.budget == (int(result.forwards[0]), int(result.backwards[0]))
    assert (inner.images, inner.backwards) == (2 * planned.budget[0], 2 * planned.budget[1])
    assert expecting(made, defended(inner, "jpeg=50")) is made
    assert planned.spec == made.spec


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("jpg=50", "did you mean jpeg"),
        ("median=4", "even.*use 3 or 5"),
        ("bits=2.5", "no whole number"),
        ("bits=2-3", "cannot be read"),
        ("jpeg=90-30", "not from 1 to 100 and rising"),
        ("resize", "write e.g. resize=0.8-1.2"),
        ("resize=1/0", "divides by zero"),
        (" , ", "is empty"),
    ],
)
def test_bad_words_are_one_line(text, says):
    with pytest.raises(UserError, match=says):
        parse(text)


def test_what_cannot_be_brought_back_is_refused():
    boxes = Mirror()
    boxes.spec = ModelSpec("boxes", "instance", ("a",), "0" * 16)
    with pytest.raises(UserError, match="answers in boxes"):
        defended(boxes, "median=3,resize=0.8")
    grey = toys.scene(n=1)[0][:, :1]
    with pytest.raises(UserError, match="jpeg is for RGB images; these have 1 channels"):
        defended(Mirror(), "jpeg=50")(grey)


def test_another_defence_is_another_model():
    digests = {
        defended(Mirror(), text).spec.digest for text in ("bits=3", "bits=4", "bits=3,median=3", "median=3,bits=3")
    }
    assert len(digests) == 4
    assert Mirror.spec.digest not in digests
    assert defended(Mirror(), "bits=3", bpda=False).spec == Defended(Mirror(), parse("bits=03")).spec
