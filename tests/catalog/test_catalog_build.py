"""How parts are put together: what APGD watches, and which options reach which part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import attack_toys as toys
from robustseg.attacks import updates
from robustseg.catalog import attack, build
from robustseg.ops import pixels as px
from robustseg.types import DenseOutput, SemanticTarget, View


def asked(monkeypatch, spec: str) -> dict:
    """What the loop is called with for a spec."""
    calls = []
    monkeypatch.setattr(build, "gradient_search", lambda *a, **k: calls.append({"parts": a, **k}))
    made = attack(spec)
    goal = build.objective(made.entry, made.params, made.function)
    build.search(made.entry, made.params, goal, *build.judges(made.entry, made.params, bool(made.function)))
    return calls[-1]


def view_of(seed: int = 0):
    z = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed))
    labels = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(seed))
    labels[0, 0, :2] = 255
    return View(z, z, z, DenseOutput(z)), SemanticTarget(labels)


@pytest.mark.parametrize("name", ["masked-ce", "js", "tsallis", "segpgd:update=apgd", "cospgd:update=apgd"])
def test_apgd_watches_the_plain_cross_entropy(monkeypatch, name):
    """Towards a goal it watches it fall: the sign belongs to what is watched, as it does to the loss."""
    view, target = view_of()
    losses = F.cross_entropy(view.output.scores, target.labels, ignore_index=255, reduction="none")
    mean = losses.flatten(1).sum(1) / target.valid.flatten(1).sum(1)
    name, _, rest = name.partition(":")
    away = asked(monkeypatch, f"{name}:{rest}")["track"](view, target)
    towards = asked(monkeypatch, f"{name}:{rest},target=least-likely")["track"](view, target)
    assert torch.allclose(away, mean)
    assert torch.allclose(towards, -mean)


@pytest.mark.parametrize("name", ["masked-ce", "js", "tsallis", "cospgd:update=apgd"])
@pytest.mark.parametrize("target", ["", "target=class:road"])
def test_what_reaches_the_step_rule_is_the_cross_entropy(monkeypatch, name, target):
    """End to end: the numbers that APGD compares, recomputed from the iterates; the attack's own loss is another."""
    made, seen, values = updates.apgd, [], []

    def spying(*args):
        rule = made(*args)

        def step(k, steps, theta, g, tracked, state, bound):
            seen.append((theta.clone(), tracked.clone()))
            return rule.step(k, steps, theta, g, tracked, state, bound)

        return replace(rule, step=step)

    def valued(*args):
        goal = original(*args)

        def value(view, labels, state, progress):
            terms, state = goal.value(view, labels, state, progress)
            values.append(sum(terms.values()).detach())
            return terms, state

        return replace(goal, value=value)

    original = build.objective
    monkeypatch.setattr(build.updates, "apgd", spying)
    monkeypatch.setattr(build, "objective", valued)
    model, (images, labels) = toys.Toy(toys.conv_net(), 4), toys.scene()
    head, _, rest = name.partition(":")
    options = ",".join(filter(None, ["steps=10", rest, target]))
    result = toys.ready(f"{head}:{options}", 4)(model, images, labels, early_stop=False)
    aim, sign = (labels, 1) if result.goal is None else (result.goal, -1)
    assert len(seen) == len(values) == 10
    for theta, tracked in seen:
        z = F.interpolate(model.module(images + theta), images.shape[-2:], mode="bilinear", align_corners=False)
        losses = F.cross_entropy(z, aim, ignore_index=255, reduction="none").flatten(1).sum(1)
        assert torch.allclose(tracked, sign * losses / (aim != 255).flatten(1).sum(1), rtol=1e-4)
    assert not all(torch.allclose(tracked, own, rtol=1e-3) for (_, tracked), own in zip(seen, values))


@pytest.mark.parametrize(
    "spec", ["pgd", "segpgd", "apgd", "margin:update=apgd", "padam-cos:update=apgd", "hide:update=apgd"]
)
def test_others_watch_their_own_value(monkeypatch, spec):
    assert asked(monkeypatch, spec)["track"] is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pgd", "wrong"),
        ("pgd:target=least-likely", "reached"),
        ("js", "wrong"),
        ("padam-cos:target=class:car", "reached"),
    ],
)
def test_the_returned_iterate_is_the_best_by_what_the_attack_is_for(monkeypatch, spec, expected):
    view, target = view_of()
    score = asked(monkeypatch, spec)["parts"][3](view, target, {})
    flags = {"wrong": px.wrong, "reached": px.correct}[expected](view.output, target)
    assert torch.equal(score, (flags & target.valid).flatten(1).sum(1) / target.valid.flatten(1).sum(1))


@pytest.mark.parametrize(("spec", "start"), [("pgd", True), ("bim", False), ("fgsm", False), ("hide", False)])
def test_starts(monkeypatch, spec, start):
    assert asked(monkeypatch, spec)["random_start"] is start


def test_parts_of_the_papers_attacks(monkeypatch):
    """Loss, step rule and steps of each stage, as the papers put them together."""
    table = {
        "fgsm": ("ce", "sign", 1),
        "pgd": ("ce", "sign", 20),
        "mi-fgsm": ("ce", "momentum", 20),
        "segpgd": ("segpgd", "sign", 20),
        "margin": ("margin", "sign", 20),
        "cospgd": ("cospgd", "sign", 20),
        "apgd": ("ce", "apgd", 50),
        "masked-ce": ("masked-ce", "apgd", 20),
        "balanced-masked-ce": ("balanced-masked-ce", "apgd", 20),
        "js": ("js", "apgd", 20),
        "tsallis": ("tsallis", "apgd", 20),
        "padam-ce": ("ce", "adam", 50),
        "padam-cos": ("cosine", "adam", 50),
        "hide": ("metzen", "sign", 60),
    }
    for name, expected in table.items():
        objective, update, steps, _ = asked(monkeypatch, name)["parts"]
        assert (objective.name, update.name, steps) == expected
    assert [m.name for m in attack("sea").members] == ["masked-ce", "balanced-masked-ce", "js"]


def test_the_models_own_dictionary_is_never_written():
    shared: dict = {}

    class Sharing(toys.Toy):
        def __call__(self, images, *, want=frozenset()):
            return DenseOutput(super().__call__(images).scores, "logits", shared)

    images, labels = toys.scene()
    plain = toys.ready("segpgd:steps=4", 2)(toys.Toy(toys.PixelLinear(), 2), images, labels.clamp_max(1))
    sharing = toys.ready("segpgd:steps=4", 2)(Sharing(toys.PixelLinear(), 2), images, labels.clamp_max(1))
    assert shared == {}
    assert torch.equal(plain.images, sharing.images)
