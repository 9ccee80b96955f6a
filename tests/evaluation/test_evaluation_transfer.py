"""Attacks made on one model and scored on another."""

from __future__ import annotations

import pytest
import torch
from toy import Level, Toy

import robustseg as rs
from robustseg.catalog import attack
from robustseg.catalog.transfer import transferred

CLASSES = ("road", "sky", "person")


def named(name, sharp=40.0, classes=CLASSES):
    return rs.wrap(Level(sharp), classes=classes, name=name)


class Other(Level):
    """Looks at red alone, where its relative looks at grey."""

    def forward(self, x):
        return super().forward(x[:, :1].expand(-1, 3, -1, -1))


def test_the_images_are_those_of_the_source_whoever_is_scored():
    victim, source = rs.wrap(Other(), classes=CLASSES, name="victim"), named("source")
    sample = Toy()[0]
    images, labels = sample.image[None], sample.labels[None]
    pgd = attack("pgd:steps=3")
    carried = transferred(pgd, source, victim)(victim, images, labels, ids=["a"], seed=1)
    assert torch.equal(carried.images, pgd(source, images, labels, ids=["a"], seed=1).images)
    assert not torch.equal(carried.images, pgd(victim, images, labels, ids=["a"], seed=1).images)


def test_a_run_carries_over_and_says_so(tmp_path):
    victim, source = rs.wrap(Other(), classes=CLASSES, name="victim"), named("source")
    own = rs.evaluate(victim, Toy(4), ["pgd:steps=5"], out=tmp_path / "run", device="cpu", eps="20/255")
    other = rs.evaluate(
        victim, Toy(4), ["pgd:steps=5"], out=tmp_path / "run", device="cpu", eps="20/255", source=source
    )
    (spec,) = [s for s in other["attacks"] if s.startswith("pgd")]
    assert spec.endswith(",source=source")
    white, carried = own["attacks"][spec.removesuffix(",source=source")], other["attacks"][spec]
    assert white["key"] != carried["key"]
    assert white["mIoU"] != carried["mIoU"]
    assert carried["mIoU"] < other["clean"]["mIoU"]
    assert carried["backwards"] == 5.0


def test_an_ensemble_is_composed_under_its_source(tmp_path):
    victim, source = named("victim"), named("source", 60.0)
    found = rs.evaluate(
        victim, Toy(2), ["sea:steps=3"], out=tmp_path, device="cpu", source=source, fit_data=Toy(3, seed=9)
    )
    (whole,) = [e for e in found["attacks"].values() if e.get("members")]
    assert all(m.endswith(",source=source") for m in whole["members"])


def test_a_source_with_other_classes_is_one_line(tmp_path):
    with pytest.raises(rs.UserError, match="has other classes than victim"):
        rs.evaluate(
            named("victim"), Toy(2), ["pgd"], out=tmp_path, source=named("source", classes=("sky", "road", "person"))
        )
