"""Restarts, radius schedules and parts of a batch, with searches that only write down what they were asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

import attack_toys as toys
from robustseg.attacks.combinators import join_traces, only, radius_schedule, restarts
from robustseg.attacks.constraints import Ball
from robustseg.attacks.loop import Found, Problem
from robustseg.types import DenseOutput, SemanticTarget


def problem(n: int = 3, early_stop: bool = True) -> Problem:
    images = torch.full((n, 3, 2, 2), 0.5)
    return Problem(
        forward=lambda x, target, state: DenseOutput(x),
        images=images,
        target=SemanticTarget(torch.arange(n).view(n, 1, 1).expand(n, 2, 2)),
        state={"index": torch.arange(n)},
        generators=lambda restart: [torch.Generator().manual_seed(10 * restart + i) for i in range(n)],
        early_stop=early_stop,
    )


@dataclass
class Spy:
    """A search that costs 2 forwards and 1 backward an image and finds what ``scores`` says for (image, restart)."""

    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    faults: dict[tuple[int, int], int] = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def __call__(self, p: Problem, ball: Ball, start, restart: int) -> Found:
        which = p.state["index"].tolist()
        assert which == p.target.labels[:, 0, 0].tolist()
        assert [g.initial_seed() for g in p.generators(restart)] == [10 * restart + i for i in which]
        self.asked.append((which, ball.eps, None if start is None else start.flatten(1)[:, 0].tolist(), restart))
        score = torch.tensor([self.scores.get((i, restart), 0.0) for i in which])
        theta = torch.full_like(p.images, 0.01 * (restart + 1)) * ball.eps
        ones = torch.ones(len(which), dtype=torch.int64)
        fault = torch.tensor([self.faults.get((i, restart), 0) for i in which], dtype=torch.uint8)
        return Found(theta, score, 2 * ones, ones, torch.stack([score * 0, score], 1), fault)


def test_restarts_keep_the_best_of_every_image_and_skip_the_solved():
    spy = Spy({(0, 0): 1.0, (1, 0): 0.5, (2, 0): 0.2, (1, 1): 0.4, (2, 1): 1.0, (1, 2): 0.9})
    found = restarts(spy, 3)(problem(), Ball("linf", 1.0), None, 0)
    assert [a[0] for a in spy.asked] == [[0, 1, 2], [1, 2], [1]]
    assert [a[3] for a in spy.asked] == [0, 1, 2]
    assert torch.allclose(found.score, torch.tensor([1.0, 0.9, 1.0]))
    assert torch.allclose(found.theta[:, 0, 0, 0], torch.tensor([0.01, 0.03, 0.02]))
    assert found.forwards.tolist() == [2, 6, 4]
    assert found.backwards.tolist() == [1, 3, 2]
    expected = [[0, 1.0, 1.0, 1.0], [0, 0.5, 0.5, 0.9], [0, 0.2, 1.0, 1.0]]
    assert torch.allclose(found.trace, torch.tensor(expected))


def test_without_early_stop_restarts_spend_everything():
    spy = Spy({(i, 0): 1.0 for i in range(3)})
    found = restarts(spy, 3)(problem(early_stop=False), Ball("linf", 1.0), None, 0)
    assert [a[0] for a in spy.asked] == [[0, 1, 2]] * 3
    assert found.forwards.tolist() == [6, 6, 6]
    assert torch.allclose(found.theta[:, 0, 0, 0], torch.tensor(0.01))  # equal scores: the first stays


@pytest.mark.parametrize(
    ("steps", "lengths"), [(300, [90, 90, 120]), (50, [15, 15, 20]), (10, [3, 3, 4]), (2, [0, 0, 2])]
)
def test_radius_schedule_of_sea(steps, lengths):
    """Factors 2, 1.5, 1 with 30, 30, 40 % of the steps; each stage starts where the last one ended."""
    spies = []

    def stage(n: int):
        spies.append((n, Spy()))
        return spies[-1][1]

    plan = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
    found = radius_schedule(stage, steps, plan)(problem(), Ball("linf", 0.1), None, 0)
    assert [n for n, _ in spies] == lengths
    (first,), (second,), (third,) = (spy.asked for _, spy in spies)
    assert [round(a[1], 6) for a in (first, second, third)] == [0.2, 0.15, 0.1]
    assert first[2] is None
    assert second[2] == pytest.approx([0.002] * 3)
    assert third[2] == pytest.approx([0.0015] * 3)
    assert torch.allclose(found.theta, torch.tensor(0.001))
    assert found.forwards.tolist() == [6, 6, 6]
    assert found.trace[:, : sum(lengths[:2])].isnan().all()
    assert not found.trace[:, sum(lengths[:2]) :].isnan().any()


@pytest.mark.parametrize("name", ["masked-ce", "balanced-masked-ce", "js", "tsallis"])
def test_attacks_with_radii_go_out_and_come_back(name):
    """The 2 eps ball is really searched, and nothing of it is left in what is returned."""
    net = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    seen = []
    forward = net.module.forward
    net.module.forward = lambda x: (seen.append((x.detach() - images).abs().max().item()), forward(x))[1]
    result = toys.ready(f"{name}:steps=10,eps=0.04", 4)(net, images, labels, early_stop=False)
    assert max(seen) == pytest.approx(0.08, abs=1e-5)
    assert max(seen[4:8]) == pytest.approx(0.06, abs=1e-5)
    assert max(seen[8:]) <= 0.04 + 1e-6
    assert (result.images - images).abs().max() <= 0.04 + 1e-6
    assert len(seen) == 13


def test_only_leaves_the_others_untouched():
    spy = Spy({(2, 0): 0.7})
    found = only(spy, torch.tensor([2]))(problem(), Ball("linf", 1.0), torch.ones(3, 3, 2, 2), 0)
    assert spy.asked[0][0] == [2]
    assert spy.asked[0][2] == [1.0]
    assert found.theta[:2].abs().max() == 0
    assert found.score.isnan().tolist() == [True, True, False]
    assert found.trace.isnan().all(1).tolist() == [True, True, False]
    assert found.forwards.tolist() == [0, 0, 2]
    assert found.fault.tolist() == [3, 3, 0]


def test_traces_join_at_the_second_start():
    nan = float("nan")
    joined = join_traces(torch.tensor([[0.1, 0.6], [nan, 0.2]]), torch.tensor([[nan, 0.5, 0.9], [0.3, nan, 0.1]]))
    assert torch.allclose(joined, torch.tensor([[0.1, 0.6, 0.6, 0.9], [nan, 0.3, 0.3, 0.3]]), equal_nan=True)


def test_one_sound_restart_is_enough_and_solved_images_keep_what_they_have():
    scores = {(0, 0): 1.0}
    faults = {(0, 0): 0, (1, 0): 1, (2, 0): 1, (1, 1): 0, (2, 1): 2}
    spy = Spy(scores, faults)
    assert restarts(spy, 2)(problem(), Ball("linf", 1.0), None, 0).fault.tolist() == [0, 0, 1]


def test_a_broken_stage_breaks_the_schedule_and_one_that_moved_excuses_the_others():
    """Images: broken once; zero, moved, zero; zero in all; never tried (an empty stage) and moved."""
    stages = iter([[1, 2, 2, 3], [0, 0, 2, 0], [0, 2, 2, 2]])

    def stage(steps: int) -> Spy:
        return Spy(faults={(i, 0): f for i, f in enumerate(next(stages))})

    found = radius_schedule(stage, 10, ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4)))(problem(4), Ball("linf", 0.1), None, 0)
    assert found.fault.tolist() == [1, 0, 2, 0]
