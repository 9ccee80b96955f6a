"""The generators that the zoo ships: complete, small, and better than noise on images they have not seen."""

from __future__ import annotations

import pytest
import torch

import robustseg as rs
from robustseg.catalog import attack
from robustseg.catalog.stealthy import ZOO
from robustseg.evaluation.equal_noise import equal_noise
from robustseg.tasks.semantic import predict


@pytest.fixture(scope="module")
def victim():
    return rs.load_model("zoo:street-segformer")


@pytest.fixture(scope="module")
def images():
    data = rs.load_data("street:val", resize=(128, 256))
    return torch.stack([data[i].image for i in range(3)])


@pytest.mark.parametrize("kind", ["vanish", "embed", "displace"])
def test_a_shipped_generator(kind, victim, images):
    folder = ZOO / f"stealthy-{kind}"
    assert (folder / "generator.safetensors").stat().st_size < 600_000
    card = (folder / "README.md").read_text()
    made = attack(f"stealthy:kind={kind},mode=generator")
    assert made.eps == "16/255"
    assert made.artefact.kind == folder.name
    assert made.artefact.backwards > 0
    assert f"kind={kind}," in card
    result = made(victim, images, ids=list("abc"))
    noisy = equal_noise(images, result.images, list("abc"), 0)
    with torch.no_grad():
        clean, said, noise = (predict(victim(x), (128, 256)) for x in (images, result.images, noisy))
    aimed = result.goal != clean
    hit = (said == result.goal)[aimed].float().mean()
    lucky = (noise == result.goal)[aimed].float().mean()
    assert hit > lucky + 0.1
    assert (said == clean)[~aimed].float().mean() > (noise == clean)[~aimed].float().mean() + 0.1
