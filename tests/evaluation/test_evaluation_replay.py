"""A row can be made again, and what differs is said; the pictures are those of the rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy import Level, Push, Toy, model

from robustseg.errors import UserError
from robustseg.evaluation import pictures
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import Store, read


def run(out, **options):
    attacks = options.pop("attacks", ["pgd:steps=3", "pgd:steps=3,norm=l2"])
    return evaluate(model(), Toy(), attacks, out=out, **{"batch_size": 4, "eps": "8/255,24/255", **options})


def again(out, image="im02", attack="pgd:eps=24/255,steps=3", **options):
    return replay(out, image, attack, **{"model": model(), "data": Toy(), **options})


def test_a_replay_equals_its_row(tmp_path):
    run(tmp_path)
    for attack in ("pgd:eps=24/255,steps=3", "pgd:eps=8/255,norm=l2,steps=3", "noise:eps=8/255"):
        found = again(tmp_path, attack=attack)
        assert found["equal"], found["differences"]
    folder = tmp_path / "replay" / "im02"
    assert json.loads((folder / "replay.json").read_text())["equal"] is True
    assert (folder / "clean.png").is_file()


@pytest.mark.parametrize("options", [{"eight_bit": True}, {"region": "skin"}, {"count": "class:sky"}, {"seed": 4}])
def test_a_replay_takes_over_every_option(tmp_path, options):
    run(tmp_path, **options)
    assert again(tmp_path, image="im05")["equal"]


def test_a_replay_takes_the_whole_batch(tmp_path):
    class Counts(Level):
        largest = 0

        def forward(self, x):
            Counts.largest = max(Counts.largest, len(x))
            return super().forward(x)

    net = model(Counts())
    evaluate(net, Toy(), ["pgd:steps=3"], out=tmp_path, batch_size=4)
    Counts.largest = 0
    assert again(tmp_path, attack="pgd", model=net)["equal"]
    assert Counts.largest == 4


def test_a_row_that_was_tampered_with_is_found_out(tmp_path):
    run(tmp_path)
    key = read(tmp_path).runs[-1].attacks["pgd:eps=24/255,steps=3"]
    with Store(tmp_path) as store:
        row = store.row(key, "im02")
        row.stats["right"] += 1
        store.add_rows([row])
    found = again(tmp_path)
    assert not found["equal"]
    assert found["differences"] == [f"stats.right: {row.stats['right']} stored, {row.stats['right'] - 1} now"]


def test_a_changed_model_or_data_set_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="model changed"):
        again(tmp_path, model=model(Level(39.0)))
    with pytest.raises(UserError, match="data changed"):
        again(tmp_path, data=Toy(seed=2))


@pytest.mark.parametrize(
    ("image", "attack", "words"),
    [
        ("im99", "pgd:eps=24/255,steps=3", "no row of image"),
        ("im02", "fgsm", "is none of"),
        ("im02", "pgd", "fits several"),
    ],
)
def test_what_cannot_be_replayed(tmp_path, image, attack, words):
    run(tmp_path)
    with pytest.raises(UserError, match=words):
        again(tmp_path, image=image, attack=attack)


def test_a_row_with_neighbours_beyond_the_limit_of_the_newest_run(tmp_path):
    run(tmp_path)
    run(tmp_path, limit=3)  # im02 was attacked together with im03
    assert again(tmp_path)["equal"]
    run(tmp_path, limit=3, keep=3)


# ------------------------------------------------------------------------------------------------ pictures


def worst(out) -> list[str]:
    """The order of images by hand: the largest loss of an image's own mIoU to any attack at the largest eps."""
    contents = read(out)
    run = contents.runs[-1]

    def miou(s):
        values = [i / (p + t - i) for i, p, t in zip(s["inter"], s["pred"], s["target"]) if p + t > 0]
        return sum(values) / len(values)

    lost = {}
    for image, row in contents.rows[run.clean].items():
        keys = [k for s, k in run.attacks.items() if "24/255" in s and "l2" not in s]
        lost[image] = miou(row.stats) - min(miou(contents.rows[k][image].stats) for k in keys)
    return sorted(lost, key=lambda i: (-lost[i], i))


def test_the_worst_images_are_kept_losslessly(tmp_path):
    run(tmp_path, keep=2)
    index = json.loads((tmp_path / "pictures" / "INDEX.json").read_text())
    assert [e["id"] for e in index["images"]] == worst(tmp_path)[:2]
    assert set(index["palette"]) == {"road", "sky", "person"}
    contents = read(tmp_path)
    net = model()
    for entry in index["images"]:
        assert [a["spec"] for a in entry["attacks"]] == ["noise:eps=24/255", "pgd:eps=24/255,steps=3"]
        sample = Toy()[int(entry["id"][2:])]
        for a in entry["attacks"]:
            folder = tmp_path / "pictures"
            with np.load(folder / a["array"]) as stored:
                image = torch.from_numpy(stored["image"])
            assert image.dtype == torch.float32
            labels = net(image[None]).scores.argmax(1)[0]
            row = contents.rows[contents.runs[-1].attacks[a["spec"]]][entry["id"]]
            valid = sample.labels != 255
            assert int(((labels == sample.labels) & valid).sum()) == row.stats["right"]
            assert a["aAcc"] == row.stats["right"] / row.stats["valid"]
            raw = np.array(Image.open(folder / a["prediction"].replace(".png", ".index.png")))
            assert (raw == labels.numpy()).all()
            shown = np.array(Image.open(folder / a["perturbation"])).astype(float) / 255 - 0.5
            delta = (image - sample.image).numpy().transpose(1, 2, 0)
            assert np.abs(shown / a["gain"] - delta).max() < 1 / 255 / a["gain"]
        truth = np.array(Image.open(tmp_path / "pictures" / entry["truth"].replace(".png", ".index.png")))
        assert (truth == sample.labels.numpy()).all()
        assert (np.array(Image.open(tmp_path / "pictures" / entry["truth"]))[0, 0] == 0).all()  # ignored is black


def test_pictures_after_a_resume_are_those_of_one_run(tmp_path, monkeypatch):
    run(tmp_path / "a", keep=3)
    run(tmp_path / "b")  # nothing kept
    calls = []
    monkeypatch.setattr(pictures, "_again", lambda *a, f=pictures._again: calls.append(1) or f(*a))
    run(tmp_path / "b", keep=3)
    assert calls  # replayed
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / "pictures").rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "b") for p in (tmp_path / "b" / "pictures").rglob("*") if p.is_file()
    )
    for file in files:
        if file.suffix == ".npz":
            with np.load(tmp_path / "a" / file) as one, np.load(tmp_path / "b" / file) as two:
                assert (one["image"] == two["image"]).all()
        else:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_is_made_twice_where_the_run_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_again", lambda *a: pytest.fail("made again"))
    run(tmp_path, keep=2)


def test_pictures_of_an_attack_that_failed_are_left_out(tmp_path):
    run(tmp_path, keep=1, attacks=[Push(cheat="shape")], eps=None)
    index = json.loads((tmp_path / "pictures" / "INDEX.json").read_text())
    assert [a["spec"] for a in index["images"][0]["attacks"]] == ["noise:eps=8/255"]


def test_an_ensemble_is_replayed_by_its_members(tmp_path):
    evaluate(model(), Toy(number=2), ["strong:steps=2"], eps="8/255", out=tmp_path, batch_size=2)
    (ensemble,) = read(tmp_path).runs[-1].ensembles.values()
    with pytest.raises(UserError, match="replay one of") as caught:
        replay(tmp_path, "im00", "strong", model=model(), data=Toy(number=2))
    assert all(member in str(caught.value) for member in ensemble)


def test_no_class_looks_like_the_black_of_ignored_pixels():
    from robustseg.evaluation.colours import FAMILIAR, palette

    names = [*FAMILIAR, *(f"class {n}" for n in range(40))]
    found = palette(["background", *(n for n in names if n != "background")])
    assert len({tuple(c) for c in found.values()}) == len(found)
    assert min(sum(v * v for v in c) ** 0.5 for c in found.values()) > 100
