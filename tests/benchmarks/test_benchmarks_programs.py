"""The measuring programs run, agree with each other's scores, and write no names or paths."""

import json

import pytest
import torch

from benchmarks import contest, metrics, networks, opponents, peers, results, scaling, tables


def test_both_metric_paths_give_the_same_score():
    data = metrics.maps(2, (64, 96), 7)
    scores = {name: run() for name, run in metrics.contestants(data, 7).items()}
    assert all(v == pytest.approx(scores["ours"], abs=1e-6) for v in scores.values())
    assert 0.1 < scores["ours"] < 0.9


def test_a_peer_that_does_our_work_is_counted_like_us(monkeypatch):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 5))
    images = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    case = (net, images, net(images).argmax(1))
    monkeypatch.setitem(contest.TASKS, "classifier", (lambda: case, 4))

    def mirror(network, x, y, eps, step, steps):
        return contest.ours("pgd", network, x, y, eps, step, steps)

    found = contest.contest(opponents.Opponent("mirror", (), "classifier", "pgd", "pgd", mirror), rounds=2)
    for who in ("ours", "peer"):
        assert (found[who]["forwards"], found[who]["backwards"]) == (5, 4)
        assert found[who]["linf_255"] <= 8.001
    assert found["ours"]["cross_entropy"] == found["peer"]["cross_entropy"]
    assert all(p.requires_grad for p in net.parameters())


def test_a_peer_that_is_not_there_is_a_reason_not_a_number(tmp_path):
    row = peers._run(opponents.OPPONENTS[0], tmp_path, ["0", "--rounds", "1"])
    if "absent" in row:  # unless this very environment has it
        assert "torchattacks" in row["absent"]
        assert "not measured" in peers.line(row)
        assert str(tmp_path) not in json.dumps(row)


def test_written_results_hold_the_machine_in_words_only(tmp_path):
    path = results.write("x", {"value": 1 / 3, "rows": [{"a": 2 / 3}]}, tmp_path)
    content = json.loads(path.read_text())
    assert content["value"] == 0.33333
    assert set(content) == {"measured", "machine", "value", "rows"}
    assert set(content["machine"]) == {"cpu", "cores", "threads", "load", "gpu", "python", "torch"}


def test_committed_results_name_no_host_and_no_path():
    files = list(results.FOLDER.glob("*.json"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "/home" not in text
        assert "/work" not in text
        assert "/tmp" not in text


def test_networks_are_the_same_in_every_process():
    a, b = (networks.make("small-cnn", 4) for _ in range(2))
    assert a.spec.digest == b.spec.digest


def test_whole_runs_count_their_rows():
    (row,) = scaling.whole_runs((1,), 1)
    assert row["rows"] == 3  # clean, noise, pgd


def test_the_page_holds_the_committed_results():
    page = tables.PAGE.read_text(encoding="utf-8")
    assert {m[1] for m in tables.MARK.findall(page)} == set(tables.TABLES)
    assert tables.filled(page) == page  # else: python -m benchmarks.tables
