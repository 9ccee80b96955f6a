"""On the trained networks of the zoo: attacks on AP beat noise of the same radius."""

from __future__ import annotations

import pytest
import torch

import robustseg as rs
from robustseg.catalog import attack
from robustseg.data import load_data
from robustseg.tasks import truth


def scene(data, index=0):
    sample = data[index]
    return sample.image[None], truth.target([sample], [c in data.things for c in data.classes], data.ignore)


def test_ranking_on_queries():
    model = rs.load_model("zoo:street-mask2former-cnn")
    image, t = scene(load_data("street:val", resize=(128, 256)))
    still = attack("ap-rank:eps=2/255,steps=0")(model, image, t)
    found = attack("ap-rank:eps=2/255,steps=5")(model, image, t)
    assert 1 - found.score.item() < 0.5 * (1 - still.score.item())
    assert (found.images - image).abs().max() <= 2 / 255 + 1e-6


@pytest.mark.parametrize("name", ["roi-class", "roi-mask", "phantom", "training-loss", "dag", "ap-rank"])
def test_attacks_on_regions(name, shared_data):
    model = rs.load_model("zoo:nuclei-maskrcnn")
    data = load_data(f"dsb2018:{shared_data / 'dsb2018'}:test")
    sizes = [data[i].image.shape[-2:].numel() for i in range(12)]
    image, t = scene(data, sizes.index(min(sizes)))
    noise = attack("noise:eps=4/255")(model, image, t)
    found = attack(f"{name}:eps=4/255,steps=8")(model, image, t)
    assert not found.fault.any()
    assert found.score.item() > noise.score.item()
    assert torch.isfinite(found.images).all()
