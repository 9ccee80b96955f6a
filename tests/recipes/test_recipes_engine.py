"""The training loop: it learns, and a killed run ends where an uninterrupted one ends, bit for bit."""

import dataclasses
import itertools
import json

import pytest
import torch
from recipes.engine import begin, draw_indices, plan, train
from recipes.kinds import objective
from recipes.measure import in_training, measure
from recipes.networks import HEAD, build
from recipes.recipes import Stage

from robustseg.defenses.training.schedule import learning_rate
from robustseg.errors import UserError


def rate_of(recipe, step):
    p = plan(recipe)
    return learning_rate(step, p.steps, lr=p.lr, warmup=p.warmup, poly=p.poly)


class Killed(Exception):
    pass


def test_twenty_steps_lower_the_loss(hf_recipe, scenes, tmp_path):
    rows = []
    _, step = train(hf_recipe, *scenes, tmp_path, report=rows.append)
    assert step == hf_recipe.steps == 20
    logged = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert logged == rows
    before = measure(in_training(build(hf_recipe), hf_recipe), *scenes)
    trained = build(hf_recipe)
    trained.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["network"])
    after = measure(in_training(trained, hf_recipe), *scenes)
    assert after["aAcc"] > max(0.8, before["aAcc"])


@pytest.mark.parametrize(
    ("fixture", "data"),
    [("hf_recipe", "scenes"), ("smp_recipe", "scenes"), ("universal_recipe", "cells"), ("regions_recipe", "cells")],
)
def test_a_killed_run_resumes_bit_equal(fixture, data, request, tmp_path):
    recipe, scenes = request.getfixturevalue(fixture), request.getfixturevalue(data)
    train(recipe, *scenes, tmp_path / "whole")

    def die(row):
        if row["step"] == 8:
            raise Killed

    # save_every=0 keeps a checkpoint of every step; the first run pauses, the second dies after step 8 was logged
    train(recipe, *scenes, tmp_path / "parts", stop_at=5)
    with pytest.raises(Killed):
        train(
            recipe, *scenes, tmp_path / "parts",
            save_every=0, validate=lambda network: {"val_mIoU": 0.0}, validate_every=4, report=die,
        )  # fmt: skip
    lost = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"]
    assert lost == 7
    train(recipe, *scenes, tmp_path / "parts")
    whole, parts = (torch.load(tmp_path / d / "state.pt", weights_only=True) for d in ("whole", "parts"))
    for kind in ("network", "ema"):
        for key, value in whole[kind].items():
            assert torch.equal(value, parts[kind][key]), (kind, key)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))  # what was repeated is logged once


@pytest.mark.parametrize("fixture", ["universal_recipe", "regions_recipe"])
def test_networks_that_find_objects_learn(fixture, request, cells, tmp_path):
    recipe = dataclasses.replace(request.getfixturevalue(fixture), lr=1e-2, jitter=0.0, stain=None)
    images, codes = cells

    def cost(network):
        torch.manual_seed(0)  # the detector samples
        pixels = (images.float() / 255 - torch.tensor(recipe.mean).view(3, 1, 1)) / torch.tensor(recipe.std).view(
            3, 1, 1
        )
        return objective(recipe, codes)(network.train(), pixels, codes.long(), False).item()

    before = cost(build(recipe))
    train(recipe, images, codes, tmp_path)
    trained = build(recipe)
    trained.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["network"])
    assert cost(trained) < 0.7 * before


def test_a_schedule_is_lengthened_from_what_was_exported(universal_recipe, cells, tmp_path):
    recipe = dataclasses.replace(universal_recipe, stages=(Stage(2, (32, 32), 2, (1.0, 1.0)),))
    network, _ = train(recipe, *cells, tmp_path / "first", bfloat16=False)
    weights = {k: v.half() for k, v in network.state_dict().items() if not k.startswith(HEAD)}
    longer = dataclasses.replace(recipe, stages=(*recipe.stages, Stage(3, (32, 32), 2, (1.0, 1.0))))
    begin(longer, weights, 2, tmp_path / "second")
    state = torch.load(tmp_path / "second" / "state.pt", weights_only=True)
    assert state["step"] == 2
    assert all(torch.equal(state["ema"][k], v.float()) for k, v in weights.items())
    lengthened, step = train(longer, *cells, tmp_path / "second", bfloat16=False)
    assert step == 5
    assert any(not torch.equal(v.half(), lengthened.state_dict()[k].half()) for k, v in weights.items())
    with pytest.raises(UserError, match="not those of"):
        begin(longer, {"other": torch.zeros(1)}, 2, tmp_path / "third")


def test_no_minutes_no_step(hf_recipe, scenes, tmp_path):
    _, step = train(hf_recipe, *scenes, tmp_path, minutes=0)
    assert step == 0


def test_an_epoch_shows_every_image_once(hf_recipe):
    count = 4
    shown = [i for step in range(hf_recipe.steps) for i in draw_indices(hf_recipe, step, count)]
    assert len(shown) == 12 * 3 + 8 * 2
    for first in range(0, len(shown) - count, count):
        assert sorted(shown[first : first + count]) == [0, 1, 2, 3]


def test_learning_rate_warms_up_and_ends_at_zero(hf_recipe):
    rates = [rate_of(hf_recipe, step) for step in range(hf_recipe.steps + 1)]
    assert rates[0] == pytest.approx(hf_recipe.lr / 3)
    assert rates[2:4] == pytest.approx([hf_recipe.lr] * 2)
    assert max(rates) == pytest.approx(hf_recipe.lr)
    assert rates[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(rates[3:]))
