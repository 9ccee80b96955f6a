"""A whole run folder without a network: the evaluation's synthetic store, and pictures drawn from numbers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
from PIL import Image

PALETTE = {
    "road": [128, 64, 128],
    "building": [70, 70, 70],
    "car": [0, 0, 142],
    "person": [220, 20, 60],
    "sky": [70, 130, 180],
}


def fake_store():
    """The evaluation tests' maker of stores, loaded by path: test folders are not packages."""
    path = Path(__file__).parents[1] / "evaluation" / "fake_store.py"
    spec = importlib.util.spec_from_file_location("robustseg_fake_store", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_run(
    folder: Path, *, kept: int = 2, size: tuple[int, int] = (48, 96), photos: list[Path] | None = None, **options
) -> Path:
    """Writes store, summary, run.json and ``kept`` images with pictures of the attacks at the largest ε."""
    fake_store().make_store(folder, **options)
    (folder / "run.json").write_text(json.dumps({
        "argv": ["robustseg", "evaluate", "--model", "zoo:street-unet", "--data", "street:val", "--out", "a folder"],
        "versions": {"robustseg": "0.1.0", "python": "3.11.2", "torch": "2.14.0"}, "device": "cpu", "seed": 0,
    }))  # fmt: skip
    draw_pictures(folder, kept, size, photos)
    return folder


def draw_pictures(folder: Path, kept: int, size: tuple[int, int], photos: list[Path] | None) -> None:
    """``pictures/INDEX.json`` and its PNG files: a street of blocks, or real photographs, with noise for an attack."""
    summary = json.loads((folder / "summary.json").read_text())
    rng = np.random.default_rng(1)
    specs = [s for s, a in summary["attacks"].items() if a["eps"] == "8/255" and not a.get("members")]
    images = []
    (folder / "pictures").mkdir(exist_ok=True)
    for n in range(kept):
        base = folder / "pictures" / f"{n:03d}"
        base.mkdir(parents=True)
        photo, labels = scene(size, n) if photos is None else photograph(photos[n])
        save(base / "clean.png", photo)
        save(base / "truth.png", colours(labels))
        save(base / "clean_prediction.png", colours(spoil(labels, 0.05, rng)))
        attacks = []
        for k, spec in enumerate(specs):
            change = rng.choice([-8, 0, 8], size=photo.shape)
            share = 0.1 + 0.8 * (k + 1) / len(specs)
            save(base / f"{k}.adversarial.png", np.clip(photo.astype(int) + change, 0, 255))
            save(base / f"{k}.prediction.png", colours(spoil(labels, share, rng)))
            save(base / f"{k}.perturbation.png", np.clip(128 + 10 * change, 0, 255))
            names = {p: f"{n:03d}/{k}.{p}.png" for p in ("adversarial", "prediction", "perturbation")}
            attacks.append(
                {"spec": spec, "eps": "8/255", **names, "gain": 10, "aAcc": 1 - share, "mIoU": 0.9 - 0.9 * share}
            )
        shared = {p: f"{n:03d}/{p}.png" for p in ("clean", "truth", "clean_prediction")}
        images.append({"id": f"street/{n:04d}", "rank": n, **shared, "attacks": attacks})
    (folder / "pictures" / "INDEX.json").write_text(json.dumps({"images": images, "palette": PALETTE}))


def scene(size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A street of blocks with shading: picture (H,W,3) uint8 and labels (H,W)."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    labels = np.where(y < 0.35, 4, np.where(y < 0.6, 1, 0))
    labels[(abs(x - 0.3 - 0.1 * seed) < 0.1) & (abs(y - 0.62) < 0.09)] = 2
    labels[(abs(x - 0.7) < 0.03) & (abs(y - 0.6) < 0.15)] = 3
    base = colours(labels).astype(float) * 0.6 + 60
    return np.clip(base * (0.75 + 0.4 * y[..., None]), 0, 255).astype(np.uint8), labels


def photograph(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A real picture, with labels invented from its brightness."""
    photo = np.asarray(Image.open(path).convert("RGB"))
    grey = np.asarray(
        Image.open(path).convert("L").reduce(12).resize((photo.shape[1], photo.shape[0]), Image.Resampling.NEAREST)
    )
    return photo, np.digitize(grey, [50, 90, 130, 200])


def spoil(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The labels with a share of blocks changed to some other class."""
    blocks = tuple(-(-n // 8) for n in labels.shape)
    change = np.kron(rng.random(blocks) < share, np.ones((8, 8), dtype=bool))[: labels.shape[0], : labels.shape[1]]
    other = np.kron(rng.integers(0, 5, blocks), np.ones((8, 8), dtype=int))[: labels.shape[0], : labels.shape[1]]
    return np.where(change, other, labels)


def colours(labels: np.ndarray) -> np.ndarray:
    """Labels (H,W) -> RGB."""
    return np.array(list(PALETTE.values()), dtype=np.uint8)[labels]


def save(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG."""
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def edit(path: Path, change) -> None:
    """Applies ``change`` to the JSON value in a file."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
