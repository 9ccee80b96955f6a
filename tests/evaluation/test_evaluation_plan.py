"""A dry run counts what a run would do and writes nothing."""

from __future__ import annotations

from toy import Toy, model

from robustseg.evaluation.plan import describe
from robustseg.evaluation.run import evaluate


def plan(out, **options):
    return evaluate(model(), Toy(number=9), ["pgd:steps=5", "fgsm"], out=out, batch_size=2, dry_run=True, **options)


def test_images_times_gradients_times_seconds(tmp_path):
    cost = plan(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    pgd = cost["attacks"]["pgd:eps=8/255,steps=5"]
    assert (pgd["forwards"], pgd["backwards"], cost["images"]) == (6, 5, 9)
    assert cost["gradients"] == 9 * (5 + 1 + 0)
    assert pgd["seconds"] == 9 * (5 * cost["seconds_per_gradient"] + 2 * cost["seconds_per_forward"])
    assert "9 images x 5 gradients" in describe(cost)


def test_a_shard_costs_its_part_and_pictures_cost_disk(tmp_path):
    assert plan(tmp_path, shard="1/2")["images"] == 5  # batches 1, 3, 5 of 2 + 2 + 1
    assert plan(tmp_path, keep=4)["bytes"] > plan(tmp_path)["bytes"] > 0


def test_a_shard_with_nothing_to_do_says_so(tmp_path):
    cost = plan(tmp_path, shard="7/7")  # nine images in batches of two: five batches
    assert (cost["images"], cost["seconds"]) == (0, 0)
    assert describe(cost).startswith("shard 7/7 has nothing to do")
    summary = evaluate(model(), Toy(number=2), ["fgsm"], out=tmp_path / "run", batch_size=2, shard="2/2")
    assert summary["images"] == 0
    assert any("shard 2/2 has nothing to do" in c for c in summary["cautions"])


def test_the_estimate_of_disk_is_near_the_truth(tmp_path):
    cost = plan(tmp_path / "a")
    evaluate(model(), Toy(number=9), ["pgd:steps=5", "fgsm"], out=tmp_path / "b", batch_size=2)
    size = (tmp_path / "b" / "store.sqlite").stat().st_size
    assert 0.2 < cost["bytes"] / size < 2


def test_a_dry_run_warns_as_the_run_would(tmp_path):
    cost = evaluate(model(), Toy(number=9), ["bim:steps=3"], out=tmp_path, batch_size=2, dry_run=True)
    said = "bim: 3 steps of eps/4 reach only 6/255 of 8/255; take more steps, or step_size=eps/steps"
    assert cost["warnings"] == [said]
    assert describe(cost).splitlines()[0] == f"warning: {said}"
