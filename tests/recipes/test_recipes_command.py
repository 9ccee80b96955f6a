"""The whole command on a made-up data set: train, pause, resume, export, measure, card."""

import dataclasses
import json

import pytest
import torch
from PIL import Image
from recipes.recipes import CAMVID, RECIPES

from recipes import command


@pytest.fixture
def camvid(scenes, tmp_path):
    """The scenes in CamVid's layout, void written as 11."""
    images, labels = scenes
    for split, numbers in {"train": (0, 1, 2), "val": (3,), "test": (2, 3)}.items():
        for folder in (split, f"{split}annot"):
            (tmp_path / "camvid" / folder).mkdir(parents=True)
        for i in numbers:
            name = f"{split}/{i}.png"
            Image.fromarray(images[i].movedim(0, -1).numpy()).save(tmp_path / "camvid" / name)
            void = labels[i].masked_fill(labels[i] == 255, 11)
            Image.fromarray(void.numpy()).save(tmp_path / "camvid" / f"{split}annot" / f"{i}.png")
    return tmp_path / "camvid"


def test_train_pause_resume_export(hf_recipe, camvid, tmp_path, monkeypatch, capsys):
    recipe = dataclasses.replace(hf_recipe, name="camvid-segformer", classes=CAMVID)
    monkeypatch.setitem(RECIPES, "camvid-segformer", recipe)
    out = tmp_path / "out"
    base = ["camvid-segformer", "--data", str(camvid), "--out", str(out), "--checkpoints", str(tmp_path / "ckpt")]
    assert command.main([*base, "--minutes", "0"]) == 0
    assert "paused at step 0 of 20" in capsys.readouterr().out
    assert command.main(base) == 2
    assert "--resume" in capsys.readouterr().out
    assert command.main([*base, "--from-step", "3"]) == 2
    assert "--resume alone" in capsys.readouterr().out
    assert command.main([*base, "--resume"]) == 0
    facts = json.loads((out / "robustseg.json").read_text())
    assert facts["clean"]["aAcc"] > 0.7
    assert f"mIoU {facts['clean']['mIoU']:.4f}" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert f"mIoU **{facts['clean']['mIoU']:.3f}**" in card
    assert "non-commercial" not in facts["licence"] or "non-commercial" in card
    for name in ("config.json", "model.safetensors", "curve.png", "curve.jsonl"):
        assert (out / name).stat().st_size > 0


def test_objects_from_files_to_the_card(regions_recipe, cells, tmp_path, monkeypatch, capsys):
    recipe = dataclasses.replace(regions_recipe, name="nuclei-maskrcnn", lr=1e-2, stain=None, jitter=0.0)
    monkeypatch.setitem(RECIPES, "nuclei-maskrcnn", recipe)
    monkeypatch.setitem(command.HELD_OUT, "dsb2018", 1)
    for split in ("train", "test"):
        (tmp_path / "cells" / split).mkdir(parents=True)
        for i, (image, code) in enumerate(zip(*cells)):
            Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / "cells" / split / f"{i}.png")
            numbers = (code >> 8).numpy().astype("uint16")
            Image.fromarray(numbers).save(tmp_path / "cells" / split / f"{i}_inst.png")
    data = ["--data", str(tmp_path / "cells"), "--checkpoints", str(tmp_path / "ckpt")]
    assert command.main(["nuclei-maskrcnn", *data, "--out", str(tmp_path / "out")]) == 0
    facts = json.loads((tmp_path / "out" / "robustseg.json").read_text())
    assert set(facts["clean"]) >= {"AP", "AP50", "mIoU"}
    assert facts["things"] == ["nucleus"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"AP50 **{facts['clean']['AP50']:.3f}**" in card
    assert "Mask R-CNN" in card
    assert f"AP50 {facts['clean']['AP50']:.4f}" in capsys.readouterr().out


def test_missing_data_is_one_line(tmp_path, capsys):
    assert command.main(["street-unet", "--data", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_is_small_enough(recipe):
    from recipes.measure import in_training
    from recipes.networks import build

    network = build(recipe)
    assert sum(p.numel() for p in network.parameters()) <= 5_000_000
    with torch.no_grad():
        output = in_training(network, recipe)(torch.zeros(1, 3, 128, 128))
    if recipe.task in ("semantic", "classification"):
        assert output.scores.shape[1] == len(recipe.classes)
    else:
        assert output.class_logits.shape[-1] == len(recipe.classes) + (recipe.task == "universal")


def test_a_small_set_keeps_an_eighth_for_the_curve():
    """The bundled pack has fewer scenes than are kept of a large one."""
    data = command.splits(RECIPES["street-vit"], command.ROOT / "src/robustseg/data/packs/street-fit")
    assert [len(data[k][0]) for k in ("train", "val")] == [28, 4]
