"""What must be survived, as text: one spelling, clear refusals, a part of the spec and of the budget."""

from __future__ import annotations

import pytest

from robustseg.attacks.expectation import Expectation
from robustseg.catalog import attack, expand
from robustseg.catalog.eot import TRANSFORMS, canonical, expectation
from robustseg.errors import UserError

EVERYTHING = (
    "jpeg=20-90,noise=0-0.1,blur=0.5,brightness=.1,gain=0.7-1.3,scale=0.9-1.4,shift=0.05,rotate=22.5,perspective=0.1"
)


def test_everything_is_read():
    assert expectation(EVERYTHING, 3) == Expectation(
        perspective=0.1, rotate=22.5, shift=0.05, scale=(0.9, 1.4), gain=(0.7, 1.3), brightness=0.1, blur=(0.5, 0.5),
        noise=(0, 0.1), jpeg=(20, 90), samples=3,
    )  # fmt: skip
    assert set(TRANSFORMS) == set(Expectation.__dataclass_fields__) - {"samples"}


def test_one_spelling_whatever_the_order_and_the_signs():
    spelled = {canonical(t) for t in ("noise=0.02,jpeg=30-90", "jpeg:30-90+noise:1/50", " jpeg = 30-90 , noise=.020")}
    assert spelled == {"noise:0.02+jpeg:30-90"}
    whole = canonical(EVERYTHING)
    assert canonical(whole) == whole
    assert "," not in whole
    assert "=" not in whole


def test_it_stands_in_the_spec_the_config_and_the_budget():
    made = attack("pgd:steps=5", eot="noise=0.02,jpeg=30-90", eot_samples=2)
    assert made.spec == "pgd:eps=8/255,eot=noise:0.02+jpeg:30-90,eot_samples=2,steps=5"
    assert attack(made.spec).config == made.config
    assert made.config != attack("pgd:steps=5").config
    assert made.budget == (2 * (2 * 5 + 1), 2 * 5)
    assert attack("pgd:steps=5,eot=noise:0.1,eot_samples=1").spec == attack("pgd:steps=5,eot=noise:0.1").spec
    assert all("eot=noise:0.1" in member.spec for member in expand("strong:eot=noise:0.1"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nois=0.1", "did you mean noise"),
        ("noise", "noise= cannot be read"),
        ("noise=0.1,noise=0.2", "given twice"),
        ("noise=2", "not from 0 to 1"),
        ("jpeg=90-20", "rising"),
        ("jpeg=0", "from 1 to 100"),
        ("rotate=5-10", "rotate=5-10 cannot be read"),
        ("noise=1/0", "divides by zero"),
        ("noise=nan", "cannot be read"),
        (",", "empty"),
    ],
)
def test_what_cannot_be_used_is_one_line(text, says):
    with pytest.raises(UserError, match=says):
        attack("pgd", eot=text)


def test_samples_of_nothing_and_noise_that_follows_no_gradient():
    with pytest.raises(UserError, match="eot_samples=2 of nothing"):
        attack("pgd:eot_samples=2")
    with pytest.raises(UserError, match="takes no eot"):
        attack("noise:eot=noise:0.1")
    with pytest.raises(UserError, match="eot_samples=0"):
        attack("pgd:eot=noise:0.1,eot_samples=0")
