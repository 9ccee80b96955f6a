"""A segmenter small enough to be trained in a test: a folder that `smp:` or `hf:` reads, and a data folder."""

import json

import pytest
import torch

CLASSES = ("dark", "bright")


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in a fixed order: a resumed run can only be bit-equal on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """`hf:FOLDER` of a transformer of a few thousand parameters with dropout, untrained."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("start")
    config = SegformerConfig(
        depths=(1, 1, 1, 1), hidden_sizes=(8, 8, 16, 16), num_attention_heads=(1, 1, 2, 2), decoder_hidden_size=16,
        classifier_dropout_prob=0.1, num_labels=2, id2label=dict(enumerate(CLASSES)),
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    facts = {"adapter": "hf", "task": "semantic", "classes": CLASSES, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "robustseg.json").write_text(json.dumps(facts | {"multiple": 4}))
    return f"hf:{folder}"


@pytest.fixture(scope="session")
def cnn(tmp_path_factory):
    """`smp:FOLDER` of a convolutional network with batch normalisation, untrained."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("cnn")
    smp.create_model(
        "unet", "tu-mobilenetv3_small_050", encoder_weights=None, classes=2, decoder_channels=(16, 16, 8, 8, 8)
    ).save_pretrained(folder)
    facts = {"adapter": "smp", "task": "semantic", "classes": CLASSES, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "robustseg.json").write_text(json.dumps(facts | {"multiple": 32}))
    return f"smp:{folder}"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """`folder:PATH` of eight images whose label can be read from the brightness; the first row is ignored."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(7)
    for name in ("images", "labels"):
        (root / name).mkdir()
    for i in range(8):
        coarse = (torch.rand(4, 8, generator=generator) > 0.5).repeat_interleave(10, 0).repeat_interleave(8, 1)
        noise = torch.randint(0, 40, (40, 64, 3), generator=generator)
        pixels = (60 + 90 * coarse[..., None].int() + noise).to(torch.uint8)
        label = coarse.to(torch.uint8)
        label[0] = 255
        Image.fromarray(pixels.numpy()).save(root / "images" / f"{i}.png")
        Image.fromarray(label.numpy()).save(root / "labels" / f"{i}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return f"folder:{root}"


@pytest.fixture
def recipe(start, data, tmp_path):
    """`recipe(**changes)` writes a recipe file of six steps and gives its path."""
    import yaml

    def write(**changes):
        found = {
            "start": start, "data": data, "attacks": ["pgd:eps=8/255,steps=2", "clean"], "steps": 6, "batch": 2,
            "crop": "32x32", "warmup": 2, "lr": "1e-2", "aware": 0.5, "balance": 0.5, "validate_every": 3,
            "validate_images": 1, "validate_attack": "pgd:eps=8/255,steps=2",
        } | changes  # fmt: skip
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in found.items() if v is not ...}))
        return path

    return write
