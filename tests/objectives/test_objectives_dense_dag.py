"""DAG on pixels: what is active, what is pushed, goals without fixed point, equal steps, the shuffled control."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys
from robustseg.catalog import attack
from robustseg.errors import UserError
from robustseg.objectives.dag import dag, lost
from robustseg.objectives.goals import permuted
from robustseg.ops.seeds import generator
from robustseg.types import DenseOutput, SemanticTarget, View

# three pixels of truth 0 and goal 1: still right; wrong, but not at its goal; at its goal
SCORES = torch.tensor([[5.0, 2.0, 0.0], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0]]).T.reshape(1, 3, 1, 3)
GOAL, TRUTH = SemanticTarget(torch.ones(1, 1, 3, dtype=torch.int64)), torch.zeros(1, 1, 3, dtype=torch.int64)


def drawn(images):
    return [generator(0, str(i)) for i in images]


@pytest.mark.parametrize(
    ("rest", "value", "slopes"),
    [("goal", -3 - 2, [[-1, 1, 0], [0, 1, -1], [0, 0, 0]]), ("wrong", -3, [[-1, 1, 0], [0, 0, 0], [0, 0, 0]])],
)
def test_active_pixels_by_hand(rest, value, slopes):
    z = SCORES.clone().requires_grad_()
    view = View(z, z, z, DenseOutput(z))
    objective = dag(rest)
    state = objective.init(view, GOAL, {"reference": TRUTH})
    terms, _ = objective.value(view, GOAL, state, 0.0)
    assert terms["dag"].tolist() == [value]
    (g,) = torch.autograd.grad(terms["dag"].sum(), z)
    assert g[0, :, 0].T.tolist() == slopes
    if rest == "wrong":
        assert lost(view, GOAL, state).item() == pytest.approx(2 / 3)


def test_ignored_pixels_are_no_targets():
    goal = SemanticTarget(torch.tensor([[[255, 1, 1]]]))
    view = View(SCORES, SCORES, SCORES, DenseOutput(SCORES))
    for rest, value in (("goal", -2), ("wrong", 0)):
        state = dag(rest).init(view, goal, {"reference": TRUTH})
        assert dag(rest).value(view, goal, state, 0.0)[0]["dag"].item() == value
    assert lost(view, goal, {"reference": TRUTH}).item() == 1  # of the two that have a goal none is right


def test_every_class_becomes_another_and_all_ways_are_drawn():
    labels = torch.arange(4).view(1, 1, 4).expand(200, 1, 4)
    goals = permuted(SemanticTarget(labels), [False] * 4, drawn(range(200)))[:, 0]
    assert (goals != torch.arange(4)).all()
    assert (goals.sort(1).values == torch.arange(4)).all()
    assert len({tuple(g.tolist()) for g in goals}) == 9  # permutations of four without fixed point, not cycles only
    assert torch.equal(permuted(SemanticTarget(labels[:1]), [False] * 4, drawn([7]))[0], goals[7:8])


def test_background_is_no_target():
    truth = SemanticTarget(torch.tensor([[[0, 1, 2]]]))
    assert permuted(truth, [True, False, False], drawn([0])).tolist() == [[[255, 2, 1]]]
    assert permuted(truth, [True, True, False], drawn([0])).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("rest", ["goal", "wrong"])
def test_it_runs_until_nothing_is_active_in_steps_of_half_a_grey_level(rest):
    """z = (10 + s, 10 - s), s = 0.05 and 0.25: every pixel by itself, lowered by 14/3 of a step a step."""
    model = toys.Toy(toys.PixelLinear(b=-1.0), 2)
    images = torch.full((2, 3, 2, 2), 0.5)
    images[:, 0] += torch.tensor([0.1, 0.5]).view(2, 1, 1) / 6
    labels = torch.zeros(2, 2, 2, dtype=torch.int64)
    found = attack(f"dag:rest={rest}")(model, images, labels)
    assert found.score.tolist() == [1, 1]
    assert found.backwards.tolist() == [10, 30]  # looked at every ten steps
    largest = (found.images - images).abs().flatten(1).amax(1) * 510
    # along g = (3, -2, 1)/3 a step lowers s by (3 + 4/3 + 1/3)/510
    needed = torch.tensor([0.1, 0.5]) / 2 / ((9 + 4 + 1) / 3 / 510)
    assert torch.equal(largest.round(), needed.ceil())
    assert (largest - largest.round()).abs().max() < 1e-3
    assert (model.module(found.images).argmax(1) == 1).all()
    assert found.goal is not None
    assert (found.goal == 1).all()


def test_no_ball_unless_there_is_one():
    assert attack("dag").eps is None
    assert attack("dag").spec == "dag"
    assert attack("dag@paper").params["step_size"] == "1/510"
    ball = attack("dag:eps=2/255")
    assert (ball.spec, ball.params["step_size"]) == ("dag:eps=2/255", "eps/4")
    assert attack(ball.spec) == ball
    model, (images, labels) = toys.Toy(toys.conv_net(), 4), toys.scene()
    far, near = (attack(s)(model, images, labels) for s in ("dag:steps=8,step_size=8/255", "dag:steps=8,eps=2/255"))
    assert (near.images - images).abs().max() <= 2 / 255 + 1e-6 < (far.images - images).abs().max()
    assert far.images.min() >= 0
    assert far.images.max() <= 1


def test_the_unit_trap_is_said():
    (said,) = attack("dag:step_size=0.5").warnings
    assert "step_size=1/510" in said
    assert attack("dag").warnings == []
    with pytest.raises(UserError, match="part of a radius, and there is none"):
        attack("dag:step_size=eps/4")
    with pytest.raises(UserError, match="update=apgd halves"):
        attack("dag:update=apgd")
    with pytest.raises(UserError, match="nms= is for models that give regions"):
        attack("dag:nms=0.8")(toys.Toy(toys.conv_net(), 4), *toys.scene())


def test_shuffled_is_the_same_noise_in_other_places_and_does_less():
    """A picture's worth of structure on a smoothing network: shuffled it is gone, though no value is."""
    model = toys.trained()
    images, labels = toys.blocks(2, 5)
    region = torch.zeros_like(labels, dtype=torch.bool)
    region[:, :, 4:] = True
    options = {"ids": ["a", "b"], "region": region}
    found, control = (
        attack(f"dag:step_size=2/255,steps=30{more}")(model, images, labels, **options)
        for more in ("", ",control=shuffled")
    )
    made, moved = found.images - images, control.images - images
    for one, other, there in zip(made, moved, region):
        pixels = [sorted(map(tuple, (d[:, there].T * 510).round().int().tolist())) for d in (one, other)]
        assert pixels[0] == pixels[1]
        assert not torch.equal(one, other)
        assert not other[:, ~there].any()
    wrong = [toys.wrong(model, x, labels).float().mean().item() for x in (images, found.images, control.images)]
    assert wrong[1] > wrong[0] + 0.3
    assert wrong[2] - wrong[0] < (wrong[1] - wrong[0]) / 2
    assert (control.forwards - found.forwards).tolist() == [1, 1]
    assert torch.equal(control.backwards, found.backwards)
    assert attack("dag:control=shuffled").budget[0] == attack("dag").budget[0] + 1
    assert torch.equal(control.trace[:, -1], control.score)
