"""Artefacts: fitted on other images, saved, part of the key, refused where they overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from toy import Push, Toy, model, rows_without_time

from robustseg.catalog import Artefact
from robustseg.errors import UserError
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read

FITS: list[str] = []


@dataclass(frozen=True)
class Learns(Push):
    """Needs the mean brightness of other images."""

    name: str = "learns"
    needs_fit: bool = True
    artefact: Artefact | None = None

    def fit(self, model, dataset, seed=0):
        FITS.append(self.spec)
        mean = torch.stack([dataset[i].image.mean() for i in range(len(dataset))]).mean()
        assert dataset.classes == model.spec.classes
        return Artefact("mean", {"mean": mean.view(1)}, dataset.ref, forwards=0, backwards=5)

    def with_artefact(self, artefact):
        return replace(self, artefact=artefact)


@pytest.fixture(autouse=True)
def fresh():
    FITS.clear()


def run(out, fit=None, attacks=None):
    fit = Toy(number=3, seed=9, ref="toy:fit") if fit is None else fit
    return evaluate(model(), Toy(), attacks or [Learns()], out=out, batch_size=2, fit_data=fit)


def test_it_is_fitted_once_saved_and_its_gradients_are_reported_apart(tmp_path):
    summary = run(tmp_path)
    run(tmp_path)
    assert FITS == ["learns:eps=8/255"]
    files = list((tmp_path / "artefacts").iterdir())
    assert len(files) == 1
    info = read(tmp_path).runs[-1].info["artefacts"]["learns:eps=8/255"]
    assert info["fitted_on"] == "toy:fit"
    assert info["backwards"] == 5
    assert info["digest"] == Artefact.load(files[0]).digest
    assert summary["attacks"]["learns:eps=8/255"]["backwards"] == 1  # per image, without the fit


def test_other_fit_data_is_another_key(tmp_path):
    a = run(tmp_path)["attacks"]["learns:eps=8/255"]["key"]
    b = run(tmp_path, Toy(number=3, seed=8, ref="toy:other"))["attacks"]["learns:eps=8/255"]["key"]
    assert a != b
    assert len(FITS) == 2


def test_scored_images_may_not_be_fitted_on_even_under_another_name(tmp_path):
    with pytest.raises(UserError, match=r"scored: 6 of toy:copy are, e\.g\. im00; name other data"):
        run(tmp_path, Toy(ref="toy:copy"))
    assert FITS == []


def test_without_fit_data_the_one_line_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match="--fit-data"):
        evaluate(model(), Toy(), [Learns()], out=tmp_path)


@pytest.mark.parametrize("name", ["sea", "balanced-masked-ce"])
def test_the_attack_that_was_asked_for_is_named_and_another_offered(tmp_path, name):
    with pytest.raises(UserError, match=rf"^{name} must be fitted .*class counts.* give --fit-data REF, or use strong"):
        evaluate(model(), Toy(), f"{name}:steps=3", out=tmp_path)


def test_strong_needs_no_other_images(tmp_path):
    summary = evaluate(model(), Toy(), "strong:steps=3", out=tmp_path, batch_size=6)
    entry = summary["attacks"]["strong:eps=8/255,steps=3"]
    assert sorted(m.partition(":")[0] for m in entry["members"]) == ["js", "masked-ce", "padam-cos", "tsallis"]
    assert entry["failed"] == 0


def test_an_ensemble_expands_into_member_rows_and_shares_its_artefact(tmp_path):
    summary = run(tmp_path, attacks=["sea:steps=3", "balanced-masked-ce:steps=3"])
    assert len(list((tmp_path / "artefacts").iterdir())) == 1
    sea = summary["attacks"]["sea:eps=8/255,steps=3"]
    assert sorted(m.partition(":")[0] for m in sea["members"]) == ["balanced-masked-ce", "js", "masked-ce"]
    assert "sea:eps=8/255,steps=3" not in read(tmp_path).runs[-1].attacks  # it has no rows of its own
    members = [summary["attacks"][m] for m in sea["members"]]
    assert sea["mIoU"] <= min(m["mIoU"] for m in members)
    assert sea["backwards"] == sum(m["backwards"] for m in members)
    rows = rows_without_time(tmp_path)
    assert len(rows) == 6 * (1 + 1 + 3)  # clean, noise, members once


def test_a_half_written_artefact_is_one_line(tmp_path):
    run(tmp_path)
    (file,) = (tmp_path / "artefacts").iterdir()
    file.write_bytes(b"half")
    with pytest.raises(UserError, match="fit it again"):
        run(tmp_path)


def test_a_universal_perturbation_is_fitted_elsewhere_kept_and_used_again_from_its_file(tmp_path):
    spec = "universal:steps=4"
    summary = run(tmp_path / "a", attacks=[spec, "universal:steps=4,eps=20/255"])
    files = sorted((tmp_path / "a" / "artefacts").iterdir())
    assert len(files) == 2  # another radius is another perturbation
    (entry,) = [e for s, e in summary["attacks"].items() if s.startswith("universal:eps=8/255")]
    assert entry["backwards"] == 0
    about = read(tmp_path / "a").runs[-1].info["artefacts"]
    assert sorted(a["backwards"] for a in about.values()) == [12, 12]  # four steps, three images
    again = evaluate(model(), Toy(), f"universal:file={_tile(files, 8 / 255)}", out=tmp_path / "b")
    (reused,) = [e for s, e in again["attacks"].items() if s.startswith("universal")]
    assert reused["mIoU"] == entry["mIoU"]


def _tile(files, eps):
    """The file whose tile has this radius."""
    return next(f for f in files if abs(float(Artefact.load(f).tensors["tile"].abs().max()) - eps) < 1e-6)
