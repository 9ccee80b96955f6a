"""The page of attacks and the catalog say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustseg.catalog import attack, entries
from robustseg.catalog.entries import Entry
from robustseg.catalog.spec import COMMON

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
TEXT = PAGE.read_text()


def numbers(entry: Entry, paper: bool) -> str:
    """What is worth reading of an entry's options, with its gradients in front."""
    params = entry.params({}, paper)
    hidden = {"norm", "reference", "restarts" if params.get("restarts") == "1" else "", "update", "steps"}
    shown = {k: params[k] for k in ("eps", *params) if k in params and k not in hidden}
    if entry.shared:
        given = ", ".join(f"{k}={v}" for k, v in shown.items() if k not in ("images", "batch"))
        if "batch" in shown:
            return f"fit: {params['steps']} steps of {params['batch']} gradients on {params['images']} images; {given}"
        return f"fit: {params['steps']} gradients on each of {params['images']} images; {given}"
    if entry.members:
        gradients = sum(m.budget[1] for m in attack(entry.name + ("@paper" if paper else "")).members)
    elif entry.minimal:
        gradients = attack(entry.name + ("@paper" if paper else "")).budget[1]
    else:
        gradients = int(params["steps"]) * int(params["restarts"])
    return f"{gradients} gradients; " + ", ".join(f"{k}={v}" for k, v in shown.items() if gradients or k == "eps")


def row(entry: Entry) -> str:
    practical, paper = numbers(entry, False), numbers(entry, True)
    same = "the same" if practical == paper else paper
    return f"| `{entry.name}` | {entry.summary} | {practical} | {same} | {entry.source} |"


@pytest.mark.parametrize("entry", entries(), ids=lambda e: e.name)
def test_every_entry_has_its_row(entry):
    assert row(entry) in TEXT, f"docs/attacks.md should have\n{row(entry)}"
    if entry.errata:
        assert f"- `{entry.name}`: {entry.errata}" in TEXT, f"- `{entry.name}`: {entry.errata}"


def test_no_row_is_left_over():
    known = {e.name for e in entries()}
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|.*\d (?:steps|gradients)", TEXT, flags=re.M)) == known


def test_every_option_is_explained():
    options = dict(COMMON)
    for entry in entries():
        options |= entry.options
    for name, meaning in options.items():
        assert f"| `{name}` | {meaning} |" in TEXT, f"| `{name}` | {meaning} |"


def test_every_spec_of_the_page_parses(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("scene.png")
    Path("mine.py").write_text("def loss(output, target):\n    return output.scores.flatten(1).sum(1)\n")
    names = "|".join(e.name for e in entries())
    specs = re.findall(rf"`((?:{names})(?:@paper)?:[^`\s]+)`", TEXT)
    assert len(specs) >= 8
    for spec in specs:
        attack(spec)
