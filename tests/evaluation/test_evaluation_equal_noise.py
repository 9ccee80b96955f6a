"""Noise of the same length as an attack: its length, its place, its draws, and its row in a summary."""

from __future__ import annotations

import doctest

import pytest
import torch
from toy import CLASSES, Level, Toy

import robustseg as rs
from robustseg.evaluation import equal_noise as module
from robustseg.evaluation.equal_noise import equal_noise
from robustseg.evaluation.goal_scores import goal_scores
from robustseg.models import wrap


def pair(eps=0.1, n=3):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, 12, 16, generator=g)
    images[0] = images[0].round()  # black and white: half of all noise is cut off
    attacked = (images + eps * torch.randn(n, 3, 12, 16, generator=g)).clamp(0, 1)
    attacked[:, :, :, :4] = images[:, :, :, :4]
    return images, attacked


def length(a, b):
    return (a - b).flatten(1).norm(dim=1)


def test_the_examples():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("eps", [0.0, 0.004, 0.1, 0.5])
def test_as_long_as_the_attack_on_the_same_pixels_and_inside_the_box(eps):
    images, attacked = pair(eps)
    noisy = equal_noise(images, attacked, list("abc"), 0)
    assert torch.allclose(length(noisy, images), length(attacked, images), rtol=1e-3, atol=1e-5)
    assert torch.equal(noisy[..., :4], images[..., :4])
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_draws_belong_to_the_image():
    images, attacked = pair()
    whole = equal_noise(images, attacked, list("abc"), 0)
    assert torch.equal(whole[1:2], equal_noise(images[1:2], attacked[1:2], ["b"], 0))
    assert not torch.equal(whole, equal_noise(images, attacked, list("abc"), 1))


def test_scores_by_hand():
    row = {"aimed": 4, "hit": 3, "hidden": 3, "rest": 10, "kept": 9, "noise_hit": 1, "noise_kept": 5}
    found = goal_scores([row, row])
    assert (found["noise_goal_reached"], found["noise_background_kept"]) == (0.25, 0.5)
    assert "noise_goal_reached" not in goal_scores([{"aimed": 4, "hit": 3}])


def test_it_stands_in_the_summary_of_a_stealthy_attack_and_of_no_other(tmp_path):
    model = wrap(Level(), classes=list(CLASSES))
    attacks = ["stealthy:steps=20,eps=20/255", "hide:class=person,steps=4", "stealthy:eps=1,steps=3,step_size=1/255"]
    summary = rs.evaluate(model, Toy(4), attacks, out=tmp_path / "run", device="cpu")
    found = {spec: entry["extra"] for spec, entry in summary["attacks"].items()}
    (stealthy,) = (e for s, e in found.items() if s.startswith("stealthy:eps=20/255"))
    assert stealthy["goal_reached"] > stealthy["noise_goal_reached"] + 0.1
    assert 0 <= stealthy["noise_background_kept"] <= 1
    (hide,) = (e for s, e in found.items() if s.startswith("hide"))
    assert "noise_goal_reached" not in hide
    assert {e["eps"] for e in summary["attacks"].values() if e["name"] == "noise"} == {"20/255", "8/255"}
    (entry,) = (e for s, e in summary["attacks"].items() if s.startswith("stealthy:eps=20/255"))
    assert entry["target"] == {"kind": "vanish", "class": "person"}
