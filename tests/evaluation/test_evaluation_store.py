"""The store: what went in comes out, whole batches or nothing, one line for every trouble."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from robustseg.errors import UserError
from robustseg.evaluation.key import clean_config, run_key
from robustseg.evaluation.store import NAME, Row, Run, Store, read

CONFIG = clean_config(model="m", data="d", task="semantic")
KEY = run_key(CONFIG)
STATS = {"inter": [1, 0], "pred": [1, 1], "target": [2, 0], "valid": 2, "right": 1}


def row(image: str, **changes) -> Row:
    return replace(Row(KEY, image, int(image), "c" + image, stats=STATS, batch=image), **changes)


def test_a_row_comes_back_as_it_went_in(tmp_path):
    full = row("3", extra={"aimed": 1}, norms={"linf": 0.1, "l0": 4}, budget_f=3, budget_b=2, forwards=3, backwards=2,
               seconds=0.25, trace=[0.1, None, 0.3])  # fmt: skip
    with Store(tmp_path) as store:
        assert store.add_key(CONFIG) == KEY
        store.add_rows([full])
        run = Run(KEY, {"pgd:eps=8/255": KEY}, ["3"], {"sea": ["pgd:eps=8/255"]}, {"seed": 1})
        store.add_run(run)
        assert store.row(KEY, "3") == full
        assert store.statuses(KEY, ["3", "4"]) == {"3": "ok"}
    found = read(tmp_path)
    assert found.rows == {KEY: {"3": full}}
    assert found.keys == {KEY: CONFIG}
    assert found.runs == [run]


def test_rows_come_in_the_order_of_positions(tmp_path):
    with Store(tmp_path) as store:
        store.add_key(CONFIG)
        store.add_rows([row("10"), row("2"), row("1")])
    assert list(read(tmp_path).rows[KEY]) == ["1", "2", "10"]


@pytest.mark.parametrize(
    "bad",
    [
        {"status": "failed", "error": "boom"},  # with numbers
        {"status": "violation", "error": "boom"},
        {"status": "ok", "stats": None},
        {"status": "failed", "stats": None},  # without a reason
        {"status": "not-applicable"},
        {"status": "fine"},
        {"status": "failed", "stats": None, "error": "boom", "norms": {"linf": 1.0}},
    ],
)
def test_a_row_without_success_has_no_numbers_and_its_batch_goes_with_it(tmp_path, bad):
    with Store(tmp_path) as store:
        store.add_key(CONFIG)
        with pytest.raises(UserError):
            store.add_rows([row("1"), row("2", **bad)])
        assert store.statuses(KEY, ["1", "2"]) == {}


def test_the_same_request_again_is_only_the_newest(tmp_path):
    one, two = Run(KEY, {}, ["1"], info={"t": 1}), Run(KEY, {}, ["1", "2"])
    with Store(tmp_path) as store:
        for run in (one, two, replace(one, info={"t": 2})):
            store.add_run(run)
    assert read(tmp_path).runs == [two, replace(one, info={"t": 2})]


def test_an_empty_file_and_a_damaged_file(tmp_path):
    (tmp_path / NAME).write_bytes(b"this is no data base " * 100)
    with pytest.raises(UserError, match="damaged or not a store"):
        Store(tmp_path)
    with pytest.raises(UserError, match="damaged or not a store"):
        read(tmp_path)
    assert (tmp_path / NAME).read_bytes().startswith(b"this is no")  # nothing was overwritten


def test_a_page_torn_out_of_the_middle(tmp_path):
    with Store(tmp_path) as store:
        store.add_key(CONFIG)
        store.add_rows([row(str(i)) for i in range(400)])
    data = bytearray((tmp_path / NAME).read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(UserError) as problem:
        read(tmp_path)
    assert "\n" not in str(problem.value)


def test_no_store_and_another_data_base(tmp_path):
    with pytest.raises(UserError, match=r"no store\.sqlite in"):
        read(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    sqlite3.connect(tmp_path / NAME).execute("CREATE TABLE other (a)").connection.close()
    with pytest.raises(UserError, match="not a store"):
        read(tmp_path)


def test_a_store_of_a_newer_version(tmp_path):
    with Store(tmp_path) as store:
        store.set_meta("schema", "99")
    with pytest.raises(UserError, match="schema 99"):
        read(tmp_path)


def test_a_full_disk_is_one_line_and_costs_no_row(tmp_path):
    with Store(tmp_path) as store:
        store.add_key(CONFIG)
        store.add_rows([row("1")])
        pages = store.base.execute("PRAGMA page_count").fetchone()[0]
        store.base.execute(f"PRAGMA max_page_count = {pages}")  # sqlite's own way to be full: SQLITE_FULL
        with pytest.raises(UserError, match=r"full.*rows written before are safe") as problem:
            _fill(store)
        assert "\n" not in str(problem.value)
        kept = store.statuses(KEY, [str(i) for i in range(1, 2000)])
        assert "1" in kept
    assert read(tmp_path).rows[KEY].keys() == kept.keys()


def _fill(store: Store) -> None:
    for i in range(2, 2000):
        store.add_rows([row(str(i))])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --out"):
        Store(tmp_path / "file" / "run")


def test_a_lock_held_too_long_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("robustseg.evaluation.store.BUSY_SECONDS", 0.05)
    with Store(tmp_path) as one, Store(tmp_path) as two:
        one.base.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="held by another process"):
            two.add_key(CONFIG)
        one.base.execute("ROLLBACK")
        two.add_key(CONFIG)


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_evaluation_store import CONFIG, row
from robustseg.evaluation.store import Store
first = int(sys.argv[3])
with Store(sys.argv[1]) as store:
    store.add_key(CONFIG)
    for i in range(first, first + 60, 3):
        store.add_rows([row(str(i)), row(str(i + 1)), row(str(i + 2))])
"""


def test_two_processes_write_one_store(tmp_path):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "run"), here]
    writers = [subprocess.Popen([*command, first], stderr=subprocess.PIPE) for first in ("0", "30")]  # they overlap
    for writer in writers:
        _, error = writer.communicate(timeout=60)
        assert writer.returncode == 0, error.decode()
    found = read(tmp_path / "run")
    assert sorted(found.rows[KEY], key=int) == [str(i) for i in range(90)]
    with Store(tmp_path / "run") as store:
        assert store.base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_reading_needs_no_torch(tmp_path):
    with Store(tmp_path) as store:
        store.add_key(CONFIG)
    code = "import sys\nfrom robustseg.evaluation import store, aggregate, merge\nstore.read(sys.argv[1])\n"
    code += "assert 'torch' not in sys.modules, 'torch'\n"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
