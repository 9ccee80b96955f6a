"""An attack whose gradient is dead has attacked nothing: its rows are failures, never a robust model's good numbers."""

from __future__ import annotations

import pytest
import torch
from toy import Level, Toy, model

from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read

NOT_FINITE = "the gradient (or the objective) is not finite"
ZERO = "the gradient is exactly zero at every step"


class NanGradient(Level):
    """Right scores, but the way back leads through 0 · inf; with ``only``, just for images that are dark on average."""

    def __init__(self, only: float = 1.0):
        super().__init__()
        self.only = only

    def forward(self, x):
        dark = (x.detach().mean((1, 2, 3), keepdim=True) < self.only).float()
        return super().forward(x) + torch.sqrt(x * 0 + (1 - dark)).mean(1, keepdim=True)


class Rounds(Level):
    """An input quantised to eight bits on the way in, as many a pipeline does."""

    def forward(self, x):
        return super().forward((x * 255).round() / 255)


class Hopeless(Rounds):
    """Always says class 0 less than the others, whatever it sees: wrong wherever the label is 0."""

    def forward(self, x):
        return super().forward(x) * 0 + torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)


def nothing(output, target):
    return output.scores.flatten(1).sum(1) * 0


def not_a_number(output, target):
    return output.scores.flatten(1).sum(1) * float("nan")


def rows_of(out, attack, net=None, data=None, **options):
    summary = evaluate(model(net), data or Toy(), [attack], out=out, batch_size=3, **options)
    noise = isinstance(attack, str) and attack.startswith("noise")
    (entry,) = (e for spec, e in summary["attacks"].items() if spec.startswith("noise") == noise)
    return entry, read(out).rows[entry["key"]]


ATTACKS = [
    "pgd:steps=3",
    "apgd:steps=12",
    "masked-ce:steps=10",
    "padam-cos:steps=3",
    "mi-fgsm:steps=3",
    "bim:steps=3,norm=l2",
    "pgd:steps=3,restarts=2",
    "pgd:steps=3,target=least-likely",
    "hide:steps=3",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("net", "said"), [(NanGradient, NOT_FINITE), (Rounds, ZERO)])
def test_a_dead_gradient_is_a_failed_row(tmp_path, attack, net, said):
    entry, rows = rows_of(tmp_path, attack, net())
    tried = [r for r in rows.values() if r.status != "not-applicable"]
    assert tried
    assert {r.status for r in tried} == {"failed"}
    assert all(said in r.error and "robustseg doctor" in r.error for r in tried)
    assert all(r.stats is None and r.trace is None for r in tried)
    assert entry["failed"] == len(tried)


@pytest.mark.parametrize(("objective", "said"), [(nothing, ZERO), (not_a_number, NOT_FINITE)])
def test_a_dead_objective_is_a_failed_row(tmp_path, objective, said):
    _, rows = rows_of(tmp_path, objective)
    assert len(rows) == 6
    assert all(r.status == "failed" and said in r.error for r in rows.values())


def test_one_dead_image_leaves_the_others_as_they_are(tmp_path):
    means = [float(Toy()[i].image.mean()) for i in range(6)]
    bar = sorted(means)[2] + 1e-3  # the perturbation is smaller than the gap beside the third darkest
    dead = {f"im{i:02d}" for i in range(6) if means[i] < bar}
    net = NanGradient(bar)
    _, rows = rows_of(tmp_path / "some", "pgd:eps=1/2550,steps=3", net)
    _, healthy = rows_of(tmp_path / "none", "pgd:eps=1/2550,steps=3", NanGradient(0.0))
    assert {i for i, r in rows.items() if r.status == "failed"} == dead
    assert len(dead) == 3
    for image in rows.keys() - dead:
        assert rows[image].stats == healthy[image].stats
        assert rows[image].norms == healthy[image].norms


@pytest.mark.parametrize("attack", ["masked-ce:steps=10,eps=128/255", "js:steps=10,eps=128/255", "pgd:eps=1,steps=30"])
@pytest.mark.parametrize("early_stop", [True, False])
def test_a_gradient_that_vanished_because_all_is_won_is_no_fault(tmp_path, attack, early_stop):
    _, rows = rows_of(tmp_path, attack, early_stop=early_stop)
    assert {r.status for r in rows.values()} == {"ok"}


@pytest.mark.parametrize("net", [Hopeless, NanGradient])
def test_an_image_that_is_wrong_from_the_start_needs_no_gradient(tmp_path, net):
    class Turned(Toy):
        def __getitem__(self, i):
            sample = super().__getitem__(i)
            labels = torch.zeros_like(sample.labels) if net is Hopeless else torch.where(sample.labels == 255, 255, 0)
            labels = torch.where(sample.image.mean(0) > 0.6, labels, 255)  # only what is surely no class 0
            return type(sample)(sample.id, sample.image, labels)

    _, rows = rows_of(tmp_path, "pgd:steps=3,eps=1/255", net(), data=Turned())
    scored = [r for r in rows.values() if r.status != "not-applicable"]
    assert scored
    assert {r.status for r in scored} == {"ok"}


def test_no_steps_and_no_counted_pixel_are_no_fault(tmp_path):
    class Blank(Toy):
        def __getitem__(self, i):
            sample = super().__getitem__(i)
            return type(sample)(sample.id, sample.image, torch.full_like(sample.labels, 255))

    _, rows = rows_of(tmp_path / "blank", "pgd:steps=3", NanGradient(), data=Blank())
    assert {r.status for r in rows.values()} == {"not-applicable"}
    for attack in ("noise", "pgd:steps=0"):
        _, rows = rows_of(tmp_path / attack.partition(":")[0], attack, NanGradient())
        assert {r.status for r in rows.values()} == {"ok"}


def test_members_of_an_ensemble_fail_one_by_one(tmp_path):
    """A float32 softmax that saturates kills the cross-entropy, not the cosine; the ensemble's other rows stay."""
    net = Level(1e7)
    summary = evaluate(model(net), Toy(), ["pgd:steps=3", "padam-cos:steps=3"], out=tmp_path)
    failed = {spec.partition(":")[0]: entry["failed"] for spec, entry in summary["attacks"].items()}
    assert failed["padam-cos"] == 0
    rows = read(tmp_path).rows[summary["attacks"]["pgd:eps=8/255,steps=3"]["key"]].values()
    assert all(r.status == "ok" or ZERO in r.error for r in rows)
