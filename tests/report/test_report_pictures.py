"""The gallery: lossless, worst first, inside its folder, within its budget."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from fake_run import edit
from PIL import Image

from robustseg.errors import UserError
from robustseg.report.load import load
from robustseg.report.pictures import DISPLAY_WIDTH, encode, gallery


def decoded(picture) -> np.ndarray:
    head, data = picture.uri.split(",", 1)
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_pictures_keep_every_pixel(finished: Path):
    found = gallery(load(finished))
    index = load(finished).pictures["images"][0]
    for name in ("clean", "truth", "clean_prediction"):
        kept = np.asarray(Image.open(finished / "pictures" / index[name]).convert("RGB"))
        assert np.array_equal(decoded(getattr(found.cards[0], name)), kept)
    files = {a["spec"]: a for a in index["attacks"]}
    for a in found.cards[0].attacks:
        for name in ("adversarial", "prediction", "perturbation"):
            kept = np.asarray(Image.open(finished / "pictures" / files[a.spec][name]))
            assert np.array_equal(decoded(getattr(a, name)), kept)


def test_worst_image_and_worst_attack_come_first(run: Path):
    edit(run / "pictures" / "INDEX.json", lambda i: [x.update(rank=-n) for n, x in enumerate(i["images"])])
    cards = gallery(load(run)).cards
    assert [c.id for c in cards] == ["street/0001", "street/0000"]
    scores = [a.scores["mIoU"] for a in cards[0].attacks]
    assert scores == sorted(scores)
    assert len(scores) > 2


@pytest.mark.parametrize(
    "name", ["../../secret.png", "/etc/hostname", "000/../../../secret.png", "link.png", "", "a\0b", 3, ["x"]]
)
def test_index_may_not_lead_out_of_its_folder(run: Path, name):
    Image.new("RGB", (8, 8)).save(run.parent / "secret.png")
    (run / "pictures" / "link.png").symlink_to(run.parent / "secret.png")
    edit(run / "pictures" / "INDEX.json", lambda i: i["images"][0].update(clean=name))
    with pytest.raises(UserError, match=r"refused|names no file") as caught:
        gallery(load(run))
    assert "\n" not in str(caught.value)


def test_small_budget_keeps_every_image_before_any_variety(finished: Path):
    run = load(finished)
    full = gallery(run)
    worst = sum(len(p.uri) for c in full.cards for p in (c.clean, c.truth, c.clean_prediction))
    worst += sum(
        len(p.uri)
        for c in full.cards
        for p in (c.attacks[0].adversarial, c.attacks[0].prediction, c.attacks[0].perturbation)
    )
    tight = gallery(run, megabytes=worst / 1e6)
    assert [c.id for c in tight.cards] == [c.id for c in full.cards]
    assert all(len(c.attacks) >= 1 for c in tight.cards)
    assert sum(len(c.attacks) for c in tight.cards) < sum(len(c.attacks) for c in full.cards)
    assert tight.left_out > 0
    assert full.left_out == 0


def test_missing_file_leaves_out_its_picture_only(run: Path):
    (run / "pictures" / "000" / "truth.png").unlink()
    cards = gallery(load(run)).cards
    assert cards[0].truth is None
    assert cards[0].clean is not None


def test_large_label_map_is_thinned_without_new_colours(tmp_path: Path):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 255]], dtype=np.uint8)
    pixels = colours[np.random.default_rng(0).integers(0, 3, (90, 2 * DISPLAY_WIDTH))]
    Image.fromarray(pixels).save(tmp_path / "map.png")
    picture, size = encode(tmp_path / "map.png", flat=True)
    assert picture.reduced
    assert (picture.width, picture.height) == (DISPLAY_WIDTH, 45)
    assert size == len(picture.uri.split(",")[1])
    assert {tuple(c) for c in decoded(picture).reshape(-1, 3)} <= {tuple(c) for c in colours}
