from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))  # tiny networks; pytest imports tests by file, not by folder

import pytest
import tiny_networks as tiny
import torch


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory):
    """family -> (folder, network, processor), each built and saved once."""
    made: dict[str, tuple] = {}
    root: Path = tmp_path_factory.mktemp("hf")

    def get(family: str):
        if family not in made:
            folder = root / family.replace(" ", "-")
            made[family] = (folder, *tiny.save_hf(family, folder))
        return made[family]

    return get


@pytest.fixture
def images() -> torch.Tensor:
    """Two odd-sized images."""
    return torch.rand(2, 3, 37, 53, generator=torch.Generator().manual_seed(1))
