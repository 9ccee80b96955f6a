"""--defense and --adaptive for a whole run: the key, the caution, the draws, replay."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from toy import Level, Push, Toy, model, rows_without_time

import robustseg as rs
from robustseg.errors import UserError
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.single import attack_images

PGD = "pgd:eps=8/255,steps=3"


def run(out, number=2, **options):
    return evaluate(
        model(), Toy(number=number), options.pop("attacks", "pgd:steps=3"), out=out, device="cpu", **options
    )


def test_an_identity_leaves_every_row_and_no_key(tmp_path):
    plain, behind = run(tmp_path / "a"), run(tmp_path / "b", defense="median=1")
    a, b = (
        sorted(str({**row, "key": None}) for row in rows_without_time(tmp_path / name).values()) for name in ("a", "b")
    )
    assert a == b
    assert plain["clean"]["mIoU"] == behind["clean"]["mIoU"]
    assert plain["attacks"][PGD]["key"] != behind["attacks"][PGD]["key"]
    assert behind["defense"] == "median=1"
    assert behind["cautions"] == plain["cautions"]


def test_an_attack_that_does_not_know_the_defence_comes_with_a_caution(tmp_path):
    knows = run(tmp_path, defense="bits=2")
    not_ = run(tmp_path, defense="bits=2", adaptive="off")
    masked = run(tmp_path, defense="bits=2", adaptive="eot")
    unaware = f"{PGD},source=toy"
    assert not_["attacks"][unaware]["backwards"] == 3
    assert not_["clean"] == knows["clean"]  # the same model, predicted once
    assert knows["attacks"][PGD]["mIoU"] < not_["attacks"][unaware]["mIoU"]
    assert masked["failed"] == 2  # the gradient is exactly zero: no figure at all
    said = [[c for c in s["cautions"] if "no measure of robustness" in c] for s in (knows, not_, masked)]
    assert [len(s) for s in said] == [0, 1, 1]
    assert "behind bits=2" in said[1][0]
    assert "--adaptive off" in said[1][0]
    config = json.loads((tmp_path / "run.json").read_text())
    assert (config["defense"], config["adaptive"]) == ("bits=2", "eot")


def test_a_source_does_not_know_the_defence_either(tmp_path):
    source = rs.wrap(Level(20.0), classes=Toy.classes, name="other")
    found = run(tmp_path, defense="bits=2", source=source)
    assert any("made on other: they are no measure" in c for c in found["cautions"])


@pytest.mark.parametrize("options", [{}, {"adaptive": "off"}, {"eot_samples": 2}, {"adaptive": "bpda"}])
def test_a_row_can_be_made_again(tmp_path, options):
    found = run(tmp_path, defense="resize=0.8-1.2,bits=4", **options)
    (spec,) = [s for s in found["attacks"] if s.startswith("pgd")]
    draws = {"off": 1, "bpda": 1}.get(options.get("adaptive"), options.get("eot_samples", 4))
    assert found["attacks"][spec]["backwards"] == 3 * draws
    assert found["attacks"][spec]["budget"]["backwards"] == 3 * draws
    again = replay(tmp_path, "im01", spec, model=model(), data=Toy(number=2))
    assert again["equal"], again["differences"]


def test_a_random_defence_depends_on_seed_and_image_and_on_no_batch(tmp_path):
    options = {"defense": "resize=0.7-1.3", "number": 3, "attacks": "pgd:steps=2", "eot_samples": 2}
    for name, more in {"a": {"batch_size": 3}, "b": {"batch_size": 1}, "c": {"batch_size": 3, "seed": 1}}.items():
        run(tmp_path / name, **options, **more)
    rows = {n: list(rows_without_time(tmp_path / n).items()) for n in "abc"}
    assert sorted(map(str, rows["a"])) == sorted(map(str, rows["b"]))
    assert {k for k, _ in rows["a"]}.isdisjoint({k for k, _ in rows["c"]})  # clean ones too: they hang on the draws
    clean = {n: [r["stats"] for (_, _), r in rows[n] if not r["budget_b"] and r["budget_f"] == 1] for n in "ac"}
    assert clean["a"] != clean["c"]


def test_several_models_stand_behind_one_defence(tmp_path):
    pair = [model(), rs.wrap(Level(20.0), classes=Toy.classes, name="other")]
    found = evaluate(pair, Toy(number=2), "pgd:steps=2", out=tmp_path, device="cpu", defense="bits=3", adaptive="off")
    assert {m["defense"] for m in found["models"]} == {"bits=3"}
    assert sum("no measure of robustness" in c for c in found["cautions"]) == 2
    with pytest.raises(UserError, match="a randomised defence is for one model at a time"):
        evaluate(pair, Toy(number=2), "pgd:steps=2", out=tmp_path / "b", device="cpu", defense="resize=0.8-1.2")


def test_a_universal_tile_is_fitted_behind_the_defence(tmp_path):
    found = run(tmp_path, attacks="universal:steps=2,images=2", defense="resize=0.8-1.2", fit_data=Toy(3, seed=9))
    (entry,) = [e for s, e in found["attacks"].items() if s.startswith("universal")]
    assert entry["failed"] == 0
    assert entry["fitted"]["backwards"] == 2 * 2 * 4


def test_pictures_are_attacked_and_seen_behind_it(tmp_path):
    pixels = (Toy()[0].image.permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made, told = {}, {}
    behind = {"defense": "bits=2"}
    for mode, options in {"bare": {}, "auto": behind, "off": {**behind, "adaptive": "off"}}.items():
        out = tmp_path / mode
        (told[mode],) = attack_images([tmp_path / "a.png"], model(), "pgd:steps=3", out=out, **options)
        files = ("adversarial.npz", "clean_prediction.index.png")
        made[mode] = [(out / "a" / f).read_bytes() for f in files]
    assert "defense" not in told["bare"]
    assert told["auto"]["cautions"] == []
    assert "no measure of robustness" in told["off"]["cautions"][0]
    assert (told["off"]["defense"], told["off"]["adaptive"]) == ("bits=2", "off")
    assert made["off"][0] == made["bare"][0] != made["auto"][0]  # who does not know of it attacks the bare model
    assert made["off"][1] == made["auto"][1] != made["bare"][1]  # and is scored behind the defence


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adaptive": "off"}, "says how attacks meet a defence; name one"),
        ({"adaptive": "on", "defense": "bits=3"}, "--adaptive on is unknown; auto: everything"),
        ({"defense": "bit=3"}, "did you mean bits"),
        ({"defense": "bits=3", "eot_samples": 2}, "--eot-samples 2 of nothing"),
    ],
)
def test_refusals(tmp_path, options, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path, **options)


def test_an_attack_object_of_ones_own_meets_the_defence(tmp_path):
    found = run(tmp_path, attacks=Push(), defense="bits=3")
    assert found["failed"] == 0
