"""The harness counts what it says it counts. No clock is looked at."""

import json

import pytest
import torch
from torch import nn

from robustseg.catalog import attack
from robustseg.errors import UserError
from robustseg.evaluation import bench
from robustseg.models import wrap
from robustseg.types import Sample

STEPS = 3


class Counting(nn.Module):
    """One 1x1 convolution that counts its forwards and the gradients that come back."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.forwards += 1
        z = self.conv(x)
        if z.requires_grad:
            z.register_hook(self._back)
        return z

    def _back(self, gradient):
        self.backwards += 1


@pytest.fixture
def counting():
    torch.manual_seed(0)
    return Counting()


def wrapped(net):
    return wrap(net, classes=["a", "b", "c", "d"])


def measured(net, attacks=("pgd", "apgd"), rounds=2, **options):
    return bench.bench(wrapped(net), attacks, size=(8, 8), rounds=rounds, steps=STEPS, **options)


def test_the_work_is_the_work_that_is_divided_by(counting):
    found = measured(counting)
    assert [(r["forwards"], r["backwards"]) for r in found["attacks"]] == [(STEPS + 1, STEPS)] * 2
    bare_blocks = 2 * (1 + 2)  # per round: one before, one after each attack
    attacks = 1 + 2  # once to warm up, once a round
    assert counting.backwards == bench.WARM_UP + STEPS * bare_blocks + 2 * attacks * STEPS
    assert counting.forwards == 2 * bench.WARM_UP + 2 * STEPS * bare_blocks + 2 * attacks * (STEPS + 1)


def test_the_expected_time_is_steps_and_lone_forwards(monkeypatch):
    step, forward = bench.Span(10.0, 20.0), bench.Span(1.0, 2.0)
    later = (bench.Span(30.0, 20.0), bench.Span(3.0, 2.0))
    assert bench._expected((step, forward), later, "wall", 6, 5) == 5 * 20 + 1 * 2  # the mean of both neighbours
    assert bench._expected((step, forward), later, "cpu", 6, 5) == 5 * 20 + 1 * 2


def test_an_attack_that_costs_twice_the_bare_work_has_ratio_two(counting, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(counting.forwards))
    monkeypatch.setattr(bench.time, "process_time", lambda: float(next(ticks)))
    found = measured(counting, ["pgd"])  # the clock counts forwards: a pure attack costs exactly the bare ones
    assert found["attacks"][0]["ratio"]["wall"] == {"median": 1.0, "q1": 1.0, "q3": 1.0}
    plain = counting.forward
    wasteful = attack("pgd")

    def twice(self, *args, **options):
        result = call(self, *args, **options)
        for _ in range(STEPS + 1):
            plain(torch.zeros(1, 3, 8, 8))
        return result

    call = type(wasteful).__call__
    monkeypatch.setattr(type(wasteful), "__call__", twice)
    assert measured(counting, ["pgd"])["attacks"][0]["ratio"]["wall"]["median"] == 2.0


def test_the_result_is_json_and_its_table_names_every_attack(counting):
    found = measured(counting, ["pgd", "segpgd", "cospgd", "noise"])
    table = bench.render(json.loads(json.dumps(found)))
    assert [r["spec"] for r in found["attacks"]] == [line.split()[0] for line in table.splitlines()[4:]]
    assert found["attacks"][-1]["backwards"] == 0


def test_own_steps_are_kept_where_they_are_given(counting):
    found = bench.bench(wrapped(counting), ["pgd:steps=2"], size=(8, 8), rounds=2, steps=5)
    assert found["attacks"][0]["backwards"] == 2


def test_the_model_is_left_as_it_was(counting):
    net = counting.train()
    model = wrapped(net)
    before = [p.clone() for p in net.parameters()]
    net.train()
    bench.bench(model, ["pgd"], size=(8, 8), rounds=2, steps=2)
    assert net.training
    assert all(p.requires_grad and torch.equal(p, b) for p, b in zip(net.parameters(), before))


def test_an_ensemble_that_learns_first_is_measured_too(counting):
    (row,) = measured(counting, ["strong"])["attacks"]
    assert row["backwards"] == 4 * STEPS
    assert row["spec"].startswith("strong:")


class Pair:
    """Two labelled images with an ignore value of their own."""

    ref, task, ignore, classes = "toy", "semantic", 9, ("a", "b", "c", "d")
    ids = ("0", "1")

    def __init__(self, sizes=((6, 6), (6, 6))):
        self.sizes = sizes

    def __len__(self):
        return 2

    def __getitem__(self, i):
        labels = torch.zeros(self.sizes[i], dtype=torch.int64)
        labels[0] = 9
        return Sample(str(i), torch.full((3, *self.sizes[i]), 0.5), labels)

    def digest(self):
        return "toy"


def test_images_of_a_data_set_are_used_with_their_ignore_value(counting):
    found = measured(counting, ["pgd"], data=Pair(), batch=2)
    assert (found["batch"], found["size"]) == (2, [6, 6])
    with pytest.raises(UserError, match="one size"):
        measured(counting, ["pgd"], data=Pair(((6, 6), (4, 4))), batch=2)
