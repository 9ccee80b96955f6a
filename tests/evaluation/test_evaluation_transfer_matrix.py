"""Surrogate by victim: made once, the same as every pair alone, resumed for nothing, and readable."""

from __future__ import annotations

import json

import pytest
from toy import Level, Toy, rows_without_time

import robustseg as rs
from robustseg.evaluation.transfer import matrix, transfer
from robustseg.report.transfer import markdown, pages

CLASSES = ("road", "sky", "person")


class Red(Level):
    """Looks at red alone; counts the images that it is differentiated on, and all."""

    followed = seen = 0

    def forward(self, x):
        Red.followed += len(x) * x.requires_grad
        Red.seen += len(x)
        return super().forward(x[:, :1].expand(-1, 3, -1, -1))


def trio():
    return [
        rs.wrap(Level(), classes=CLASSES, name="grey"),
        rs.wrap(Red(), classes=CLASSES, name="red"),
        rs.wrap(Level(60.0), classes=CLASSES, name="sharp"),
    ]


def run(out, models=None, **options):
    return transfer(models or trio(), Toy(4), ["pgd:steps=3"], out=out, eps="20/255", device="cpu", batch_size=2,
                    **options)  # fmt: skip


SPEC = "pgd:eps=20/255,steps=3"


def test_every_pair_is_what_it_is_alone_and_made_once(tmp_path):
    Red.followed = 0
    found = run(tmp_path / "all")
    assert Red.followed == 4 * 3  # four images, three gradients, whatever the number of victims
    models = trio()
    for a, b in ((0, 0), (1, 0), (0, 2)):
        more = {} if a == b else {"source": models[a]}
        alone = rs.evaluate(models[b], Toy(4), ["pgd:steps=3"], out=tmp_path / f"{a}{b}", eps="20/255", device="cpu",
                            batch_size=2, **more)  # fmt: skip
        assert rows_without_time(tmp_path / "all" / found["folders"][a][b]) == rows_without_time(tmp_path / f"{a}{b}")
        spec = SPEC if a == b else f"{SPEC},source={models[a].spec.ref}"
        assert found["attacks"][SPEC]["cells"][a][b]["score"] == alone["attacks"][spec]["mIoU"]
    assert len({c["score"] for line in found["attacks"][SPEC]["cells"] for c in line}) > 3


def test_the_same_call_again_makes_nothing(tmp_path):
    found = run(tmp_path)
    Red.seen = 0
    again = run(tmp_path)
    assert again == found == json.loads((tmp_path / "transfer.json").read_text())
    assert Red.seen <= 3  # a look whether there is something to do, no attack


def test_what_is_carried_over_by_hand():
    def summary(model, clean, attacked, spec, other=0.9):
        shared = {"data": "d", "images": 5, "seed": 0, "tasks": ["semantic"], "failed": 0, "violations": 0}
        entry = {"name": "pgd", "eps": "1/255", "norm": "linf", "mIoU": attacked, "ci95": {"mIoU": [0.1, 0.2]}}
        weak = spec.replace("pgd", "weak")
        both = {spec: entry, weak: {**entry, "name": "weak", "mIoU": other}, "far": {**entry, "eps": "9", "mIoU": 0.0}}
        return {"model": model, "clean": {"mIoU": clean}, "attacks": both, "cautions": ["c"], **shared}

    found = matrix(
        ["a", "b"],
        [
            [summary("a", 0.6, 0.2, "pgd", 0.4), summary("b", 0.5, 0.4, "pgd,source=a", 0.4)],
            [summary("a", 0.6, 0.7, "pgd,source=b"), summary("b", 0.5, 0.3, "pgd")],
        ],
    )
    carried = [[c["carried"] for c in line] for line in found["attacks"]["pgd"]["cells"]]
    assert carried == [[1.0, 0.5], [-0.25, 1.0]]
    weak = [[c["carried"] for c in line] for line in found["attacks"]["weak"]["cells"]]
    assert weak[0] == [0.5, 0.5]  # equal harm is an equal share, whatever an attack does at home
    assert [c["score"] for c in found["clean"]] == [0.6, 0.5]
    assert found["cautions"] == ["a: c", "b: c"]
    lines = markdown(found).splitlines()
    assert "| a | **20.0 (10.0–20.0)** | 40.0 (10.0–20.0), 50 % |" in lines
    assert "| b | 70.0 (10.0–20.0), -25 % | **30.0 (10.0–20.0)** |" in lines
    assert "| no attack | 60.0 | 50.0 |" in lines


def test_pages_name_noise_and_escape(tmp_path):
    models = trio()[:2]
    found = run(tmp_path, models)
    found["models"][0] = "<b>|"
    text, page = pages(tmp_path, found)
    assert "<b>" not in page.read_text()
    assert "| noise | " in text.read_text()
    assert r"&lt;b>\|" in text.read_text()
    assert f'href="{found["folders"][0][1]}/summary.json"' in page.read_text()


def test_models_that_cannot_be_compared_are_one_line(tmp_path):
    with pytest.raises(rs.UserError, match="needs two models"):
        run(tmp_path, trio()[:1])
    other = rs.wrap(Level(), classes=("sky", "road", "person"), name="turned")
    with pytest.raises(rs.UserError, match="turned has other classes than grey"):
        run(tmp_path, [trio()[0], other])
