"""Run folders for the report's tests; made once, copied where a test changes them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # fake_run, page_reader; pytest imports tests by file, not by folder

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
