"""The package as a whole: a light import, a small face, layers kept, documents that lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import robustseg

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "robustseg").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fresh(code: str) -> str:
    """Output of ``code`` in a new interpreter."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_import_is_light():
    heavy = ("torch", "torchvision", "transformers", "timm", "segmentation_models_pytorch", "mitsuba", "numpy")
    loaded = json.loads(fresh("import sys, json, robustseg; print(json.dumps(list(sys.modules)))"))
    assert not set(heavy) & set(loaded)


@pytest.mark.parametrize("room", ["models", "data", "catalog", "scenes", "evaluation.run"])
def test_rooms_import_no_model_library(room):
    loaded = json.loads(fresh(f"import sys, json, robustseg.{room}; print(json.dumps(list(sys.modules)))"))
    assert not {"torchvision", "transformers", "timm", "segmentation_models_pytorch", "mitsuba"} & set(loaded)


def test_the_command_line_starts_without_torch():
    loaded = json.loads(fresh("import sys, json, robustseg.cli; print(json.dumps(list(sys.modules)))"))
    assert "torch" not in loaded
    assert "numpy" not in loaded


def test_public_names():
    assert sorted(robustseg.__all__) == [
        "AttackResult",
        "DenseOutput",
        "QueryOutput",
        "RegionOutput",
        "SegmentTarget",
        "SemanticTarget",
        "UserError",
        "attack",
        "evaluate",
        "load_data",
        "load_model",
        "report",
        "wrap",
    ]
    for name in robustseg.__all__:
        assert getattr(robustseg, name) is not None


def test_the_report_can_be_called_before_and_after_its_submodules_are_imported():
    assert fresh("import robustseg as rs; import robustseg.report.table; print(callable(rs.report))") == "True\n"
    assert fresh("import robustseg as rs; print(callable(rs.report))") == "True\n"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_a_file_holds_one_idea(path):
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name not in ("__init__.py", "cli.py")], ids=lambda p: p.stem)
def test_every_module_says_what_it_is(path):
    assert path.read_text().lstrip().startswith('"""')


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target
