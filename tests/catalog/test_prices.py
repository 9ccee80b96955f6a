"""Class prices from a pilot attack on other images."""

from __future__ import annotations

import pytest
import torch

from query_models import Streets, Universal
from query_toys import CAR, street
from robustseg.catalog import Artefact, attack
from robustseg.catalog.patch_fit import inside
from robustseg.catalog.prices import KIND, PILOT, PILOT_IMAGES, fit_prices, prices
from robustseg.types import UserError


def test_prices_are_the_pilots_statistics_and_its_gradients_are_counted():
    model, data = Universal(), Streets()
    made = fit_prices(attack("pq-price:eps=8/255"), model, data, 0)
    steps = int(PILOT["steps"])
    assert made.kind == KIND
    assert made.fitted_on == "toy:streets"
    assert made.backwards == 5 * steps
    assert made.forwards == 5 * (steps + 2)  # one to score the last step, one to predict
    assert model.calls == made.forwards
    assert set(made.tensors) == {"quality", "segments"}
    assert all(t.shape == (4,) for t in made.tensors.values())
    assert (made.tensors["quality"] < 1).any()  # the pilot has attacked
    assert (made.tensors["segments"] >= 1).all()


def test_every_radius_and_norm_has_the_same_artefact():
    model, data = Universal(), Streets(2)
    a, b = (fit_prices(attack(s), model, data, 0) for s in ("pq-price:eps=8/255", "pq-price:norm=l2,steps=3"))
    assert a.digest == b.digest
    assert PILOT_IMAGES <= 32


def test_prices_of_sums_by_hand():
    made = prices(torch.tensor([[3.2, 0.0, 0.0], [4.0, 0.0, 0.0], [2.0, 0.0, 3.0], [2.0, 0.0, 0.0]]))
    torch.testing.assert_close(made["quality"], torch.tensor([3.2 / 6, 0.0, 0.0]))
    assert made["segments"].tolist() == [12, 1, 3]


def test_without_prices_one_clear_line():
    images, model = torch.zeros(1, 3, 8, 16), Universal()
    with pytest.raises(UserError, match=r"pq-price needs class prices of other images: a = attack\.fit"):
        attack("pq-price")(model, images, street())


def test_prices_decide_what_is_attacked_first():
    def found(quality):
        worth = torch.full((4,), 100.0)
        worth[CAR] = 1.0  # w is the inverse: the car is dear
        artefact = Artefact(KIND, {"quality": torch.full((4,), quality), "segments": worth}, "nothing")
        named = attack("pq-price:steps=4,eps=2/255").with_artefact(artefact)
        return named(Universal(), torch.zeros(1, 3, 8, 16), street(), ids=["a"])

    moved = found(0.0).images[0].mean(0)
    car = street().masks[0, 2]
    assert moved[car].mean() > 2 * moved[~car].mean()


def test_data_that_names_no_things_is_refused():
    data = Streets()
    data.things = ()
    with pytest.raises(UserError, match="countable"):
        fit_prices(attack("pq-price"), Universal(), data, 0)


def test_a_patch_that_follows_pq_pays_for_its_prices():
    """Its passes are those of the pilot and its own; and no loss is given images that it does not ask for."""
    model, data = Universal(), Streets(2)
    made = attack("patch:size=2x2,steps=3,images=1,batch=1,vary=none,loss=pq-price")
    pilot = fit_prices(attack("pq-price"), Universal(), data, 0)
    assert inside(made, model, lambda: data, 0)[1] == (pilot.forwards, pilot.backwards)
    assert made.fit(model, data, 0).backwards == pilot.backwards + 3

    def nobody():
        raise AssertionError("asked")

    assert inside(attack("patch:loss=mask-break"), model, nobody, 0)[1] == (0, 0)
