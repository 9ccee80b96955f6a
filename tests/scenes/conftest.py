"""Shared by the scene tests: the renderer, or a loud reason why not."""

import importlib.util
import os

import pytest


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
