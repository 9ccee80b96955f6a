"""Two processes that share a batch have the gradient of one that has it alone, and keep the same weights."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustseg.defenses.training.processes import Alone, started
from robustseg.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    pytest.importorskip("accelerate")
    from sharing_toy import trained

    alone = trained(tmp_path / "alone")
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, str(Path(__file__).with_name("sharing_toy.py")), str(tmp_path)]
    running = [
        subprocess.Popen(program, env={**os.environ, **both, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)
    ]
    assert [p.wait() for p in running] == [0, 0]
    first, second = (torch.load(tmp_path / f"rank{r}.pt") for r in range(2))
    assert max(float(g.abs().max()) for g in alone["gradient"]) > 1e-4
    for kind in ("gradient", "weights"):
        for a, b, c in zip(alone[kind], first[kind], second[kind], strict=True):
            assert torch.equal(b, c)
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3
    assert len((tmp_path / "curve.jsonl").read_text().splitlines()) == 1  # the first process alone writes


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert started(torch.device("cpu")) == Alone()


def test_several_processes_without_accelerate_say_what_to_install(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UserError, match=r"robustseg\[train\]"):
        started(torch.device("cpu"))
