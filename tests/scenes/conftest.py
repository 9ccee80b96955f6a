"""Shared by the scene tests: the renderer, or a loud reason why not."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # carla_toys: pytest imports tests by file, not by folder


@pytest.fixture(scope="session")
def mitsuba():
    """Skips with a reason where mitsuba is absent; fails where CI=true."""
    if importlib.util.find_spec("mitsuba") is None:
        reason = 'mitsuba is missing; pip install "robustseg[scenes]"'
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from robustseg.scenes.probe import load

    return load()
