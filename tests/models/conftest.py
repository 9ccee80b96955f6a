from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported anywhere

import pytest
import tiny
import torch

torch.set_num_threads(1)


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
