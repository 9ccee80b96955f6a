"""Specs: every entry parses, is documented, has one canonical text; and every mistake gets one line that helps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import attack_toys as toys
from robustseg.catalog import attack, entries, expand
from robustseg.catalog.spec import COMMON, canonical, near, number, parse, step_length
from robustseg.errors import UserError

NAMES = [e.name for e in entries()]


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(np.ones((12, 16), np.uint8)).save(path)
    return path


def spec_of(name: str, scene, paper: bool = False, **options: str) -> str:
    options |= {"target": str(scene)} if name == "static" else {}
    text = ",".join(f"{k}={v}" for k, v in options.items())
    return name + ("@paper" if paper else "") + (f":{text}" if text else "")


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_documented(name):
    entry = next(e for e in entries() if e.name == name)
    assert entry.summary.endswith(".")
    assert "arXiv" in entry.source or "our own" in entry.source or name in ("noise", "strong")
    assert entry.version >= 1
    assert set(entry.defaults) | set(entry.paper) <= set(COMMON) | set(entry.options)
    assert set(entry.refused) <= set(COMMON)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eps": "2/255", "restarts": "3"},
        {"norm": "l2"},
        {"norm": "l2", "eps": "0.5", "reference": "pred"},
        {"norm": "linf", "region": "clothing"},
        {"steps": "7", "step_size": "eps/10"},
        {"update": "apgd"},
        {"update": "adam", "step_size": "1/255"},
    ],
    ids=str,
)
def test_the_canonical_text_says_everything(name, paper, options, scene):
    """Reading it back gives the same configuration, and it shows no default."""
    refused = next(e for e in entries() if e.name == name).refused
    options = {k: v for k, v in options.items() if k not in refused}
    if name == "dag" and options:
        options = {"eps": "6/255", **options}  # it has no ball of its own that a step could be a part of
    if name == "patch" and options:  # it has no radius at all
        options = {**options, "step_size": "0.1", "update": "sign"}
    first = attack(spec_of(name, scene, paper, **options))
    second = attack(first.spec)
    assert second.config == first.config
    assert second.spec == first.spec
    assert second.budget == first.budget
    for key in first.spec.partition(":")[2].split(",")[1:]:
        less = ",".join(p for p in first.spec.partition(":")[2].split(",") if p != key)
        if not (name == "static" and key.startswith("target")):
            assert attack(f"{first.name}:{less}").config != first.config


def test_eps_stands_first_and_the_rest_is_sorted():
    assert attack("segpgd:steps=5,norm=l2,eps=0.5").spec == "segpgd:eps=0.5,norm=l2,steps=5"
    assert attack(" segpgd: steps = 20 , eps=8/255 ").spec == "segpgd:eps=8/255"
    assert attack("pgd", eps=0).spec == "pgd:eps=0"
    assert attack("pgd", eps=0.5, steps=3).spec == "pgd:eps=0.5,steps=3"


@pytest.mark.parametrize("change", ["eps=1/255", "steps=3", "step_size=1/255", "restarts=2", "norm=l2", "update=adam"])
def test_every_option_changes_the_configuration(change):
    assert attack(f"pgd:{change}").config != attack("pgd").config


def test_an_attack_passed_again_keeps_what_it_was_given():
    first = attack("pgd:steps=7")
    assert attack(first, eps="1/255").spec == "pgd:eps=1/255,steps=7"
    assert attack(first, steps=9).spec == "pgd:eps=8/255,steps=9"
    assert attack(first).config == first.config


def test_papers_numbers():
    assert attack("sea@paper").budget == (909, 900)  # 3 losses x 300 gradients, one more forward a stage
    assert attack("segpgd@paper").params["eps"] == "0.03"
    assert attack("segpgd@paper").params["step_size"] == "0.01"
    assert attack("hide@paper").params["omega"] == "0.9999"
    assert attack("padam-cos@paper").budget == (201, 200)
    assert attack("segpgd@paper:norm=l2").eps == "128/255"  # lengths of a paper belong to its norm


def test_ensembles_hand_options_down_and_leave_members_their_own():
    members = expand("strong:eps=4/255,norm=l2,region=clothing,reference=pred,step_size=0.1")
    assert [m.name for m in members] == ["tsallis", "js", "masked-ce", "padam-cos"]
    for member in members:
        given = {"eps": "4/255", "norm": "l2", "region": "clothing", "reference": "pred", "step_size": "0.1"}
        assert given.items() <= member.params.items()
    assert [m.params["steps"] for m in expand("strong@paper")] == ["300", "300", "300", "200"]
    assert [m.params["steps"] for m in expand("sea:steps=9")] == ["9"] * 3
    assert attack("strong").budget[1] == 200
    assert [a.spec for a in expand("pgd:steps=3")] == ["pgd:eps=8/255,steps=3"]
    assert [m.needs_fit for m in expand("sea")] == [False, True, False]
    assert attack("sea").needs_fit
    assert not attack("strong").needs_fit
    assert not attack("strong@paper").needs_fit
    assert attack("strong@paper").budget[1] == 1100


def test_only_attacks_with_a_goal_start_from_the_prediction():
    found = {n for n in NAMES if n != "static" and attack(n).reference == "pred"}
    assert found == {"hide", "displace", "stealthy", "fashion"}


WRONG = [
    ("segpdg", "unknown attack 'segpdg'; did you mean segpgd"),
    ("xyz", "known: noise, fgsm"),
    ("pgd@papr", "pgd@paper"),
    ("pgd:stps=3", "unknown option 'stps'; did you mean steps"),
    ("pgd:eps=8", "did you mean eps=8/255?"),
    ("pgd:step_size=2", "did you mean step_size=2/255?"),
    ("pgd:eps=-1/255", "negative"),
    ("pgd:eps=big", "not a number"),
    ("pgd:eps=1/0", "not a number"),
    ("pgd:eps=nan", "not a number"),
    ("pgd:eps=inf", "not a number"),
    ("pgd:step_size=-1/255", "negative"),
    ("pgd:step_size=eps/0", "cannot be read"),
    ("pgd:step_size=eps+1", "cannot be read"),
    ("pgd:step_size=eps*-1", "cannot be read"),
    ("pgd:steps=2.5", "whole number"),
    ("pgd:steps=-1", "whole number"),
    ("pgd:steps=²", "whole number"),
    ("pgd:restarts=0", "whole number"),
    ("pgd:norm=l1", "choose one of linf, l2"),
    ("pgd:update=sgd", "choose one of sign, momentum, adam, apgd"),
    ("pgd:reference=truth", "choose one of gt, pred"),
    ("pgd:eps=1/255,eps=2/255", "given twice"),
    ("pgd:eps", "key=value"),
    ("pgd:eps=", "key=value"),
    (":eps=1/255", "has no name"),
    ("", "has no name"),
    ("pgd:target=nearest", "say which, e.g. class=person"),
    ("pgd:class=car", "belongs to target=nearest"),
    ("hide:target=least-likely,class=car", "belongs to target=nearest"),
    ("pgd:target=missing.png", "is no file"),
    ("static", "needs the scene"),
    ("hide:omega=1.5", "from 0 to 1"),
    ("hide:tau=high", "not a number"),
    ("mi-fgsm:decay=-1", "negative"),
    ("pgd:omega=0.5", "unknown option 'omega'"),
    ("sea:target=least-likely", "ensembles take no target; attack with a member, e.g. masked-ce:target=least-likely"),
    ("strong:class=car", "ensembles take no class; attack with a member, e.g. tsallis:target=least-likely"),
    ("PGD", "unknown attack 'PGD'; did you mean pgd?"),
    ("Masked-CE:steps=3", "did you mean masked-ce?"),
    ("pgd:EPS=1/255", "unknown option 'EPS'; did you mean eps?"),
    ("pgd:step_size=eps/stps", "write a number like 2/255, or eps/4, eps*2 or eps/steps"),
    ("noise:steps=5", "noise takes no steps"),
    ("noise:objective=f.py:g", "noise takes no objective"),
    ("strong:objective=f.py:g", "strong takes no objective"),
    ("hide:objective=f.py:g", "hide takes no objective"),
    ("pgd:objective=f.py:g", "f.py is not a file"),
    ("pgd:objective=f.py", "FILE.py:FUNCTION"),
    ("pq-price:target=class:car", "pq-price takes no target"),
    ("phantom:area=2", "area=2 is a share; choose a number from 0 to 1"),
    ("phantom:area=big", "not a number"),
    ("hide:instance=0", "instance=0; choose a whole number from 1 on"),
    ("displace:instance=first", "choose a whole number from 1 on"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[t or "empty" for t, _ in WRONG])
def test_mistakes_get_one_line_that_helps(text, said):
    with pytest.raises(UserError) as error:
        attack(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_option_given_twice():
    with pytest.raises(UserError, match="gives eps and so does --eps"):
        attack("pgd:eps=4/255", eps="8/255")
    with pytest.raises(UserError, match="unknown option 'stps'"):
        attack("pgd", stps=4)


def test_pieces():
    assert parse("pgd:target=class:road") == ("pgd", {"target": "class:road"})
    assert number("1e-2", "eps") == 0.01
    assert near("person", ["road", "Person "]) == "did you mean Person ?"
    for text, factor in [("eps", 1), ("eps/4", 0.25), ("eps*2", 2), ("eps*0.5", 0.5)]:
        assert step_length({"eps": "0.1", "step_size": text, "norm": "linf"}) == pytest.approx(0.1 * factor)


SAME = [
    ("pgd:eps=8/255", ["pgd:eps=16/510", "pgd:eps=08/255", "pgd:eps=8.0/255", "pgd", f"pgd:eps={8 / 255!r}"]),
    ("pgd:eps=0.1", ["pgd:eps=.1", "pgd:eps=0.10", "pgd:eps=1/10", "pgd:eps=1e-1"]),
    ("pgd:eps=51/255", ["pgd:eps=0.2", "pgd:eps=1/5"]),
    ("pgd:eps=3/510", ["pgd:eps=1.5/255", "pgd:eps=1/170"]),
    ("pgd:eps=8/255,norm=l2,steps=3", ["pgd:norm=l2,steps=03,eps=8/255", "pgd:norm=l2,steps=3,eps=24/765"]),
    ("pgd:eps=1,norm=l2", ["pgd:eps=1.0,norm=l2", "pgd:eps=255/255,norm=l2"]),
    ("pgd:eps=8/255,step_size=1/255", ["pgd:step_size=2/510", "pgd:step_size=01/255"]),
    ("pgd:eps=8/255", ["pgd:step_size=eps*0.25", "pgd:step_size=eps/4.0", "pgd:restarts=01,steps=020"]),
    ("fgsm:eps=8/255", ["fgsm:step_size=eps*1", "fgsm:step_size=eps/1"]),
    ("hide:eps=8/255", ["hide:omega=0.90,tau=3/4"]),
    ("phantom:eps=8/255", ["phantom:area=1/50", "phantom:area=.020"]),
    ("displace:eps=8/255,class=car,dx=-4", ["displace:class=car,dx=-04,dy=00", "displace:class=car,dx=-4,dy=+0"]),
    ("mi-fgsm:eps=8/255", ["mi-fgsm:decay=1.0", "mi-fgsm:step_size=eps/steps"]),
]


@pytest.mark.parametrize(("text", "others"), SAME, ids=[t for t, _ in SAME])
def test_equal_values_have_one_spelling_and_one_key(text, others):
    for other in others:
        assert attack(other).spec == text
        assert attack(other).config == attack(text).config


def test_numbers_of_python_meet_those_of_the_command_line():
    for k in range(1, 256):
        assert attack("pgd", eps=k / 255).spec == attack(f"pgd:eps={k}/255").spec
    assert attack("pgd", eps=0.03).spec == attack("pgd:eps=0.03").spec == "pgd:eps=0.03"
    assert attack("pgd", eps=0.1 + 0.2).eps == "0.3"
    assert attack(attack("pgd"), eps=2 / 255, step_size=1 / 255).spec == "pgd:eps=2/255,step_size=1/255"


@given(st.fractions(0, 1, max_denominator=10**6))
def test_the_spelling_of_a_number_is_a_fixed_point_of_the_same_value(value):
    text = canonical("eps", str(value))
    assert canonical("eps", text) == text
    assert number(text, "eps") == pytest.approx(float(value), rel=1e-11)
    assert Fraction(text) == pytest.approx(value, rel=1e-11)  # and any reader of fractions can read it


@given(st.floats(1e-6, 10))
def test_so_is_that_of_a_float(value):
    text = canonical("eps", repr(value))
    assert canonical("eps", text) == text
    assert float(Fraction(text)) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("paper", [False, True])
def test_defaults_are_spelled_so_too(name, paper):
    params = next(e for e in entries() if e.name == name).params({}, paper)
    assert {k: canonical(k, v) for k, v in params.items()} == params


WARNED = [
    ("bim:steps=3", ["bim: 3 steps of eps/4 reach only 6/255 of 8/255; take more steps, or step_size=eps/steps"]),
    (
        "fgsm:step_size=1/255",
        ["fgsm: 1 step of 1/255 reaches only 1/255 of 8/255; take more steps"],
    ),
    ("mi-fgsm:steps=7,step_size=eps/10", ["mi-fgsm: 7 steps of eps/10 reach only"]),
    ("hide@paper:steps=9", ["hide@paper: 9 steps of 1/255 reach only 9/255 of 10/255"]),
    ("bim:steps=4", []),
    ("bim:steps=3,step_size=eps/steps", []),
    ("bim:steps=3,eps=0", []),
    ("bim:steps=3,update=adam", []),
    ("mi-fgsm:steps=3", []),
    ("mi-fgsm@paper", []),
    ("pgd:steps=3", []),
    ("strong:steps=1", []),
]


@pytest.mark.parametrize(("spec", "said"), WARNED, ids=[s for s, _ in WARNED])
def test_steps_that_cannot_reach_the_ball_are_told(spec, said):
    found = attack(spec).warnings
    assert len(found) == len(said)
    assert all(f.startswith(s) for f, s in zip(found, said))


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_mi_fgsm_reaches_the_ball_at_any_number_of_steps_and_not_before(steps):
    """alpha = eps/T, as in the paper: on a linear model the last step, and only it, arrives."""
    model = toys.Toy(toys.PixelLinear(), 2)
    images = torch.full((1, 3, 4, 4), 0.5)
    labels = model.module(images).argmax(1)
    seen = []
    model.module.register_forward_hook(lambda m, x, y: seen.append((x[0].detach() - images).abs().max().item()))
    attack(f"mi-fgsm:steps={steps}")(model, images, labels, early_stop=False)
    assert seen == pytest.approx([8 / 255 * k / steps for k in range(steps + 1)], abs=1e-6)


def test_every_attack_runs_two_steps(scene):
    """And does something: another image, inside the ball, with a better score than the clean image has."""
    model = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene()
    for name in (e.name for e in toys.DENSE):
        options = {} if name == "noise" else {"steps": "2"}
        if name == "hide":
            options["class"] = "sky"
        if name == "dag":
            options |= {"eps": "8/255", "rest": "wrong"}  # goals that are drawn are not reached in two steps
        made = toys.ready(spec_of(name, scene, **options), 4)
        result = made(model, images, labels)
        active = result.applicable
        assert active.any(), name
        assert ((result.images != images).flatten(1).any(1) == active).all(), name
