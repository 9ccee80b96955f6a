"""Run folders for the report's tests; made once, copied where a test changes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_run import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with pictures of two images; do not change it."""
    return make_run(tmp_path_factory.mktemp("runs") / "unet", images=6, eps=("4/255", "8/255"))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("*.html"))


def edit(path: Path, change) -> None:
    """Applies ``change`` to the JSON value in a file."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
