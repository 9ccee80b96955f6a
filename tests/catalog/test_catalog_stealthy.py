"""The stealthy attack: what each kind aims at and reaches, beside noise; its generator; what it refuses."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys
from robustseg.attacks.generator import Generator
from robustseg.catalog import Artefact, attack
from robustseg.catalog.build import objective
from robustseg.catalog.entries import ENTRIES
from robustseg.catalog.stealthy import goal
from robustseg.errors import UserError
from robustseg.evaluation.equal_noise import equal_noise
from robustseg.ops import seeds
from robustseg.tasks.semantic import dense
from robustseg.types import DenseOutput, ModelSpec, SemanticTarget, View

EPS = 8 / 255
KINDS = ("vanish", "embed,height=0.6", "displace,dx=6")


@pytest.fixture(scope="module")
def model() -> toys.Toy:
    return toys.trained()


def generator_file(path, radius=EPS, scale=1.0, channels=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Generator(channels, 4, radius)
        with torch.no_grad():
            network.out.weight.mul_(scale)
    Artefact("stealthy-vanish", network.state_dict(), "toy:fit", 9, 8).save(path)
    return network.eval()


def aims(spec, labels, moved=1, draws=()):
    return goal(attack(spec).params, moved, SemanticTarget(labels), draws)


def test_goals_by_hand():
    labels = torch.tensor([[[0, 0, 1, 2, 2, 2, 255]]])
    assert aims("stealthy", labels)[0, 0, :6].tolist() in ([0, 0, 0, 2, 2, 2], [0, 0, 2, 2, 2, 2])
    moved = aims("stealthy:kind=displace,dx=2", labels)[0, 0, :6].tolist()
    assert moved in ([0, 0, 0, 2, 1, 2], [0, 0, 2, 2, 1, 2])
    up = torch.tensor([[[0], [0], [1], [2]]])
    assert aims("stealthy:kind=displace,dx=0,dy=-1", up)[0, 1].item() == 1
    assert aims("stealthy:kind=displace,dx=3", labels)[0, 0, 5].item() == 1
    assert 1 not in aims("stealthy:kind=displace,dx=5", labels)  # moved out of the picture: it vanishes
    with pytest.raises(UserError, match="moves everything out of an image of 1x7"):
        aims("stealthy:kind=displace,dx=7", labels)


def test_the_silhouette_has_its_place_or_one_of_its_own_on_every_image():
    labels = torch.zeros(2, 40, 80, dtype=torch.int64)
    fixed = aims("stealthy:kind=embed,place=0.25/1,height=1", labels, draws=[None, None])
    assert torch.equal(fixed[0], fixed[1])
    assert (fixed[0] == 1).nonzero().float().mean(0)[1].item() == pytest.approx(19.5)
    drawn = aims("stealthy:kind=embed", labels, draws=[seeds.generator(0, i) for i in "ab"])
    again = aims("stealthy:kind=embed", labels[:1], draws=[seeds.generator(0, "b")])
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[1], again[0])


def test_the_loss_by_hand_and_beside_metzens():
    z = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    before, after = torch.tensor([[[0, 1], [2, 255]]]), torch.tensor([[[1, 1], [2, 255]]])
    made = objective(ENTRIES["stealthy"], attack("stealthy:keep=0.25").params, None)
    view = View(z, z, z, DenseOutput(z))
    state = made.init(view, SemanticTarget(after), {"reference": before})
    found = made.value(view, SemanticTarget(after), state, 0.0)[0]["goal"]
    log_p = z.log_softmax(1)[0]
    by_hand = (log_p[1, 0, 0] + 0.25 * (log_p[1, 0, 1] + log_p[2, 1, 0])) / 3
    assert torch.allclose(found, by_hand)
    metzen = objective(ENTRIES["hide"], attack("hide:omega=0.8,tau=1").params, None)
    other = metzen.value(view, SemanticTarget(after), state, 0.0)[0]["goal"]
    assert torch.allclose(found, 1.25 * other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"eps": "1", "step_size": "2/255", "update": "adam"}])
def test_the_goal_is_reached_the_rest_kept_and_noise_does_neither(model, kind, options):
    images = toys.blocks(3, seed=5, size=32)[0].clamp(0, 1)
    made = attack(f"stealthy:kind={kind},steps=40", **options)
    result = made(model, images, ids=list("abc"))
    before, after = (model.module(x).argmax(1) for x in (images, result.images))
    noise = model.module(equal_noise(images, result.images, list("abc"), 0)).argmax(1)
    aimed = result.goal != before
    assert aimed.any()

    def reached(said):
        return (said == result.goal)[aimed].float().mean().item(), (said == before)[~aimed].float().mean().item()

    (hit, kept), (lucky, _) = reached(after), reached(noise)
    assert hit > 0.6
    assert hit > 2 * lucky
    assert kept > 0.85
    score = [((after == result.goal) & m).flatten(1).sum(1) / m.flatten(1).sum(1) for m in (aimed, ~aimed)]
    assert torch.allclose(result.score, (score[0] + score[1]) / 2, atol=1e-6)
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if not options:
        assert (result.images - images).abs().max() <= EPS + 1e-6


def test_an_image_is_attacked_alike_in_any_batch(model):
    images, ids = toys.blocks(3, seed=6)[0].clamp(0, 1), list("abc")
    made = attack("stealthy:kind=embed,height=0.5,mask=0.5,steps=4")
    whole, last = made(model, images, ids=ids), made(model, images[2:], ids=ids[2:])
    assert torch.allclose(whole.images[2:], last.images, atol=1e-6)
    assert torch.equal(whole.goal[2:], last.goal)
    other = made(model, images, ids=ids, seed=1)
    assert not torch.equal(whole.goal, other.goal)


def test_the_mask_leaves_its_pixels_alone(model):
    images = toys.blocks(2, seed=3, size=40)[0].clamp(0.1, 0.9)
    region = torch.zeros(2, 40, 40, dtype=torch.bool)
    region[:, :20] = True
    result = attack("stealthy:mask=0.25,steps=3")(model, images, ids=["a", "b"], region=region)
    changed = (result.images != images).any(1)
    assert not changed[:, 20:].any()
    assert changed[:, :20].float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(changed[0], changed[1])


def test_a_generator_makes_the_perturbation_in_one_forward(tmp_path, model):
    network = generator_file(tmp_path / "g.safetensors", scale=30.0)
    images = toys.blocks(2, seed=8, size=20)[0].clamp(0, 1)
    made = attack(f"stealthy:kind=displace,dx=5,mode=generator,generator={tmp_path / 'g.safetensors'}")
    assert made.budget == (2, 0)
    result = made(model, images)
    assert result.forwards.tolist() == [2, 2]
    assert result.backwards.tolist() == [0, 0]
    before = model.module(images).argmax(1)
    cue = torch.where(result.goal == 1, 1.0, -1.0) * (result.goal != before)
    assert set(cue.unique().tolist()) == {-1.0, 0.0, 1.0}
    with torch.no_grad():
        by_hand = (images + network(images, cue.unsqueeze(1))).clamp(0, 1)
    assert torch.allclose(result.images, by_hand, atol=1e-6)
    assert (result.images != images).any()
    region = torch.zeros(2, 20, 20, dtype=torch.bool)
    region[:, 4:9] = True
    inside = made(model, images, region=region)
    assert torch.equal(inside.images[~region.unsqueeze(1).expand_as(images)],
                       images[~region.unsqueeze(1).expand_as(images)])  # fmt: skip
    assert made.config["artefact"] == made.artefact.digest


def test_a_generator_brings_its_radius_unless_another_is_given(tmp_path):
    generator_file(tmp_path / "g.safetensors", radius=16 / 255)
    spec = f"stealthy:mode=generator,generator={tmp_path / 'g.safetensors'}"
    assert attack(spec).eps == "16/255"
    assert attack(spec, eps="20/255").eps == "20/255"
    assert attack(spec.replace("stealthy:", "stealthy@paper:")).eps == "1"
    assert attack("stealthy").eps == "8/255"


def test_generators_that_cannot_be_used_are_refused(tmp_path, model):
    def refused(text, **options):
        with pytest.raises(UserError) as caught:
            attack(f"stealthy:mode=generator,generator={text}", **options)(model, toys.blocks(1, 0)[0].clamp(0, 1))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = tmp_path / "g.safetensors"
    generator_file(path)
    assert "more than eps=4/255" in refused(path, eps="4/255")
    assert "the zoo has no generator nothing" in refused("zoo:nothing")
    assert "is no file" in refused(tmp_path / "none.safetensors")
    Artefact("universal-tile", {"tile": torch.zeros(3, 4, 4)}, "toy").save(path)
    assert "no weights of a generator" in refused(path)
    good = generator_file(path).state_dict()
    Artefact("stealthy-vanish", good | {"deep.0.bias": good["deep.0.bias"] / 0}, "toy").save(path)
    assert "NaN or infinity" in refused(path)
    Artefact("stealthy-vanish", good | {"deep.0.bias": torch.zeros(3)}, "toy").save(path)
    assert "another generator" in refused(path)
    generator_file(path, channels=1)
    assert "makes 1 channels" in refused(path)
    path.write_bytes(b"no tensors")
    assert "is not an attack artefact" in refused(path)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("stealthy:kind=hide", "choose one of vanish, embed, displace"),
        ("stealthy:mode=both", "choose one of direct, generator"),
        ("stealthy:dx=4", "belongs to kind=displace"),
        ("stealthy:kind=vanish,place=0.5/0.5", "belongs to kind=embed"),
        ("stealthy:kind=embed,place=here", "neither random nor X/Y"),
        ("stealthy:kind=embed,place=0.5/2", "neither random nor X/Y"),
        ("stealthy:kind=displace,dx=0", "moves nothing"),
        ("stealthy:kind=displace,dx=far", "no whole numbers"),
        ("stealthy:generator=auto", "belongs to mode=generator"),
        ("stealthy:mask=0", "leaves no pixel"),
        ("stealthy:keep=1.5", "is a share"),
        ("stealthy:target=least-likely", "takes no target"),
    ],
)
def test_options_that_cannot_be_meant(spec, words):
    with pytest.raises(UserError, match=words):
        attack(spec)


def test_models_and_images_that_lack_what_a_kind_needs(model):
    images = toys.blocks(2, seed=1)[0].clamp(0, 1)
    with pytest.raises(UserError, match="the model has no class 'cat'"):
        attack("stealthy:class=cat,steps=1")(model, images)
    images[0] = torch.tensor([0.425, 0.5, 0.55]).view(3, 1, 1)  # nothing but road
    result = attack("stealthy:steps=2")(model, images)
    assert result.applicable.tolist() == [False, True]
    assert torch.equal(result.images[0], images[0])
    assert result.score[0].isnan()
    shown = attack("stealthy:kind=embed,steps=2")(model, images)
    assert shown.applicable.all()
    classifier = toys.trained()
    classifier.spec = ModelSpec("toy", "classification", toys.CLASSES[:3], "0")
    with pytest.raises(UserError, match="one label an image"):
        attack("stealthy")(classifier, images)
    classifier.spec = ModelSpec("toy", "instance", toys.CLASSES[:3], "0")
    with pytest.raises(UserError, match="attacks scores of every pixel"):
        attack("stealthy")(classifier, images)


def test_queries_are_attacked_through_their_dense_scores():
    from query_models import Universal

    model, images = Universal(), torch.full((1, 3, 8, 16), 0.02)
    result = attack("stealthy:class=car,steps=8")(model, images)
    before, after = (dense(model(x), (8, 16)).scores for x in (images, result.images))
    aimed = before.argmax(1) == 2
    assert torch.equal(result.goal != before.argmax(1), aimed)

    def share(scores):
        return (scores.gather(1, result.goal.unsqueeze(1)) / scores.sum(1, keepdim=True))[:, 0][aimed].log().mean()

    assert share(after) > share(before) + 1  # the toy's masks are too sure of themselves to change hands
    assert result.backwards.tolist() == [8]
