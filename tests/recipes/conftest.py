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


@pytest.fixture
def universal_recipe(hf_recipe):
    """A mask classifier of some thousand parameters: one stuff class, two countable ones."""
    import dataclasses

    from recipes.recipes import Stage

    network = (
        (
            "backbone_config",
            (
                ("model_type", "resnet"),
                ("embedding_size", 8),
                ("hidden_sizes", (8, 8, 16, 16)),
                ("depths", (1, 1, 1, 1)),
                ("layer_type", "basic"),
            ),
        ),
        ("feature_size", 32),
        ("mask_feature_size", 32),
        ("hidden_dim", 32),
        ("num_attention_heads", 2),
        ("encoder_layers", 1),
        ("encoder_feedforward_dim", 32),
        ("decoder_layers", 2),
        ("dim_feedforward", 32),
        ("num_queries", 6),
        ("dropout", 0.0),
        ("common_stride", 4),
    )
    return dataclasses.replace(
        hf_recipe,
        task="universal",
        network=network,
        things=("bright", "never seen"),
        multiple=32,
        smallest=4,
        stages=(Stage(12, (64, 64), 3, (1.0, 1.4)), Stage(8, (64, 96), 2, (1.0, 1.4))),
    )


@pytest.fixture
def regions_recipe(universal_recipe):
    """The same task for a two-stage detector."""
    import dataclasses

    network = (
        ("widths", (8, 8, 16)),
        ("depths", (1, 1, 1)),
        ("channels", 8),
        ("anchors", (8, 16, 32)),
        ("ratios", (1.0,)),
        ("hidden", 16),
        ("rpn_post_nms_top_n_train", 40),
        ("rpn_post_nms_top_n_test", 40),
        ("box_batch_size_per_image", 16),
    )
    return dataclasses.replace(
        universal_recipe, library="maskrcnn", task="instance", network=network, stain=0.5, data="dsb2018",
        classes=("background", "nucleus"), things=("nucleus",), stages=(universal_recipe.stages[0],) * 2,
    )  # fmt: skip


@pytest.fixture
def cells():
    """Four dark images with bright squares: uint8 images and int32 codes, numbers of objects beyond a byte."""
    import torch

    generator = torch.Generator().manual_seed(3)
    images = torch.randint(10, 40, (4, 3, 64, 96), generator=generator).to(torch.uint8)
    codes = torch.zeros(4, 64, 96, dtype=torch.int32)
    for i in range(4):
        for k, (top, left) in enumerate(((4, 6 + 4 * i), (30, 50), (40, 10))):
            images[i, :, top : top + 14, left : left + 14] += 150
            codes[i, top : top + 14, left : left + 14] = 1 + 256 * (300 + k)
    return images, codes
