"""What the README shows works: its Python runs as printed, its commands are commands of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs" / "evaluation.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.S)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    code = code.replace("limit=4", "limit=1").replace("steps=10", "steps=2")  # the same calls, fewer of them
    exec(compile(code, "README.md", "exec"), {})
    assert "of the pixels are wrong after 2 gradients" in capsys.readouterr().out
    assert (tmp_path / "runs" / "readme" / "summary.json").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_on_the_pages_are_understood(page):
    """Every command line parses: the command exists and so does each option."""
    import typer

    from robustseg.cli import app

    group = typer.main.get_command(app)
    found = 0
    for block in blocks(page, "(?:bash|sh|console|text)?"):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.split("#")[0].strip().removeprefix("$ ")
            if not line.startswith("robustseg "):
                continue
            words = [w for w in shlex.split(line)[1:] if w != "…"]
            command = group
            while words and hasattr(command, "commands") and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            assert not hasattr(command, "commands"), f"no such command: {line}"
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
            unknown = [w for w in words if w.startswith("--") and w not in known]
            assert not unknown, f"{unknown} in: {line}"
            found += 1
    assert found
