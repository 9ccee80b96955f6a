"""What the zoo ships: complete folders, within the size limits, rebuilt by their library, saying what they measured."""

import json

import pytest
import torch
from recipes.command import ROOT
from recipes.export import reload
from recipes.measure import exported
from recipes.recipes import RECIPES

SHIPPED = {name: r for name, r in RECIPES.items() if (ROOT / r.folder).is_dir()}


@pytest.mark.parametrize("recipe", SHIPPED.values(), ids=SHIPPED)
def test_shipped(recipe):
    folder = ROOT / recipe.folder
    facts = json.loads((folder / "robustseg.json").read_text())
    assert (folder / "model.safetensors").stat().st_size <= 10_000_000
    assert facts["parameters"] <= 5_000_000
    assert facts["classes"] == list(recipe.classes)
    if recipe.task == "classification":
        assert 0.5 < facts["clean"]["accuracy"] < 1
    else:
        assert 0.3 < facts["clean"]["mIoU"] < facts["clean"]["aAcc"] < 1
    assert facts["task"] == recipe.task
    assert recipe.licence in (folder / "README.md").read_text()
    assert folder.is_relative_to(ROOT / ("weights-nc" if recipe.data == "camvid" else "src"))
    network = reload(recipe, folder)
    assert sum(p.numel() for p in network.parameters()) == facts["parameters"]
    pixels = torch.rand(1, 3, 128, 256, generator=torch.Generator().manual_seed(0)).requires_grad_()
    output = exported(recipe, folder)(pixels)
    scores = output.scores if recipe.task in ("semantic", "classification") else output.class_logits
    assert scores.isfinite().all()
    (gradient,) = torch.autograd.grad(scores.logsumexp(1).mean(), pixels)
    assert (gradient.abs().amax(1) > 0).float().mean() > 0.5


def test_the_page_says_what_the_folders_say():
    page = (ROOT / "docs" / "zoo.md").read_text()
    for name, recipe in SHIPPED.items():
        facts = json.loads((ROOT / recipe.folder / "robustseg.json").read_text())
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        shown = {"semantic": ("aAcc", "mIoU"), "universal": ("PQ", "AP50", "mIoU"), "instance": ("AP", "AP50"),
                 "classification": ("accuracy", "mAcc")}  # fmt: skip
        for score in shown[recipe.task]:
            assert f"| {facts['clean'][score]:.3f} |" in row
        assert f"{facts['parameters'] / 1e6:.2f} M" in row
