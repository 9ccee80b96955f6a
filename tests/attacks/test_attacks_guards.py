"""Rules of the house that a reader cannot see from outside: what the loop may not call, and what it may not know."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import robustseg

SOURCE = Path(robustseg.__file__).parent
LOOP = [*sorted((SOURCE / "attacks").glob("*.py")), SOURCE / "objectives" / "semantic.py"]
STEP = [*LOOP, *(SOURCE / "ops" / f"{name}.py" for name in ("losses", "pixels", "classes", "norms"))]
ROOMS = ("ops", "objectives", "attacks", "tasks", "catalog")
FILES = [p for room in ROOMS for p in sorted((SOURCE / room).glob("*.py"))]


def name_of(path: Path) -> str:
    return ".".join(("robustseg", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def attributes_called(tree: ast.AST) -> set[str]:
    return {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}


def names_called(tree: ast.AST) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.mark.parametrize("path", LOOP, ids=name_of)
def test_nothing_waits_for_the_device_or_touches_the_users_gradients(path):
    tree = ast.parse(path.read_text())
    assert not attributes_called(tree) & {"item", "cpu", "numpy", "backward", "zero_grad", "eval", "train"}
    assert "print" not in names_called(tree)


@pytest.mark.parametrize("path", STEP, ids=name_of)
def test_what_runs_in_every_step_asks_no_tensor_for_its_value(path):
    """Values are read where solved images leave the batch, and between restarts, settings and lengths; nowhere else."""
    waits = {"tolist", "nonzero", "item", "is_nonzero"} & attributes_called(ast.parse(path.read_text()))
    between = {n: {"nonzero"} for n in ("combinators.py", "minimal.py", "settings.py", "shorten.py")}
    allowed = {"loop.py": {"nonzero", "tolist"}, **between}
    assert waits <= allowed.get(path.name, set())
    assert not {"float", "int", "bool"} & {
        call.func.id
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and any(
            isinstance(a, ast.Call) and isinstance(a.func, ast.Attribute) and a.func.attr in {"all", "any", "sum"}
            for a in call.args
        )
    }


@pytest.mark.parametrize("path", sorted((SOURCE / "attacks").glob("*.py")), ids=name_of)
def test_attacks_know_no_objective_model_or_data(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.startswith("robustseg")}
    assert all(name.split(".")[1] in ("attacks", "ops", "types") for name in ours)
    assert {name.split(".")[0] for name in imported - ours} <= {
        "__future__",
        "collections",
        "dataclasses",
        "torch",
        "typing",
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_examples_in_docstrings(path):
    found = doctest.testmod(importlib.import_module(name_of(path)))
    assert found.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name_of(p)) for p in FILES]
    assert sum(len(t.examples) > 0 for m in modules for t in finder.find(m, m.__name__)) >= 25


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 350
