"""Hugging Face, segmentation_models_pytorch and torchvision models from local files, without a network.

Run it: `python examples/models/libraries.py` saves three small untrained models and loads them by reference.
"""

import tempfile
from pathlib import Path

import torch

import robustseg as rs

CLASSES = "road,car,person"


def references(folder: Path) -> list[str]:
    """Save one model of each library and return its reference."""
    import segmentation_models_pytorch as smp
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    names = dict(enumerate(CLASSES.split(",")))
    config = SegformerConfig(depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], id2label=names)
    SegformerForSemanticSegmentation(config).save_pretrained(folder / "segformer")
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "segformer")

    unet = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 4, 4), classes=3)
    unet.save_pretrained(folder / "unet")

    lraspp = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    torch.save(lraspp.state_dict(), folder / "lraspp.pth")
    return [
        f"hf:{folder / 'segformer'}",
        f"smp:{folder / 'unet'}?classes={CLASSES}&norm=imagenet",
        f"torchvision:lraspp_mobilenet_v3_large?weights={folder / 'lraspp.pth'}&classes={CLASSES}",
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for ref in references(Path(folder)):
            model = rs.load_model(ref)
            scores = model(torch.rand(1, 3, 64, 96)).scores
            print(f"{model.spec.family}: scores {tuple(scores.shape)}")
