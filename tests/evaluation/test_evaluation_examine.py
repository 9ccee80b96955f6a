"""The doctor behind a defence: what is calibrated for it, what it hides, what it costs."""

from __future__ import annotations

import pytest
import torch
from test_evaluation_zmask import FIT, network
from toy import Toy, model

from robustseg.defenses import zmask_fit
from robustseg.defenses.adaptive import findings
from robustseg.defenses.defended import defended
from robustseg.errors import UserError
from robustseg.evaluation import examine as doctor
from robustseg.evaluation.examine import cost, examine
from robustseg.evaluation.fitting import Calibration
from robustseg.evaluation.matching import Mapped


@pytest.fixture
def known(monkeypatch):
    """References that lead to the toys."""
    data = {"toy:val": Toy(number=2), "toy:fit": FIT}
    monkeypatch.setattr(zmask_fit, "ROUNDS", 5)
    monkeypatch.setattr(doctor, "load_model", lambda ref, device: network())
    monkeypatch.setattr(doctor, "load_data", lambda ref, resize: data[ref])
    monkeypatch.setattr(doctor.fitting, "load_data", lambda ref, resize: data[ref])


def test_what_a_defence_costs_by_hand():
    """A median over 15 pixels leaves little of squares of four."""
    bare, data = model(), Mapped.of(Toy(number=3), model().spec)
    behind = defended(bare, "median=15")
    (found,) = cost(bare, behind, data, 2)
    right = {"median=15": 0, "": 0}
    pixels = 0
    for sample in (data[0], data[1]):
        counts = sample.labels != data.ignore
        pixels += int(counts.sum())
        for name, one in (("median=15", behind), ("", bare)):
            said = one(sample.image[None]).scores.argmax(1)[0]
            right[name] += int(((said == sample.labels) & counts).sum())
    assert right["median=15"] < 0.9 * right[""]
    assert found.name == "defense-cost"
    assert f"median=15: {right['median=15'] / pixels:.1%} of the pixels" in found.message
    assert f"{right[''] / pixels:.1%} without" in found.message
    assert not list(cost(bare, defended(bare, "bits=8"), data, 2))


def test_zmask_is_calibrated_for_the_doctor_too(known):
    found = {f.name: f for f in examine("toy", "toy:val", limit=1, device="cpu", defense="zmask", fit_data="toy:fit")}
    assert "defense-gradient" in found
    assert "of the first image" in found["defense-gradient"].message


def test_data_that_names_no_other_images_is_one_line(known):
    with pytest.raises(UserError, match="give --fit-data REF"):
        examine("toy", "toy:val", limit=1, device="cpu", defense="zmask")


def test_the_share_that_is_hidden_is_what_the_mask_hides(monkeypatch):
    """A mask that is above the threshold everywhere hides all, and one that is nowhere hides nothing."""
    monkeypatch.setattr(zmask_fit, "ROUNDS", 5)
    bare = network()
    learned = Calibration().fit(bare, Mapped.of(FIT, bare.spec))
    for shift, share in ((9.0, "100.0%"), (-9.0, "0.0%")):
        learned.tensors["weights"] = torch.tensor([[0.0, 0], [0, 0], [0, 0], [0, shift]])
        (found,) = findings(defended(bare, "zmask", learned=learned), Toy()[0].image[None])
        assert f"zmask: hides {share} of the first image" in found.message
