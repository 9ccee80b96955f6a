"""What all tests share: one thread, no network, and the real data sets where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports a hub client
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets; without it the test is skipped with the reason, and fails where CI=true."""
    path = Path(os.environ.get("ROBUSTSEG_SHARED") or ROOT.parent / "shared" / "data")
    if path.is_dir():
        return path
    reason = f"no real data sets at {path}; set ROBUSTSEG_SHARED to the folder that holds camvid/"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
