"""The example files run and say what they promise; the docs' Python blocks run too."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

import robustseg as rs

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "models"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrapped", r"scores \(1, 3, 37, 53\), largest gradient \d+\.\d*[1-9]"),
        ("binary", r"scores \(1, 2, 32, 32\), background logit 0\.0"),
        ("libraries", r"hf/segformer: scores \(1, 3, 16, 16\)\nsmp/Unet: scores \(1, 3, 64, 96\)\ntorchvision/lraspp"),
    ],
)
def test_example_runs(name, said, capfd):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.search(said, capfd.readouterr().out)


def test_examples_load_by_reference():
    assert rs.load_model(f"py:{EXAMPLES / 'wrapped.py'}:network").spec.classes == ("road", "car", "person")
    assert rs.load_model(f"py:{EXAMPLES / 'binary.py'}:polyp").prepare.channel_order == "bgr"


def test_python_blocks_of_the_guide_run(monkeypatch, tmp_path):
    page = (ROOT / "docs" / "bring-your-own-model.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "guide", "net": nn.Conv2d(3, 3, 1), "images": torch.rand(1, 3, 40, 60)}
    for block in blocks:
        exec(compile(block, "docs/bring-your-own-model.md", "exec"), names)  # one after the other, as a reader would
    assert os.listdir(tmp_path) == []
