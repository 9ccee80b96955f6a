"""The examples in the docstrings of trainings are true."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from robustseg.defenses import training

ROOM = Path(training.__file__).parent
MODULES = sorted(p.stem for p in ROOM.glob("*.py") if ">>>" in p.read_text())


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(import_module(f"robustseg.defenses.training.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
