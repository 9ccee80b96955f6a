"""Write a small data set of circles and squares: python examples/data/make_shapes.py OUT"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[60, 90, 60], [220, 80, 60], [70, 90, 230]])  # background, circle, square


def picture(rng: np.random.Generator, height: int = 64, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """One noisy image (H,W,3) and its label map (H,W) of class indices; a dark frame of void pixels around it."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), dtype=np.uint8)
    for kind in (1, 2, 1, 2):
        cy, cx, r = rng.integers(12, height - 12), rng.integers(12, width - 12), rng.integers(6, 11)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < r * r if kind == 1 else np.maximum(abs(y - cy), abs(x - cx)) < r
        labels[inside] = kind
    image = COLOURS[labels] + rng.normal(0, 12, (height, width, 3))
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        image[edge], labels[edge] = 0, 255
    return image.clip(0, 255).astype(np.uint8), labels


def main(out: Path) -> None:
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(6):
        image, labels = picture(rng)
        Image.fromarray(image).save(out / "images" / f"{index:03d}.png")
        Image.fromarray(labels).save(out / "labels" / f"{index:03d}.png")  # grey values are class indices
    about = {"classes": ["background", "circle", "square"], "things": ["circle", "square"]}
    (out / "classes.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"wrote 6 images to {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/shapes"))
