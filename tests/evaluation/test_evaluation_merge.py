"""Shards merged are exactly the rows of one run."""

from __future__ import annotations

import pytest
from toy import Push, Toy, model, rows_without_time

from robustseg.errors import UserError
from robustseg.evaluation.merge import merge
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import Store, read


def run(out, **options):
    attacks = options.pop("attacks", [Push(), "pgd:steps=2"])
    return evaluate(model(), options.pop("data", Toy(number=9)), attacks, out=out, **{"batch_size": 2, **options})


def parts(folder, number, **options):
    names = [folder / f"part{i + 1}" for i in range(number)]
    for i, name in enumerate(names):
        run(name, shard=f"{i + 1}/{number}", **options)
    return names


@pytest.mark.parametrize(("number", "sizes"), [(2, ((12, 16),)), (3, ((12, 16), (8, 8)))])
def test_merged_shards_are_the_rows_and_the_summary_of_one_run(tmp_path, number, sizes):
    data = Toy(number=9, sizes=sizes)
    whole = run(tmp_path / "whole", data=data)
    folders = parts(tmp_path, number, data=data)
    assert all(len(read(f).rows[read(f).runs[-1].clean]) < 9 for f in folders)
    joined = merge(folders, out=tmp_path / "joined")
    assert rows_without_time(tmp_path / "joined") == rows_without_time(tmp_path / "whole")
    for summary in (joined, whole):
        for entry in summary["attacks"].values():
            entry.pop("seconds_per_image")
    assert joined == whole
    with Store(tmp_path / "joined") as a, Store(tmp_path / "whole") as b:
        batches = "SELECT key, image, batch FROM rows ORDER BY key, image"
        assert a.base.execute(batches).fetchall() == b.base.execute(batches).fetchall()


def test_shards_of_auto_runs_fit_together(tmp_path):
    folders = parts(tmp_path, 2, batch_size="auto", data=Toy(number=70))
    merge(folders, out=tmp_path / "joined")
    assert len(read(tmp_path / "joined").rows[read(folders[0]).runs[-1].clean]) == 70


def test_the_merged_folder_can_be_continued(tmp_path):
    merge(parts(tmp_path, 2), out=tmp_path / "joined")
    before = rows_without_time(tmp_path / "joined")
    run(tmp_path / "joined")
    assert rows_without_time(tmp_path / "joined") == before


def test_a_missing_shard_is_named(tmp_path):
    folders = parts(tmp_path, 3)
    with pytest.raises(UserError, match="images are in no shard"):
        merge(folders[:2], out=tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"attacks": [Push()]}, {"limit": 8}])
def test_different_requests_do_not_merge(tmp_path, change):
    one = parts(tmp_path / "a", 2)
    other = parts(tmp_path / "b", 2, **change)
    with pytest.raises(UserError, match="another request"):
        merge([one[0], other[1]], out=tmp_path / "joined")


def test_rows_that_contradict_each_other_do_not_merge(tmp_path):
    folders = parts(tmp_path, 2)
    run(tmp_path / "part1")  # now it holds everything
    key = read(folders[1]).runs[-1].clean
    with Store(folders[1]) as store:
        store.base.execute("UPDATE rows SET forwards = 7 WHERE key = ? ", (key,))
    with pytest.raises(UserError, match="differs"):
        merge(folders, out=tmp_path / "joined")


def test_a_failed_row_gives_way_to_a_good_one(tmp_path):
    folders = parts(tmp_path, 2)
    for i in (1, 2):
        run(tmp_path / f"part{i}")
    key = read(folders[0]).runs[-1].clean
    with Store(folders[0]) as store:
        store.base.execute(
            "UPDATE rows SET status = 'failed', error = 'x', stats = NULL, trace = NULL WHERE key = ?", (key,)
        )
    assert merge(folders, out=tmp_path / "joined")["failed"] == 0


def test_an_empty_shard_leaves_no_warning_in_the_whole(tmp_path):
    for part in (2, 1):
        options = {"out": tmp_path / str(part), "batch_size": 2, "shard": f"{part}/2"}
        evaluate(model(), Toy(number=2), ["fgsm"], eps="16/255", **options)
    assert merge([tmp_path / "2", tmp_path / "1"], out=tmp_path / "whole")["cautions"] == []


def test_nothing_to_merge(tmp_path):
    with pytest.raises(UserError, match="nothing to merge"):
        merge([], out=tmp_path)
