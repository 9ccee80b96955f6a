"""Attacks on queries through the catalog: budget, ball, artefact, ensembles, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from query_models import Streets, Universal
from query_toys import CAR, MAN, street
from robustseg.catalog import attack
from robustseg.catalog.prices import fit_prices, uniform
from robustseg.catalog.queries import QUERY_ENTRIES
from robustseg.tasks.predict import predict
from robustseg.types import DenseOutput, ModelSpec, UserError

EPS = 4 / 255
DARK = torch.zeros(2, 3, 8, 16)
PRICES = uniform(4)


def named(spec):
    made = attack(spec)
    return made.with_artefact(PRICES) if made.needs_fit else made


def options(name):
    return ",class=car,dx=4" if name == "displace" else ""


@pytest.mark.parametrize("name", [e.name for e in QUERY_ENTRIES if not e.members] + ["hide"])
def test_every_entry_keeps_ball_and_budget(name):
    more = ",class=car" if name == "hide" else options(name)
    a, model = named(f"{name}:eps=4/255,steps=4{more}"), Universal()
    images, score, forwards, backwards = a(model, DARK, street(2), ids=["a", "b"], early_stop=False)
    assert (images - DARK).abs().max() <= EPS + 1e-6
    assert images.min() >= 0
    assert (forwards[0].item(), backwards[0].item()) == a.budget
    assert model.calls == 2 * a.budget[0]
    assert ((score >= 0) & (score <= 1)).all()


@pytest.mark.parametrize("name", ["pq-price", "training-loss", "mask-break", "mask-split", "flood", "class-flip"])
def test_attacks_lower_what_is_found(name):
    model, target = Universal(), street(1)
    dark = DARK[:1]
    images = named(f"{name}:eps=8/255,steps=8")(model, dark, target, ids=["a"]).images
    things = target.things.tolist()

    def pixels(x):
        return sum((m.ids > 0).sum() for m in predict(model(x), (8, 16), things, ("panoptic",)).panoptic)

    assert pixels(images) < pixels(dark)


def test_an_ensemble_returns_the_worst_of_its_members():
    model, strong = Universal(), named("panoptic-strong:eps=4/255,steps=3")
    assert strong.needs_fit
    whole = strong(model, DARK, street(2), ids=["a", "b"])
    each = [m(model, DARK, street(2), ids=["a", "b"]) for m in strong.members]
    assert len(each) == 7
    assert torch.equal(whole.score, torch.stack([r.score for r in each]).amax(0))


def test_an_ensemble_is_fitted_as_its_member_is():
    model, data = Universal(), Streets(2)
    a = attack("panoptic-strong").fit(model, data)
    assert a.digest == fit_prices(attack("pq-price"), model, data).digest


def test_models_of_pixels_are_refused_in_one_line():
    class Dense(Universal):
        def __call__(self, images, **more):
            return DenseOutput(images.mean(1, keepdim=True).expand(-1, 4, -1, -1))

    model = Dense(spec=ModelSpec("toy", "semantic", ("sky", "road", "car", "man"), "0" * 16))
    with pytest.raises(UserError, match="flood attacks mask classification"):
        attack("flood")(model, DARK, street(2))


@pytest.mark.parametrize("spec", ["ap-rank:proposals=fixed", "hide:tau=0.5,instance=1", "hide:target=class:road"])
def test_options_of_another_output_are_refused_and_not_passed_over(spec):
    option = spec.partition(":")[2].partition("=")[0]
    with pytest.raises(UserError, match=f"{option}= is for models that give "):
        attack(spec)(Universal(), DARK, street(2))


def test_what_a_default_says_may_be_said():
    found = attack("hide:target=nearest,class=car,omega=1/3,steps=1,reference=gt")(Universal(), DARK, street(2))
    assert found.applicable.all()


def test_labels_alone_are_refused_in_one_line():
    with pytest.raises(UserError, match="attacks segments and was given labels"):
        attack("flood")(Universal(), DARK, street(2).labels)


@pytest.mark.parametrize("spec", ["displace:class=car,dx=4", "hide:instance=3", "displace:instance=3,dx=4"])
def test_an_image_without_the_thing_to_change_is_not_applicable_and_costs_no_search(spec):
    target, there = street(2), [False, False]  # two objects, no third
    if "class" in spec:
        first_car = torch.tensor([[True], [False]]) & (target.categories == CAR)
        target, there = replace(target, categories=target.categories.where(~first_car, MAN)), [False, True]
    found = attack(f"{spec},steps=2,reference=gt")(Universal(), DARK, target, ids=["a", "b"])
    assert found.applicable.tolist() == there
    assert found.score.isnan().tolist() == [not t for t in there]
    assert [int(b) for b in found.backwards] == [2 * t for t in there]
    assert torch.equal(found.images[0], DARK[0])


@pytest.mark.parametrize("spec", ["hide:instance=1", "displace:instance=1,dx=4"])
def test_one_object_needs_no_class_name(spec):
    """``hide`` defaults to the class person, which this model does not have."""
    found = attack(f"{spec},steps=2,reference=gt")(Universal(), DARK, street(2), ids=["a", "b"])
    assert found.applicable.all()
    assert (found.images != DARK).any()
