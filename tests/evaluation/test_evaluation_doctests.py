"""The examples in the docstrings of this room are right."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import robustseg.evaluation

ROOM = Path(robustseg.evaluation.__file__).parent
MODULES = sorted(p.stem for p in ROOM.glob("*.py") if ">>>" in p.read_text())


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(import_module(f"robustseg.evaluation.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
