"""`recipes` is no installed package: tests find it in the checkout."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in a fixed order: a resumed run can only be bit-equal on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hf_recipe():
    """A transformer of a few thousand parameters with the whole schedule: two stages, warm-up, averaging."""
    from recipes.recipes import Recipe, Stage

    return Recipe(
        name="tiny",
        library="hf",
        network=(
            ("depths", (1, 1, 1, 1)),
            ("hidden_sizes", (8, 8, 16, 16)),
            ("num_attention_heads", (1, 1, 2, 2)),
            ("decoder_hidden_size", 16),
            ("classifier_dropout_prob", 0.1),
        ),
        data="camvid",
        classes=("dark", "bright", "never seen"),
        stages=(Stage(12, (32, 32), 3, (0.7, 1.4)), Stage(8, (32, 64), 2, (0.7, 1.4))),
        size=(32, 64),
        folder="nowhere",
        licence="none",
        lr=3e-3,
        warmup=3,
    )


@pytest.fixture
def smp_recipe(hf_recipe):
    """The same with a convolutional network."""
    import dataclasses

    network = (
        ("arch", "unet"),
        ("encoder_name", "tu-mobilenetv3_small_050"),
        ("decoder_channels", (16, 16, 8, 8, 8)),
    )
    return dataclasses.replace(hf_recipe, library="smp", network=network, multiple=32)


@pytest.fixture
def scenes():
    """Four images whose label can be read from the brightness, with a void border: uint8 images and labels."""
    import torch

    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(4, 1, 4, 8, generator=generator) > 0.5
    labels = coarse.float().repeat_interleave(10, 2).repeat_interleave(8, 3)[:, 0].to(torch.uint8)
    noise = torch.randint(0, 40, (4, 3, 40, 64), generator=generator)
    images = (40 + 150 * labels[:, None].int() + noise).to(torch.uint8)
    labels[:, :2] = 255
    return images, labels
