"""Training of a generator: it learns, it resumes exactly, and what it exports is an attack."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from recipes.stealthy import PLANS, Plan, Pool, goals, train
from recipes.stealthy_card import card

import attack_toys as toys
from recipes import stealthy_command
from robustseg.catalog import Artefact, attack
from robustseg.errors import UserError

TINY = Plan(
    "vanish", radius=20 / 255, steps=90, batch=4, width=4, size=(24, 24), rate=1e-2, keep=0.2, shift=(4, 8),
    heights=(0.4, 0.8),
)  # fmt: skip


@pytest.fixture(scope="module")
def victim():
    made = toys.trained()
    made.module.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def data(victim):
    images = torch.cat([toys.blocks(16, seed=s)[0] for s in (40, 41)]).clamp(0, 1)
    labels = victim.module(images).argmax(1)
    return Pool(images[:26], labels[:26], images[26:], labels[26:])


def rows(folder):
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_it_learns_and_what_it_exports_is_an_attack_that_beats_its_first_weights(tmp_path, victim, data):
    made, step, _ = train(TINY, data, victim, tmp_path / TINY.name)
    assert step == 90
    last = [r for r in rows(tmp_path / TINY.name) if "val_success" in r][-1]
    path = stealthy_command.export(TINY, made, tmp_path / "zoo", step, "toy:fit", len(data.images))
    file = Artefact.load(path)
    assert (file.kind, file.backwards) == ("stealthy-vanish", 360)
    said = card(TINY, made, step, 60.0, data, tmp_path / TINY.name / "curve.jsonl")
    assert f"**{last['val_success']:.3f}**" in said
    assert "20/255" in said
    untrained, *_ = train(TINY, data, victim, tmp_path / "none", stop_at=0)
    before = stealthy_command.export(TINY, untrained, tmp_path / "first", 0, "toy:fit", 0)
    reached = []
    for file in (path, before):
        run = attack(f"stealthy:mode=generator,eps=20/255,generator={file}")(victim, data.held_images)
        said = victim.module(run.images).argmax(1)
        reached.append((said == run.goal)[run.goal != data.held_labels].float().mean().item())
    assert reached[0] > reached[1] + 0.2
    assert reached[0] == pytest.approx(last["val_success"], abs=0.15)  # pixels there, images here


def test_a_resumed_training_is_the_same_to_the_last_bit(tmp_path, victim, data):
    plan = replace(TINY, steps=8)
    whole, *_ = train(plan, data, victim, tmp_path / "whole")
    train(plan, data, victim, tmp_path / "parts", stop_at=5)
    parts, *_ = train(plan, data, victim, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_one_plan_starts_from_another(tmp_path, victim, data):
    later = replace(TINY, start="stealthy-displace", steps=0)
    with pytest.raises(UserError, match="train that one first"):
        train(later, data, victim, tmp_path / later.name)
    first, *_ = train(replace(TINY, kind="displace", steps=4), data, victim, tmp_path / "stealthy-displace")
    made, *_ = train(later, data, victim, tmp_path / later.name)
    assert torch.equal(made.out.weight, first.out.weight)


@pytest.mark.parametrize("kind", ["vanish", "embed", "displace"])
def test_goals_of_the_training_are_of_their_kind(kind, data):
    labels = data.labels[:8]
    made = goals(replace(TINY, kind=kind), labels, 1, torch.Generator().manual_seed(0))
    aimed = made != labels
    assert aimed.flatten(1).any(1).all()
    assert (aimed & (made == 1)).any() == (kind != "vanish")
    assert (aimed & (made != 1)).any() == (kind != "embed")


def test_every_kind_has_a_plan_and_an_unfinished_training_is_not_begun_again(tmp_path, capsys):
    assert {p.kind for p in PLANS.values()} == {"vanish", "embed", "displace"}
    state = tmp_path / "stealthy-embed" / "state.pt"
    state.parent.mkdir()
    state.write_bytes(b"")
    assert stealthy_command.main(["stealthy-embed", "--checkpoints", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().out
