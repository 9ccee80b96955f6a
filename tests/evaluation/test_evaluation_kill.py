"""Killed at any moment, continued by the same command: the rows of an uninterrupted run. Two at once: the same."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from toy import Push, Toy, model, rows_without_time

from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import NAME, read

HERE = Path(__file__).parent
CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_evaluation_kill import go
go(sys.argv[1], float(sys.argv[3]))
"""


@dataclass(frozen=True)
class Slow(Push):
    """An attack that leaves time to be killed in."""

    wait: float = 0.0

    def __call__(self, *args, **options):
        time.sleep(self.wait)
        return super().__call__(*args, **options)


def go(out: str | Path, wait: float = 0.0) -> None:
    torch.set_num_threads(1)
    attacks = [Slow(wait=wait), Slow(eps="2/255", wait=wait), "pgd:steps=3"]
    evaluate(model(), Toy(number=10), attacks, out=out, batch_size=2)


def start(out: Path, wait: float) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(out), str(HERE), str(wait)]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def rows(out: Path) -> int:
    try:
        return sum(len(r) for r in read(out).rows.values())
    except Exception:
        return 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("whole")
    go(out)
    found = rows_without_time(out)
    assert len(found) == 6 * 10  # clean, the noise of two radii, three attacks
    return found


@pytest.mark.parametrize("after", [1, 17])
def test_kill_and_continue(tmp_path, whole, after):
    child = start(tmp_path, 0.15)
    until = time.monotonic() + 90
    while rows(tmp_path) < after and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=30)
    child.stderr.close()
    there = rows_without_time(tmp_path)
    assert 0 < len(there) < len(whole), "the kill came too late to prove anything"
    assert all(whole[at] == row for at, row in there.items())
    assert len(there) % 2 == 0  # whole batches
    go(tmp_path)
    assert rows_without_time(tmp_path) == whole


def test_two_processes_on_one_store(tmp_path, whole):
    children = [start(tmp_path, 0.02), start(tmp_path, 0.02)]
    for child in children:
        _, error = child.communicate(timeout=120)
        assert child.returncode == 0, error.decode()
    assert rows_without_time(tmp_path) == whole
    base = sqlite3.connect(tmp_path / NAME)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
