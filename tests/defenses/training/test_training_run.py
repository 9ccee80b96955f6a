"""A training from the recipe to the folder: it can be killed, it learns what it is for, and it refuses nonsense."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import robustseg as rs
from robustseg.defenses.training.methods import attacks_of
from robustseg.defenses.training.recipe import read
from robustseg.defenses.training.run import train_recipe
from robustseg.errors import UserError

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples" / "train").glob("*.yaml"))
assert EXAMPLES


def weights(folder):
    state = torch.load(folder / "state.pt", weights_only=True)
    return [state[kind][k] for kind in ("network", "ema") for k in state[kind]]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.mark.parametrize("model", ["start", "cnn"])
def test_the_folder_is_a_model(model, recipe, request, tmp_path):
    out = tmp_path / "out"
    told = train_recipe(recipe(start=request.getfixturevalue(model), crop="32x64", half=True), out=out)
    assert told["step"] == 6
    assert {"mIoU", "attacked_mIoU"} <= set(told["scores"])
    found = rs.load_model(told["model"])
    assert found.spec.classes == ("dark", "bright")
    assert {v.dtype for v in found.module.state_dict().values() if v.is_floating_point()} == {torch.float32}
    facts = json.loads((out / "robustseg.json").read_text())
    assert facts["training"]["recipe"]["attacks"] == ["pgd:eps=8/255,steps=2", "clean"]
    assert facts["held_out"]["mIoU"] == told["scores"]["mIoU"]
    card = (out / "README.md").read_text()
    assert "every batch by one drawn from pgd:eps=8/255,steps=2 or by nothing" in card
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "val_attacked_mIoU" in r] == [3, 6]
    assert (out / "curve.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_killed_training_ends_as_an_uninterrupted_one(recipe, tmp_path):
    """A real kill -9, somewhere in the middle of a step."""
    path = recipe(steps=30, validate_every=1000)
    train_recipe(path, out=tmp_path / "whole")
    program = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from robustseg.defenses.training import run\n"
        "whole = run.train\n"
        "run.train = lambda *a, **k: whole(*a, save_every=0, **k)\n"  # a checkpoint of every step
        "run.train_recipe(Path(sys.argv[1]), out=Path(sys.argv[2]))\n"
    )
    parts = tmp_path / "parts"
    child = subprocess.Popen([sys.executable, "-c", program, str(path), str(parts)])
    while not (parts / "state.pt").exists() or torch.load(parts / "state.pt", weights_only=True)["step"] < 3:
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    lost = torch.load(parts / "state.pt", weights_only=True)["step"]
    assert 3 <= lost < 30
    train_recipe(path, out=parts, resume=True)
    assert equal(tmp_path / "whole", parts)
    steps = [json.loads(line)["step"] for line in (parts / "curve.jsonl").read_text().splitlines() if "loss" in line]
    assert steps == [10, 20, 30]


def test_minutes_pause_and_the_pause_is_said(recipe, tmp_path):
    told = train_recipe(recipe(), out=tmp_path / "out", minutes=0)
    assert told["step"] == 0
    assert "step 0 of 6".replace("step 0", "0 steps") in (tmp_path / "out" / "README.md").read_text()
    assert train_recipe(recipe(), out=tmp_path / "out", resume=True)["step"] == 6


def test_parts_of_a_batch_add_up_to_it(recipe, tmp_path):
    """Gradient accumulation: the same weights, up to rounding (no dropout, no batch statistics here)."""
    from robustseg.defenses.training import run

    found = []
    for parts in (1, 4):
        told = recipe(steps=1, batch=4, accumulate=parts, warmup=0, lr=1e-3)
        gradients = []

        def keep(network, losses, plan, folder, into=gradients, **how):
            for value in losses(network.eval(), 0):
                value.backward()
            into += [p.grad.clone() for p in network.parameters()]
            return network, 0

        before, run.train = run.train, keep
        try:
            train_recipe(told, out=tmp_path / str(parts))
        finally:
            run.train = before
        found.append(gradients)
    whole, parts = found
    assert max(float(g.abs().max()) for g in whole) > 1e-3
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_another_recipe_is_not_resumed(recipe, tmp_path):
    train_recipe(recipe(), out=tmp_path / "out", minutes=0)
    with pytest.raises(UserError, match="--resume"):
        train_recipe(recipe(), out=tmp_path / "out")
    with pytest.raises(UserError, match="another recipe"):
        train_recipe(recipe(lr=0.1), out=tmp_path / "out", resume=True)


def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights(recipe, tmp_path, monkeypatch):
    from robustseg.defenses.training import methods

    monkeypatch.setattr(methods, "supervised", lambda output, *rest: output.scores.flatten(1).sum(1) * torch.nan)
    with pytest.raises(UserError, match="loss is nan at step 0"):
        train_recipe(recipe(), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"atacks": ["pgd"]}, r"unknown key 'atacks' \(did you mean attacks\?\)"),
        ({"start": ...}, "start is missing"),
        ({"steps": "many"}, "steps = 'many' is not a whole number"),
        ({"crop": 128}, "crop = 128 is not HEIGHTxWIDTH"),
        ({"share": 1.5}, r"share = 1.5 must lie in \[0, 1\]"),
        ({"attacks": "pgd"}, "attacks = 'pgd' is not a list of attacks"),
        ({"attacks": ["pdg"]}, "unknown attack 'pdg'"),
        ({"attacks": ["sea"]}, "list them as a mixture"),
        ({"attacks": ["universal"]}, "must be fitted"),
        ({"distill": {"temprature": 3}}, "distill: unknown key 'temprature'"),
        ({"trades": {"beta": 1}, "distill": True}, "exclude each other"),
        ({"trades": True, "share": 0.5}, "leave share out"),
        ({"data": "folder:/nowhere"}, "/nowhere"),
        ({"batch": 3, "accumulate": 2}, "equal parts"),
        ({"warmup": 6}, "warmup = 6 is not below steps = 6"),
        ({"held_out": 8}, "leaves none to train on"),
        ({"start": "zoo:street-cnn-classifier"}, "cannot be trained here"),
        ({"precision": "float16"}, "float32 or bfloat16"),
    ],
)
def test_mistakes_in_a_recipe_are_one_clear_line(changes, words, recipe, tmp_path):
    with pytest.raises(UserError, match=words) as found:
        train_recipe(recipe(**changes), out=tmp_path / "out")
    assert "\n" not in str(found.value)


def test_numbers_may_be_written_as_people_write_them(recipe):
    assert read(recipe(lr="1e-3", zoom=[1, 2])).lr == 1e-3  # YAML reads 1e-3 as text
    assert read(recipe(), {"crop": "64x96"}).crop == (64, 96)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_examples_are_recipes(path):
    found = read(path)
    assert found.name == path.stem
    assert attacks_of(found)


def test_no_recipe_is_a_clear_line(tmp_path):
    with pytest.raises(UserError, match="no recipe"):
        read(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(UserError, match="YAML mapping"):
        read(tmp_path / "list.yaml")


def test_a_change_from_the_command_line_needs_key_and_value(recipe, tmp_path):
    from robustseg.cli.train import train

    with pytest.raises(UserError, match="--set steps: wanted KEY=VALUE"):
        train(recipe(), tmp_path / "out", set_=["steps"])
