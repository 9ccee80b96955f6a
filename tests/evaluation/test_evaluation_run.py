"""The run: rows, growth, resume, statuses; nothing is ever mixed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from toy import Bad, Level, Push, Toy, model, rows_without_time

from robustseg.errors import UserError
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import Store, read


def run(out, attacks=None, data=None, net=None, **options):
    return evaluate(net or model(), data or Toy(), attacks or [Push()], out=out, **{"batch_size": 2, **options})


def test_a_run_leaves_rows_summary_and_configuration(tmp_path):
    summary = run(tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["images"] == 6
    assert list(summary["attacks"]) == ["noise:eps=8/255", "push:eps=8/255"]
    push = summary["attacks"]["push:eps=8/255"]
    assert push["aAcc"] < summary["attacks"]["noise:eps=8/255"]["aAcc"] <= 1
    assert push["ASR"] > 0
    assert (push["forwards"], push["backwards"], push["budget"]) == (2, 1, {"forwards": 2, "backwards": 1})
    config = json.loads((tmp_path / "run.json").read_text())
    assert config["versions"]["robustseg"]
    assert config["batch_size"] == 2
    assert all(r.status == "ok" for rows in read(tmp_path).rows.values() for r in rows.values())


def test_rows_agree_with_attacking_by_hand(tmp_path):
    run(tmp_path)
    contents = read(tmp_path)
    key = contents.runs[-1].attacks["push:eps=8/255"]
    data, net = Toy(), model()
    from robustseg.ops.seeds import content_ids
    from robustseg.types import SemanticTarget

    x = torch.stack([data[i].image for i in (2, 3)])
    y = torch.stack([data[i].labels for i in (2, 3)])
    found = Push()(net, x, SemanticTarget(y), ids=content_ids(x), seed=0).images
    labels = net(found).scores.argmax(1)
    for n, image in enumerate(("im02", "im03")):
        row = contents.rows[key][image]
        valid = y[n] != 255
        assert row.stats["right"] == int(((labels[n] == y[n]) & valid).sum())
        assert row.norms["linf"] == pytest.approx(float((found[n] - x[n]).abs().max()))
        assert row.batch == "2 3"


def test_the_same_command_again_does_nothing(tmp_path):
    first = run(tmp_path)
    rows = rows_without_time(tmp_path)
    seconds = {r.seconds for rows in read(tmp_path).rows.values() for r in rows.values()}
    net = Bad("count")
    second = run(tmp_path, net=replace(model(net), spec=model().spec))
    assert net.calls == 0
    assert (second["attacks"], rows_without_time(tmp_path)) == (first["attacks"], rows)
    assert seconds == {r.seconds for rows in read(tmp_path).rows.values() for r in rows.values()}


@pytest.mark.parametrize("limit", [1, 3, 4])
def test_a_longer_run_continues_a_shorter_one_and_ends_equal(tmp_path, limit):
    run(tmp_path / "grown", limit=limit)
    kept = read(tmp_path / "grown")
    run(tmp_path / "grown")
    run(tmp_path / "whole")
    assert rows_without_time(tmp_path / "grown") == rows_without_time(tmp_path / "whole")
    grown = read(tmp_path / "grown")
    for key, rows in kept.rows.items():
        for image, row in rows.items():
            if limit % 2 == 0 or row.position < limit - 1:  # whole batches were kept, not made again
                assert grown.rows[key][image] == row


def test_an_incomplete_batch_is_repeated_whole(tmp_path):
    run(tmp_path)
    whole = rows_without_time(tmp_path)
    key = read(tmp_path).runs[-1].attacks["push:eps=8/255"]
    with Store(tmp_path) as store:
        store.base.execute("DELETE FROM rows WHERE key = ? AND image = 'im03'", (key,))
        store.base.execute("UPDATE rows SET seconds = -1 WHERE key = ?", (key,))
    run(tmp_path)
    assert rows_without_time(tmp_path) == whole
    again = {i: r.seconds >= 0 for i, r in read(tmp_path).rows[key].items()}
    assert again == {f"im{i:02d}": i in (2, 3) for i in range(6)}


def test_images_of_several_sizes_never_share_a_batch(tmp_path):
    data = Toy(number=7, sizes=((12, 16), (8, 8), (12, 16)))
    run(tmp_path / "a", data=data)
    batches = {r.batch for rows in read(tmp_path / "a").rows.values() for r in rows.values()}
    assert batches == {"0 2", "1 4", "3 5", "6"}
    run(tmp_path / "b", data=data, limit=5)
    run(tmp_path / "b", data=data)
    assert rows_without_time(tmp_path / "a") == rows_without_time(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"attacks": [Push(eps="4/255")]},
        {"attacks": [Push(version=2)]},
        {"net": model(Level(41.0))},
        {"data": Toy(seed=1)},
        {"eight_bit": True},
        {"early_stop": False},
        {"region": "skin"},
        {"count": "class:sky"},
        {"class_map": {"sky": "ignore"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_configuration_is_another_key_in_the_same_store(tmp_path, change):
    first = run(tmp_path)
    before = rows_without_time(tmp_path)
    second = run(tmp_path, **change)
    after = rows_without_time(tmp_path)
    assert {at: after[at] for at in before} == before  # nothing was overwritten
    spec = change.get("attacks", [Push()])[0].spec
    new = second["attacks"][spec]["key"]
    assert new not in {key for key, _ in before}
    assert len([key for key, _ in after if key == new]) == 6
    assert run(tmp_path)["attacks"] == first["attacks"]


@pytest.mark.parametrize("change", [{"limit": 3}, {"batch_size": 3}, {"shard": "1/2"}])
def test_what_is_only_recorded_is_no_part_of_the_key(tmp_path, change):
    run(tmp_path / "a")
    run(tmp_path / "b", **change)
    assert set(read(tmp_path / "a").keys) == set(read(tmp_path / "b").keys)


def test_the_summary_covers_what_the_newest_command_asked_for_and_older_rows_are_reused(tmp_path):
    run(tmp_path, attacks=[Push(eps="16/255")])
    later = run(tmp_path, attacks=[Push()])
    assert list(later["attacks"]) == ["noise:eps=8/255", "push:eps=8/255"]
    assert (later["worst_case"]["eps"], list(later["worst_case_by_eps"])) == ("8/255", ["8/255"])
    net = Bad("count")
    both = run(tmp_path, attacks=[Push(eps="16/255"), Push()], net=replace(model(net), spec=model().spec))
    assert [s for s in both["attacks"] if s.startswith("push")] == ["push:eps=8/255", "push:eps=16/255"]
    assert net.calls == 0


def test_a_region_has_its_own_noise_and_its_own_worst_case(tmp_path):
    summary = run(tmp_path, attacks=["pgd:steps=2", "pgd:steps=2,region=skin"], eps="4/255,8/255")
    inside = {s: e for s, e in summary["attacks"].items() if e["region"] == "skin"}
    assert {e["name"] for e in inside.values()} == {"noise", "pgd"}
    assert len(inside) == 4
    assert set(summary["worst_case_by_eps"]) == {"4/255", "8/255", "4/255 in skin", "8/255 in skin"}
    assert (summary["worst_case"]["eps"], summary["worst_case"]["region"]) == ("8/255", None)
    worst = summary["worst_case_by_eps"]["8/255 in skin"]
    assert set(worst["attacks"]) == {s for s, e in inside.items() if e["eps"] == "8/255"}


def test_where_every_attack_has_a_region_that_is_the_headline(tmp_path):
    summary = run(tmp_path, attacks=["pgd:steps=2,region=skin"], eps="4/255,8/255")
    assert {e["region"] for e in summary["attacks"].values()} == {"skin"}
    assert (summary["worst_case"]["eps"], summary["worst_case"]["region"]) == ("8/255", "skin")
    assert list(run(tmp_path / "all", region="skin")["worst_case_by_eps"]) == ["8/255 in skin"]


def test_every_ball_has_its_noise(tmp_path):
    attacks = [Push(), Push(eps="4/255", name="other"), "noise:eps=4/255"]
    specs = run(tmp_path, attacks=attacks)["attacks"]
    assert [s for s in specs if s.startswith("noise")] == ["noise:eps=4/255", "noise:eps=8/255"]


@pytest.mark.parametrize("cheat", ["ball", "box", "nan", "shape"])
def test_a_cheating_attack_has_violations_and_no_score_for_them(tmp_path, cheat):
    summary = run(tmp_path, attacks=[Push(cheat=cheat)])
    entry = summary["attacks"][f"push:eps=8/255,cheat={cheat}"]
    caught = 6 if cheat == "shape" else 3  # the first of each batch of two
    assert (entry["violations"], entry["images"], entry["failed"]) == (caught, 6 - caught, 0)
    assert summary["violations"] == caught
    rows = read(tmp_path).rows[entry["key"]].values()
    for row in rows:
        assert (row.stats is None) == (row.status == "violation") == (row.error is not None)


def test_writing_outside_the_region_is_a_violation_and_inside_it_is_none(tmp_path):
    honest = run(tmp_path / "a", region="skin")["attacks"]["push:eps=8/255"]
    assert (honest["violations"], honest["images"]) == (0, 6)
    cheat = run(tmp_path / "b", attacks=[Push(cheat="region")], region="skin")
    assert cheat["attacks"]["push:eps=8/255,cheat=region"]["violations"] == 6


def test_an_image_without_the_region_is_not_applicable_and_keeps_its_clean_score(tmp_path):
    summary = run(tmp_path, region="clothing")  # every other toy image has none
    entry = summary["attacks"]["push:eps=8/255"]
    assert (entry["not_applicable"], entry["images"], entry["failed"]) == (3, 6, 0)
    contents = read(tmp_path)
    statuses = {i: r.status for i, r in contents.rows[entry["key"]].items()}
    assert statuses == {f"im{i:02d}": "ok" if i % 2 else "not-applicable" for i in range(6)}
    right = [
        (contents.rows[entry["key"]][i].stats or contents.rows[contents.runs[-1].clean][i].stats)["right"]
        for i in statuses
    ]
    assert entry["aAcc"] == sum(right) / sum(r.stats["valid"] for r in contents.rows[contents.runs[-1].clean].values())


def test_only_the_pixels_that_count_are_scored(tmp_path):
    run(tmp_path, count="class:sky")
    contents = read(tmp_path)
    for image, row in contents.rows[contents.runs[-1].clean].items():
        labels = Toy()[int(image[2:])].labels
        assert row.stats["target"] == [0, int((labels == 1).sum()), 0]
    run(tmp_path / "not", count="not:class:sky")
    contents = read(tmp_path / "not")
    assert all(r.stats["target"][1] == 0 for r in contents.rows[contents.runs[-1].clean].values())


def test_eight_bit_images_are_scored_after_rounding(tmp_path):
    class Tiny(Push):
        def __call__(self, model, images, target, **kw):
            result = super().__call__(model, images, target, **kw)
            return replace(result, images=images + 0.3 / 255)  # nothing of it survives 8 bits

    summary = run(tmp_path, attacks=[Tiny()], eight_bit=True)
    entry = summary["attacks"]["push:eps=8/255"]
    assert entry["ASR"] == 0
    assert entry["norms"]["linf"] == 0
    assert entry["aAcc"] == summary["clean"]["aAcc"]


def test_model_and_data_match_by_name_in_any_order(tmp_path):
    class Turned(Level):
        def forward(self, x):
            return super().forward(x)[:, [2, 0, 1]]

    plain = run(tmp_path / "a")
    turned = run(tmp_path / "b", net=model(Turned(), classes=("person", "road", "sky")))
    assert turned["clean"]["aAcc"] == plain["clean"]["aAcc"]
    assert turned["clean"]["IoU"] == plain["clean"]["IoU"]


def test_the_model_is_left_as_it_was(tmp_path):
    net = Level()
    net.train()
    state = torch.get_rng_state()
    run(tmp_path, net=model(net))
    assert net.sharp.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attacks": ["pgd:eps=8/255"], "eps": "4/255"}, "keep one of the two"),
        ({"attacks": ["pgdd"]}, "unknown attack"),
        ({"limit": 0}, "--limit 0"),
        ({"batch_size": 0}, "batch size 0"),
        ({"batch_size": "-2"}, "batch size -2"),
        ({"batch_size": 2.5}, "batch size=2.5"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"seed": "0"}, "seed='0' is not a whole"),
        ({"eps": {"a": 1}}, "is no radius"),
        ({"eps": [None]}, "is no radius"),
        ({"eps": float("nan")}, "is no radius"),
        ({"batch_size": "huge"}, "neither auto nor"),
        ({"shard": "3/2"}, "shard"),
        ({"eps": " , "}, "--eps is empty"),
        ({"region": "skin", "attacks": ["pgd:region=clothing"]}, "own region and --region"),
        ({"region": "nowhere.png"}, "neither a file"),
        ({"class_map": {"road": "lane"}}, "lacks"),
        ({"resize": "8x8"}, "data reference"),
        ({"device": "gpu9"}, "device"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_rows(tmp_path, options, words):
    with pytest.raises(UserError, match=words) as problem:
        run(tmp_path / "run", **options)
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "run" / "store.sqlite").exists()


@pytest.mark.parametrize(
    "eps", [8 / 255, [8 / 255], ["8/255"], "8/255", torch.tensor(8 / 255, dtype=torch.float64).item()]
)
def test_a_radius_may_be_a_number_or_a_text(tmp_path, eps):
    summary = run(tmp_path, attacks=["fgsm"], eps=eps, limit=2, batch_size="2")
    assert list(summary["attacks"]) == ["noise:eps=8/255", "fgsm:eps=8/255"]


def test_probabilities_called_logits_are_a_caution_of_every_run(tmp_path):
    class Squashed(Level):
        def forward(self, x):
            return super().forward(x).softmax(1)

    first = run(tmp_path, net=model(Squashed()))
    assert any(c.startswith("probabilities-as-logits") for c in first["cautions"])
    assert run(tmp_path, net=model(Squashed()))["cautions"] == first["cautions"]
    assert not any("logits" in c for c in run(tmp_path / "good")["cautions"])


def test_the_class_that_hide_hides_stands_in_the_summary(tmp_path):
    from robustseg.report.load import entries
    from robustseg.report.table import goals, label

    summary = run(tmp_path, attacks=["hide:steps=2", "fgsm"], eps="8/255", limit=2)
    hide, fgsm = (next(e for e in entries(summary) if e.spec.name == n) for n in ("hide", "fgsm"))
    assert hide.raw["target"] == {"target": "nearest", "class": "person"}
    assert (label(hide), label(fgsm)) == ("hide class=person, steps=2", "fgsm")
    assert hide.targeted
    assert not fgsm.targeted
    (line,) = goals(summary)
    assert line.startswith("hide class=person, steps=2 at ε = 8/255: ")
    assert "hidden" in line
    assert "background kept" in line


def test_a_bare_module_is_refused(tmp_path):
    with pytest.raises(UserError, match="wrap it"):
        evaluate(Level(), Toy(), [Push()], out=tmp_path)


def test_progress_reaches_its_total(tmp_path):
    seen = []
    run(tmp_path, progress=lambda done, total, text: seen.append((done, total, text)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert any("reading" in text for _, _, text in seen)
    rising = [done for done, total, text in seen if "batch" in text]
    assert rising == sorted(rising)


def test_a_plain_function_is_an_attack_and_its_code_is_in_the_key(tmp_path):
    def brightness(output, target):
        return output.scores[:, 2].flatten(1).mean(1)

    summary = run(tmp_path, attacks=[brightness, "pgd"], eps="8/255", limit=2)
    specs = [s for s in summary["attacks"] if s.startswith("pgd")]
    assert specs == ["pgd:eps=8/255", "pgd:eps=8/255,objective=brightness"]
    configs = [read(tmp_path).keys[summary["attacks"][s]["key"]] for s in specs]
    assert configs[0]["code"] is None
    assert configs[1]["code"]
