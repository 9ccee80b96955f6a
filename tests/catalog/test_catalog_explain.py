"""What `robustseg explain` says is complete and is what the catalog does."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

import robustseg as rs
from robustseg.catalog import attack, entries, explain
from robustseg.catalog.explain import lines
from robustseg.catalog.formulas import FORMULAS, UPDATES
from robustseg.objectives.semantic import LOSSES
from robustseg.types import DenseOutput, SemanticTarget

ENTRIES = entries()


def test_every_name_has_a_formula_and_no_formula_is_left_over():
    assert set(FORMULAS) == {e.name for e in ENTRIES}
    assert {e.update for e in ENTRIES} <= set(UPDATES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_what_is_told_is_what_runs(entry, tmp_path):
    from PIL import Image

    told, given = explain.explain(entry.name), {}
    if entry.name == "static":  # it cannot be made without its scene
        Image.new("L", (8, 8)).save(tmp_path / "scene.png")
        given = {"target": str(tmp_path / "scene.png")}
    assert {**told["defaults"], **given} == dict(attack(entry.name, **given).params)
    if entry.members:
        whole = attack(f"{entry.name}@paper")
        assert told["paper"].get("members", "") in ("", ", ".join(f"{m}@paper" for m in entry.members))
        assert (whole.budget == attack(entry.name).budget) == (not told["paper"])
    else:
        assert {**told["defaults"], **told["paper"], **given} == dict(attack(f"{entry.name}@paper", **given).params)
    assert set(told["options"]) == set(entry.known())
    text = "\n".join(lines(told))
    for part in (entry.summary, entry.source, entry.errata, FORMULAS[entry.name], *entry.members):
        assert part in text


def test_formulas_of_pixels_by_hand():
    """One pixel of three classes, right with probability a: the lines of the table, computed as they are written."""
    z = torch.tensor([2.0, 0.5, 0.0])
    p, y = z.softmax(0), 0
    a, log = float(p[y]), -math.log(p[y])
    half = (torch.eye(3)[y] + p) / 2
    js = 0.5 * float((p * (p / half).log()).sum()) + 0.5 * math.log(1 / float(half[y]))
    expected = {
        "ce": log, "segpgd": 1 * log, "masked-ce": log, "cospgd": a / float(p.norm()) * log, "js": js,
        "tsallis": (1 - a**3) / 3, "cosine": 1 - 2 / float(z.norm()), "margin": -1.5,
    }  # fmt: skip
    output, target = DenseOutput(z.view(1, 3, 1, 1)), SemanticTarget(torch.zeros(1, 1, 1, dtype=torch.int64))
    for name, value in expected.items():  # progress 0: λ = 0, q = -2
        assert LOSSES[name][0](output, target, {}, 0.0).item() == pytest.approx(value, rel=1e-5), name


def test_an_unknown_name_is_one_line():
    with pytest.raises(rs.UserError, match=r"unknown attack 'segpdg'; did you mean segpgd"):
        explain.explain("segpdg")


def test_parts_of_a_paper_have_its_numbers():
    assert explain.explain("cw-l2")["parts"]["combinator"].startswith("5 descents")
    assert explain.explain("cw-l2@paper")["parts"]["combinator"].startswith("9 descents")
    assert explain.explain("stealthy@paper")["parts"]["constraint"].startswith("L∞ ball of 1,")
    assert lines(explain.explain("stealthy@paper"))[0].startswith("stealthy@paper:")

    assert explain.explain("strong@paper")["parts"]["combinator"].startswith("worst case of tsallis@paper, js@paper")
    assert explain.explain("universal@paper")["parts"]["objective"] == "metzen"
    assert explain.explain("fashion@paper")["parts"]["expectation"].startswith("perspective:0.1")


def test_parts_are_those_of_the_options():
    parts = explain.explain("pgd:eps=2/255,update=apgd")["parts"]
    assert parts["constraint"].startswith("L∞ ball of 2/255")
    assert parts["update"].startswith("APGD")
    assert explain.explain("patch:loss=margin")["parts"]["objective"] == "margin"
    assert explain.explain("stealthy:mode=generator")["parts"]["applier"].startswith("generator")


def test_a_wrong_option_is_one_line_and_never_passed_over():
    with pytest.raises(rs.UserError, match="bogus"):
        explain.explain("pgd:bogus=1")
    with pytest.raises(rs.UserError, match="steps"):
        explain.explain("pgd:steps=abc")


def test_noise_maximises_nothing():
    assert not {"objective", "gradient rule", "update"} & explain.explain("noise")["parts"].keys()


def test_another_variant_than_the_papers_is_one_line():
    with pytest.raises(rs.UserError, match="the authors' numbers are fgsm@paper"):
        explain.explain("fgsm@papr")


def test_the_example_in_the_docstring():
    assert doctest.testmod(explain).failed == 0
