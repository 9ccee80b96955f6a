"""What must hold for every attack on any input: radius, region, ignored pixels, order, batches, steps, early stop."""

from __future__ import annotations

import itertools

import pytest
import torch

import attack_toys as toys
from robustseg.ops.norms import norm
from robustseg.types import SemanticTarget

NAMES = [*toys.UNTARGETED, "noise", "hide"]
IDS = ["a", "b", "c", "d"]


@pytest.fixture
def net() -> toys.Toy:
    return toys.Toy(toys.conv_net(), 4)


def labels_of(model: toys.Toy, images: torch.Tensor) -> torch.Tensor:
    """The model's own prediction, some pixels ignored: all is right before the attack."""
    scores = torch.nn.functional.interpolate(model.module(images), images.shape[-2:], mode="bilinear")
    labels = scores.argmax(1)
    labels[:, 0, :3] = 255
    return labels


def run(name: str, model: toys.Toy, images: torch.Tensor, labels: torch.Tensor, steps: int = 4, **more):
    options = {} if name == "noise" else {"steps": steps}
    options |= {k: more.pop(k) for k in ("eps", "norm", "restarts", "update") if k in more}
    if name == "hide":
        present = labels[0][labels[0] != 255].mode().values
        options["class"] = toys.CLASSES[int(present)]
    return toys.ready(name, len(model.spec.classes), **options)(model, images, labels, ids=IDS[: len(images)], **more)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_eps_zero_gives_the_input_back_bit_for_bit(net, name, kind):
    images, _ = toys.scene()
    result = run(name, net, images, labels_of(net, images), eps="0", norm=kind)
    assert torch.equal(result.images, images)
    assert torch.equal(result.images.signbit(), images.signbit())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["linf", "l2"])
@pytest.mark.parametrize("masked", [False, True])
def test_inside_ball_box_and_region(net, name, kind, masked):
    images, _ = toys.scene()
    images[:, :, :, :5] = images[:, :, :, :5].round()  # black and white: the box binds
    eps = {"linf": 8 / 255, "l2": 0.5}[kind]
    region = torch.zeros(images[:, 0].shape, dtype=torch.bool)
    region[:, 2:9, 3:11] = True
    more = {"region": region} if masked else {}
    result = run(name, net, images, labels_of(net, images), eps=str(eps), norm=kind, **more)
    delta = result.images - images
    assert (norm(delta, kind) <= eps * (1 + 1e-5)).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert (norm(delta, "linf") > 0).all()
    if masked:
        outside = ~region.unsqueeze(1).expand_as(images)
        assert torch.equal(result.images[outside], images[outside])


@pytest.mark.parametrize("name", NAMES)
def test_ignored_pixels_have_no_influence(net, name):
    """Other labels under ignore cannot be; another ignore value, and what the model says there, must not matter."""
    images, _ = toys.scene()
    labels = labels_of(net, images)
    first = run(name, net, images, labels)
    moved = torch.where(labels == 255, -1, labels)
    options = {} if name == "noise" else {"steps": 4}
    if name == "hide":
        options["class"] = toys.CLASSES[int(labels[0][labels[0] != 255].mode().values)]
    second = toys.ready(name, 4, **options)(net, images, SemanticTarget(moved, -1), ids=IDS[:3])
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.score, second.score)


@pytest.mark.parametrize("name", ["pgd", "js", "padam-cos", "apgd"])
def test_pixels_that_only_ignored_labels_see_are_left_at_the_start(name):
    """On a pixelwise model nothing pulls at an ignored pixel: it stays where the random start put it."""
    model = toys.Toy(toys.PixelLinear(), 2)
    images = 0.2 + 0.6 * torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = model.module(images).argmax(1)
    labels[:, 0] = 255
    start = run("noise", model, images, labels).images
    update = {"update": "sign"} if name == "js" else {}  # APGD with radii moves the start by its projections
    found = toys.ready(name, 2, steps=4, **update)(model, images, labels, ids=IDS[:1]).images
    if name != "js":
        assert torch.allclose(found[:, :, 0], start[:, :, 0], atol=1e-7)
    assert (found[:, :, 1:] != start[:, :, 1:]).any()


@pytest.mark.parametrize("name", NAMES)
def test_permuting_images_permutes_results(name):
    model = toys.Toy(toys.PixelLinear(), 2)
    images = torch.rand(3, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    labels = model.module(images).argmax(1)
    order = torch.tensor([2, 0, 1])
    attack = toys.ready(name, 2, **({} if name == "noise" else {"steps": 4}))
    first = attack(model, images, labels, ids=IDS[:3])
    second = attack(model, images[order], labels[order], ids=[IDS[i] for i in order])
    for field in ("images", "score", "forwards", "backwards"):
        assert torch.equal(getattr(first, field)[order], getattr(second, field))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_images_one_by_one_bit_for_bit(name):
    """With compaction and restarts in play: what an image costs and gets depends on nobody else."""
    model = toys.Toy(toys.PixelLinear(b=-1.05), 2)
    images = 0.5 + torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1) * torch.rand(
        3, 3, 6, 7, generator=torch.Generator().manual_seed(1)
    )
    labels = model.module(images).argmax(1)
    options = {"restarts": 2} | ({} if name == "noise" else {"steps": 24})
    attack = toys.ready(name, 2, **options)
    whole = attack(model, images, labels, ids=IDS[:3])
    for i in range(3):
        one = attack(model, images[i : i + 1], labels[i : i + 1], ids=IDS[i : i + 1])
        for field in ("images", "score", "forwards", "backwards"):
            pair = getattr(one, field)[0], getattr(whole, field)[i]
            assert torch.equal(*(v.nan_to_num(-1) for v in pair)), field  # NaN: nothing to hide in this image
    if name not in ("noise", "hide"):
        assert whole.score.min() < 1 == whole.score.max()


@pytest.mark.parametrize("name", ["pgd", "segpgd", "apgd", "js", "padam-cos"])
def test_a_batch_is_its_images_one_by_one_on_a_network(net, name):
    images, _ = toys.scene()
    labels = labels_of(net, images)
    whole = run(name, net, images, labels, steps=6)
    for i in range(3):
        one = toys.ready(name, 4, steps=6)(net, images[i : i + 1], labels[i : i + 1], ids=IDS[i : i + 1])
        assert one.score[0] == pytest.approx(whole.score[i].item(), abs=0.03)
        assert one.trace[0, 0].nan_to_num(-1) == pytest.approx(whole.trace[i, 0].nan_to_num(-1).item(), abs=0.006)


def test_more_steps_contain_fewer(net):
    """Same start, fixed step: the first steps are the same, so the best can only get better."""
    images, labels = toys.scene()
    short = toys.ready("pgd:steps=4,step_size=2/255", 4)(net, images, labels, ids=IDS[:3], early_stop=False)
    long = toys.ready("pgd:steps=9,step_size=2/255", 4)(net, images, labels, ids=IDS[:3], early_stop=False)
    assert torch.equal(long.trace[:, :5], short.trace)
    assert (long.score >= short.score).all()
    assert (long.trace.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("name", ["pgd", "bim", "js", "noise"])
def test_more_restarts_contain_fewer(net, name):
    images, _ = toys.scene(4)
    labels = labels_of(net, images)
    results = [run(name, net, images, labels, restarts=r, eps="16/255", early_stop=False) for r in (1, 2, 4)]
    for fewer, more in itertools.pairwise(results):
        assert (more.score >= fewer.score).all()
    one, four = results[0], results[2]
    assert torch.equal(four.forwards, 4 * one.forwards)
    if name != "bim":  # it starts at the image, then at random; here both end in the same corner of the ball
        assert (four.score > one.score).any()


def test_restarts_of_an_attack_that_starts_at_the_image_start_elsewhere(net):
    images, _ = toys.scene()
    labels = labels_of(net, images)
    one = run("bim", net, images, labels, steps=0, eps="16/255")
    two = run("bim", net, images, labels, steps=0, eps="16/255", restarts=2)
    assert torch.equal(one.images, images)
    assert (two.score > one.score).all()


def test_ties_keep_the_iterate_that_is_furthest_along():
    """No pixel can flip, and still FGSM returns its step, not the image."""
    model = toys.Toy(toys.PixelLinear(b=1.0), 2)
    images = torch.full((1, 3, 2, 2), 0.5)
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    result = toys.ready("fgsm", 2)(model, images, labels)
    assert result.score.item() == 0
    expected = images + 8 / 255 * torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    assert torch.allclose(result.images, expected)


# ------------------------------------------------------------------------- early stop


@pytest.mark.parametrize("name", ["pgd", "segpgd", "mi-fgsm", "apgd", "js", "padam-ce", "strong"])
def test_early_stop_gives_the_same_scores_for_less(name):
    """Images solved after different numbers of steps leave the batch; those that stay do not notice."""
    model = toys.Toy(toys.PixelLinear(b=-1.05), 2)
    images = 0.5 + torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1) * torch.rand(
        3, 3, 6, 7, generator=torch.Generator().manual_seed(1)
    )
    labels = model.module(images).argmax(1)
    attack = toys.ready(name, 2, steps=40)
    early = attack(model, images, labels, ids=IDS[:3])
    seen, model.images = model.images, 0
    full = attack(model, images, labels, ids=IDS[:3], early_stop=False)
    assert torch.equal(early.score, full.score)
    stays = early.score < 1
    assert stays.any()
    assert not stays.all()
    assert torch.equal(early.images[stays], full.images[stays])
    assert (early.forwards[~stays] < full.forwards[~stays]).all()
    assert torch.equal(early.forwards[stays], full.forwards[stays])
    assert int(early.forwards.sum()) == seen < model.images == int(full.forwards.sum())


def test_later_restarts_skip_solved_images():
    model = toys.Toy(toys.PixelLinear(b=-1.05), 2)
    images = 0.5 + torch.tensor([0.01, 0.2]).view(2, 1, 1, 1) * torch.rand(
        2, 3, 6, 7, generator=torch.Generator().manual_seed(1)
    )
    labels = model.module(images).argmax(1)
    result = toys.ready("pgd:steps=12,restarts=3", 2)(model, images, labels, ids=IDS[:2])
    assert result.score[0] == 1 > result.score[1]
    assert result.forwards.tolist() == [10, 39]
    assert result.backwards.tolist() == [10, 36]
    assert model.images == 49


def test_images_leave_in_several_waves_and_keep_their_places():
    """Margins of 1.5, 0.3, 0.9, 1.2 and 0.5 times what eps can lift, in steps of eps/15: never, 5, 14, never, 8."""
    model = toys.Toy(toys.PixelLinear(b=-1.0), 2)  # z = (10 + s, 10 - s), s = 3r - 2g + b - 1 = 0 at grey
    reach = 6 * 8 / 255
    share = torch.tensor([1.5, 0.3, 0.9, 1.2, 0.5]) * reach / 3
    images = torch.full((5, 3, 2, 2), 0.5)
    images[:, 0] += share.view(5, 1, 1)
    labels = torch.zeros(5, 2, 2, dtype=torch.int64)
    for spec in ("bim:steps=40,step_size=eps/15", "mi-fgsm:steps=40,step_size=eps/15"):
        model.images = 0
        result = toys.ready(spec, 2)(model, images, labels)
        assert result.score.tolist() == [0, 1, 1, 0, 1]
        assert result.forwards.tolist() == [41, 10, 20, 41, 10]
        assert result.backwards.tolist() == [40, 10, 20, 40, 10]
        assert model.images == 122
        fallen = model.module(result.images).argmax(1).flatten(1).float().mean(1)
        assert torch.equal(fallen, result.score)
