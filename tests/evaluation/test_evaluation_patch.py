"""A patch in a run: scored outside its place, beside its baselines, held to its place by the referee."""

from __future__ import annotations

import pytest
from toy import Toy, model

from robustseg.errors import UserError
from robustseg.evaluation.cautions import no_better_than_noise
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read

SPEC = "patch:at=0.25/0.5,batch=1,images=2,size=6x8,steps=4,vary=none"


def run(out, attacks=SPEC, **options):
    return evaluate(
        model(), Toy(number=2), attacks, out=out, batch_size=2, fit_data=Toy(number=2, seed=5, ref="toy:fit"), **options
    )


def test_scores_are_taken_outside_it_and_baselines_stand_beside_it(tmp_path):
    found = run(tmp_path)
    baselines = [f"patch:at=0.25/0.5,fill={fill},size=6x8" for fill in ("grey", "random")]
    assert list(found["attacks"]) == [*baselines, SPEC]
    assert found["failed"] == found["violations"] == 0
    contents = read(tmp_path)
    rows = [row for of_key in contents.rows.values() for row in of_key.values()]
    assert len(rows) == 2 * 4
    # 12 x 16 pixels, the first of them unlabelled; the patch hides rows 3 to 8 of columns 0 to 7
    assert {row.stats["valid"] for row in rows} == {12 * 16 - 1 - 6 * 8}
    assert all(row.norms["l0"] <= 6 * 8 for row in rows if row.norms)
    again = replay(tmp_path, "im01", baselines[1], model=model(), data=Toy(number=2))
    assert again["equal"], again["differences"]


def test_your_own_count_overrides_it(tmp_path):
    run(tmp_path, "patch:fill=grey,size=6x8", count="class:sky")
    rows = [row for of_key in read(tmp_path).rows.values() for row in of_key.values()]
    assert {sum(v > 0 for v in row.stats["target"]) for row in rows} == {1}


def test_patches_at_different_places_need_runs_of_their_own(tmp_path):
    with pytest.raises(UserError, match="separate folders"):
        run(tmp_path, ["patch:fill=grey,size=6x8", "patch:fill=grey,size=4x4"])


def test_a_patch_that_does_no_more_than_a_random_one_is_named():
    same = {"eps": None, "norm": "linf", "region": "box:6x8@0.5/0.5", "name": "patch"}
    attacks = {
        "patch:fill=grey,size=6x8": {**same, "mIoU": 0.7},
        "patch:fill=random,size=6x8": {**same, "mIoU": 0.6},
        "patch:size=6x8": {**same, "mIoU": 0.6},
        "patch:size=6x8,steps=900": {**same, "mIoU": 0.4},
    }
    (line,) = no_better_than_noise(attacks)
    assert line.startswith("patch:size=6x8: ")
