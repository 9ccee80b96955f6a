"""Named attacks on detections, end to end: they beat noise, keep the ball, and no image minds its neighbours."""

from __future__ import annotations

import pytest
import torch

import tiny_maskrcnn
from region_toys import ToyRegions, grid, squares, target
from robustseg.catalog import attack, entries
from robustseg.errors import UserError
from robustseg.models import maskrcnn
from robustseg.types import QueryOutput

NAMES = [e.name for e in entries() if "region" in e.output and e.name not in ("noise", "patch") and not e.natural]
TOUCHY = {"roi-box": {"drift": 10.0, "gain": 4}}  # boxes that follow the pixels


def scene():
    parts = [squares(cells, bright=0.56, dark=0.46) for cells in ([0, 5, 10], [3], [6, 7])]
    return torch.stack([image for image, _ in parts]), target([masks for _, masks in parts])


def toy(name):
    return ToyRegions(grid(24, 32), **TOUCHY.get(name, {}))


def test_every_attack_on_regions_is_here():
    assert {"rpn-objectness", "roi-class", "roi-box", "roi-mask", "phantom", "training-loss", "dag", "ap-rank"} <= {
        *NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_beats_noise_within_the_ball(name):
    images, t = scene()
    model = toy(name)
    noise = attack("noise:eps=0.1")(model, images, t)
    found = attack(f"{name}:eps=0.1,steps=10")(model, images, t)
    assert (found.images - images).abs().max() <= 0.1 + 1e-6
    assert not found.fault.any()
    if name == "rpn-objectness":  # the toy proposes all its anchors, whatever their objectness
        return
    assert found.score.mean() > noise.score.mean() + 0.02
    assert (found.score >= noise.score - 0.02).all()


@pytest.mark.parametrize("name", ["roi-class", "roi-class:proposals=fixed", "ap-rank", "dag", "training-loss"])
def test_an_image_is_attacked_alone(name):
    images, t = scene()
    spec = name + ("," if ":" in name else ":") + "eps=0.1,steps=12"
    together = attack(spec)(toy(name), images, t, ids=["a", "b", "c"])
    for i in range(3):
        alone = attack(spec)(toy(name), images[i : i + 1], t.select(torch.tensor([i])), ids=["abc"[i]])
        assert (alone.images - together.images[i : i + 1]).abs().max() <= 1e-5
        assert alone.score.item() == pytest.approx(together.score[i].item(), abs=1e-5)


def test_what_is_solved_leaves_the_batch():
    """Early stop with proposals in the state: the first image is dark and lost from the start."""
    images, t = scene()
    images[0] = 0.2
    found = attack("roi-class:proposals=fixed,eps=0.02,steps=25")(toy("roi-class"), images, t)
    assert found.score[0] == 1
    assert found.backwards[0] < found.backwards[1] == 25


def test_the_first_stage_loses_its_proposals():
    """A real network that keeps five proposals: after the attack none of them is on the object."""
    from robustseg.ops import boxes as bx

    net = tiny_maskrcnn.network(2, seed=3, rpn_post_nms_top_n_test=5)
    model = maskrcnn.adapter(net, ("background", "a"), "t", "t", size="native")
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        x0, y0, x1, y1 = model(x).proposals[0, 0].round().long().tolist()
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[0, y0:y1, x0:x1] = True

    def best(images):
        with torch.no_grad():
            return bx.iou(model(images).proposals, torch.tensor([[[x0, y0, x1, y1]]]).float()).max().item()

    found = attack("rpn-objectness:eps=2/255,steps=20")(model, x, target([mask]), early_stop=False)
    assert best(x) > 0.7
    assert best(found.images) < 0.5
    assert best(attack("noise:eps=2/255")(model, x, target([mask])).images) > 0.5


def test_the_ranking_attack_works_on_queries():
    """Two queries that answer brightness; a third that is a weak false one."""

    class Queries:
        spec = ToyRegions(grid(8, 8)).spec.__class__("q", "universal", ("a", "b"), "x")
        module = torch.nn.Identity()

        def __call__(self, images, *, prompts=None, proposals=None, want=frozenset()):
            glow = 10 * (images.mean(1) - 0.5)
            left = torch.cat([glow[..., :16], torch.full_like(glow[..., 16:], -5)], -1)
            right = torch.cat([torch.full_like(glow[..., :16], -5), glow[..., 16:]], -1)
            false = -glow  # the dark
            sure = left.amax((1, 2))[:, None, None]
            classes = torch.cat([sure, sure * 0.5, 0 * sure], 1).flatten(1)
            logits = torch.stack([classes, torch.zeros_like(classes) - 4, torch.zeros_like(classes)], -1)
            return QueryOutput(logits, torch.stack([left, right, false], 1))

    image, masks = squares([0, 3], 8, 32, bright=0.7, dark=0.3)
    t = target([masks])
    t = type(t)(t.labels, 255, t.masks, t.categories - 1, t.crowd, torch.tensor([True, True]))
    still = attack("ap-rank:eps=0.22,steps=0")(Queries(), image[None], t)  # its random start alone
    found = attack("ap-rank:eps=0.22")(Queries(), image[None], t)
    assert found.score.item() > still.score.item() + 0.3
    assert (found.images - image).abs().max() <= 0.22 + 1e-6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("roi-class:proposals=still", "choose one of moving, fixed"),
        ("roi-class:objective=mine.py:f", "takes no objective"),
        ("rpn-objectness:proposals=fixed", "unknown option 'proposals'"),
    ],
)
def test_options_are_checked(spec, message):
    with pytest.raises(UserError, match=message):
        attack(spec)


def test_dag_options_are_checked():
    images, t = scene()
    for spec, message in (
        ("nms=x", "not a number"),
        ("nms=2", "from 0 to 1"),
        ("top=0", "from 1 on"),
        ("top=x", "from 1"),
    ):
        with pytest.raises(UserError, match=message):
            attack(f"dag:{spec}")
    with pytest.raises(UserError, match="dag: nms=0"):
        attack("dag:nms=0")(toy("dag"), images, t)


@pytest.mark.parametrize("spec", ["phantom:area=0.1", "dag:rest=wrong"])
def test_options_of_another_output_are_refused_and_not_passed_over(spec):
    images, t = scene()
    option = spec.partition(":")[2].partition("=")[0]
    with pytest.raises(UserError, match=f"{option}= is for models that give "):
        attack(spec)(toy(spec.partition(":")[0]), images, t)


def test_a_model_of_pixels_is_refused():
    import attack_toys as toys

    model = toys.Toy(torch.nn.Conv2d(3, 2, 1), 2)
    with pytest.raises(UserError, match=r"attacks regions \(Mask R-CNN\)"):
        attack("roi-class")(model, torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
