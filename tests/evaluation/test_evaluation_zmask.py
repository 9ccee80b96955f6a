"""--defense zmask and demask for a whole run: calibrated once, on images that are not scored, and made again."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from toy import Level, Toy, model

from robustseg.defenses import zmask_fit
from robustseg.errors import UserError
from robustseg.evaluation import fitting
from robustseg.evaluation.guard import Guard
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.single import attack_images
from robustseg.models import wrap
from robustseg.types import DenseOutput

FIT = Toy(3, ref="toy:fit", seed=9)
PATCH = "patch:size=4x4,steps=2,images=2,batch=1"


class Encoded(Level):
    """A network that says what its layers hold."""

    def forward(self, x):
        wide = torch.cat([x, 1 - x], 1)
        maps = (wide, torch.nn.functional.avg_pool2d(wide, 2))
        return DenseOutput(super().forward(x), extras={"features": maps})


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """The convolutions need not learn anything here."""
    monkeypatch.setattr(zmask_fit, "ROUNDS", 5)


def network():
    return wrap(Encoded(), classes=Toy.classes, name="encoded")


def run(out, **options):
    options = {"attacks": PATCH, "fit_data": FIT, "defense": "zmask", **options}
    return evaluate(network(), Toy(number=2), options.pop("attacks"), out=out, device="cpu", **options)


def spec(found):
    (one,) = [s for s in found["attacks"] if s.startswith("patch:") and "fill" not in s]
    return one


def test_it_is_calibrated_once_and_reused_and_an_attack_that_does_not_know_it_is_another_row(tmp_path):
    knows = run(tmp_path)
    (file,) = (tmp_path / "artefacts").glob("zmask-*.safetensors")
    before = file.read_bytes()
    unaware = run(tmp_path, adaptive="off")
    assert file.read_bytes() == before
    assert len(list((tmp_path / "artefacts").glob("zmask-*"))) == 1
    assert unaware["clean"] == knows["clean"]
    assert knows["attacks"][spec(knows)]["fitted"]["backwards"] == 2 * 2  # one for the score of the defence
    assert unaware["attacks"][spec(unaware)]["fitted"]["backwards"] == 2
    assert any("no measure of robustness" in c for c in unaware["cautions"])
    blind = run(tmp_path, adaptive="eot")
    assert any("does not see what zmask hides" in c for c in blind["cautions"])
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["calibrated"]["fitted_on"] == "toy:fit"
    assert record["calibrated"]["forwards"] > 0
    again = run(tmp_path / "other", defense=f"zmask={file}", seed=1)
    assert again["clean"]["mIoU"] == knows["clean"]["mIoU"]


def test_a_row_can_be_made_again(tmp_path, monkeypatch):
    found = run(tmp_path)
    monkeypatch.setattr(fitting, "load_data", lambda ref, resize: {"toy:fit": FIT}[ref])
    again = replay(tmp_path, "im01", spec(found), model=network(), data=Toy(number=2))
    assert again["equal"], again["differences"]


def test_the_seed_of_a_run_does_not_move_the_defence(tmp_path):
    for seed in (0, 1):
        run(tmp_path, seed=seed, attacks="pgd:steps=1")
    assert len(list((tmp_path / "artefacts").glob("zmask-*"))) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fit_data": Toy(number=4)}, "zmask may not be fitted on images that are scored"),
        ({"fit_data": None}, "--defense zmask must be fitted .on clean images and patches. .* or use demask"),
    ],
)
def test_it_is_not_calibrated_on_what_is_scored(tmp_path, options, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path, **options)


def test_refusals(tmp_path):
    with pytest.raises(UserError, match="toy gives none; use demask"):
        evaluate(model(), Toy(number=1), "fgsm", out=tmp_path, device="cpu", defense="zmask", fit_data=FIT)
    with pytest.raises(UserError, match="one model at a time"):
        evaluate([network(), model()], Toy(number=1), "fgsm", out=tmp_path, device="cpu", defense="zmask", fit_data=FIT)
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="must be calibrated on images"):
        attack_images([tmp_path / "a.png"], network(), "fgsm", out=tmp_path, defense="zmask")
    assert not Guard.of("zmask=file", "auto").calibrates
    assert not Guard().calibrates


def test_a_patch_follows_the_mean_of_the_votes(tmp_path):
    found = run(tmp_path, defense="demask=2", fit_data=FIT)
    assert found["attacks"][spec(found)]["failed"] == 0
    assert found["defense"] == "demask=2x2"
    masked = run(tmp_path, defense="demask=2", attacks="pgd:steps=1", adaptive="eot")
    assert masked["failed"] == 2  # votes are counts, and have no gradient
