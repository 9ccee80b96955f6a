"""Train, export and measure one model of the zoo: `python recipes/train.py street-unet`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from data import load_camvid, load_folder
from engine import train
from measure import measure
from recipes import RECIPES

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[options.name]
    if recipe.data == "camvid":
        images, labels = load_camvid(options.data, "train")
        val = load_camvid(options.data, "val")
    else:
        images, labels = load_folder(options.data)
        val = images[-40:], labels[-40:]
        images, labels = images[:-40], labels[:-40]

    def validate(network):
        scores = measure(network, recipe, *val, bfloat16=True)
        return {"val_mIoU": round(scores["mIoU"], 4), "val_aAcc": round(scores["aAcc"], 4)}

    train(recipe, images, labels, options.checkpoints / recipe.name, minutes=options.minutes, validate=validate,
          report=lambda row: print(row, flush=True))  # fmt: skip
