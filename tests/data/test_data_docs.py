"""The pages about data do what they say."""

import re
import subprocess
import sys

import pytest

PAGES = ["examples/data/README.md", "docs/bring-your-own-data.md"]


@pytest.fixture
def workplace(tmp_path, repository):
    """A folder with the example set in it, as the pages make it."""
    script = repository / "examples" / "data" / "make_shapes.py"
    subprocess.run([sys.executable, script, "runs/shapes"], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_and_print_what_the_page_shows(page, workplace, repository, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    text = (repository / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    shown = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == shown


@pytest.mark.parametrize("page", [*PAGES, "docs/data/readers.md"])
def test_links_lead_somewhere(page, repository):
    text = (repository / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert ((repository / page).parent / target).exists(), target


def test_the_table_of_readers_is_complete(repository):
    from robustseg.data.refs import SCHEMES

    text = (repository / "docs/data/readers.md").read_text()
    assert all(f"`{scheme.example}" in text for scheme in SCHEMES.values())


def test_the_page_names_every_key_of_the_class_file(repository):
    from robustseg.data.folder import KEYS

    text = (repository / "docs/bring-your-own-data.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(KEYS)
