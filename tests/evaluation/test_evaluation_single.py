"""Pictures from files: attacked against what the model sees."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy import Bad, Toy, model

from query_models import Universal
from robustseg.errors import UserError
from robustseg.evaluation.single import attack_images


@pytest.fixture
def picture(tmp_path):
    pixels = (Toy()[0].image.numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_stored_image_does_what_is_reported(tmp_path, picture):
    (found,) = attack_images([picture], model(), "pgd:eps=16/255,steps=5", out=tmp_path / "out")
    assert "reference=pred" in found["attack"]
    with np.load(tmp_path / "out" / "photo" / "adversarial.npz") as stored:
        attacked = torch.from_numpy(stored["image"])[None]
    clean = Toy()[0].image[None]
    assert float((attacked - clean).abs().max()) <= 16 / 255 + 1e-6
    before, after = (model()(x).scores.argmax(1) for x in (clean, attacked))
    assert found["changed"] == float((before != after).float().mean()) > 0
    raw = np.array(Image.open(tmp_path / "out" / "photo" / "prediction.index.png"))
    assert (raw == after[0].numpy()).all()
    assert json.loads((tmp_path / "out" / "photo" / "result.json").read_text())["changed"] == found["changed"]


def test_a_region_holds(tmp_path, picture):
    mask = np.zeros((12, 16), dtype=np.uint8)
    mask[:, :8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    spec = f"pgd:eps=16/255,steps=3,region={tmp_path / 'mask.png'}"
    attack_images([picture], model(), spec, out=tmp_path / "out")
    with np.load(tmp_path / "out" / "photo" / "adversarial.npz") as stored:
        changed = (stored["image"] != Toy()[0].image.numpy()).any(0)
    assert changed[:, :8].any()
    assert not changed[:, 8:].any()


@pytest.mark.parametrize(
    ("spec", "words"),
    [("pgdd", "unknown attack"), ("sea", "must be fitted.*or strong here"), ("pgd:region=nope.png", "neither a file")],
)
def test_mistakes_are_one_line(tmp_path, picture, spec, words):
    with pytest.raises(UserError, match=words):
        attack_images([picture], model(), spec, out=tmp_path / "out")


def test_a_picture_that_is_none_and_a_model_of_nan(tmp_path, picture):
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"no\.png"):
        attack_images([tmp_path / "no.png"], model(), "fgsm", out=tmp_path / "out")
    with pytest.raises(UserError, match="not finite"):
        attack_images([picture], model(Bad("nan")), "fgsm", out=tmp_path / "out")


def test_every_attack_has_a_folder(tmp_path, picture):
    specs = ["pgd:eps=8/255,steps=2", "fgsm:eps=16/255", "pgd:eps=8/255,steps=2"]
    found = attack_images([picture], model(), specs, out=tmp_path / "out")
    assert [f["attack"].partition(":")[0] for f in found] == ["pgd", "fgsm"]
    folders = {f["folder"] for f in found}
    assert len(folders) == 2
    for one in found:
        with np.load(f"{one['folder']}/adversarial.npz") as stored:
            size = float(np.abs(stored["image"] - Toy()[0].image.numpy()).max())
        assert size == pytest.approx(one["linf"], abs=1e-6)


def test_a_negative_seed_is_one_line(tmp_path, picture):
    with pytest.raises(UserError, match="seed -1 is negative"):
        attack_images([picture], model(), "fgsm", out=tmp_path / "out", seed=-1)


def test_a_model_of_segments_shows_what_became_of_each(tmp_path):
    """In the dark Universal sees a street; light takes its segments away."""
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(tmp_path / "dark.png")
    spec = "training-loss:eps=32/255,steps=4"
    (found,) = attack_images([tmp_path / "dark.png"], Universal(), spec, out=tmp_path / "out")
    fates = found["segments"]
    assert set(fates) == {"kept", "lost", "flipped", "split", "merged", "invented"}
    before = np.array(Image.open(tmp_path / "out" / "dark" / "clean_prediction.segments.index.png"))
    after = np.array(Image.open(tmp_path / "out" / "dark" / "prediction.segments.index.png"))
    assert before.max() == sum(n for fate, n in fates.items() if fate != "invented") > 0
    assert fates["kept"] < before.max()
    assert (before != after).any()
    assert (tmp_path / "out" / "dark" / "prediction.segments.png").is_file()


def test_a_model_of_labels_has_no_segments(tmp_path, picture):
    (found,) = attack_images([picture], model(), "fgsm", out=tmp_path / "out")
    assert "segments" not in found
    assert not list((tmp_path / "out" / "photo").glob("*segments*"))
