"""The curve of a training as a picture: loss and validation mIoU over steps."""

from __future__ import annotations

import json
from pathlib import Path


def read_curve(path: Path) -> list[dict]:
    """Rows of a JSONL curve, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def smooth(values: list[float], window: int = 10) -> list[float]:
    """Mean of each value and the up to `window - 1` before it.

    >>> smooth([1.0, 3.0, 5.0], window=2)
    [1.0, 2.0, 4.0]
    """
    spans = (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))
    return [sum(span) / len(span) for span in spans]


def plot_curve(rows: list[dict], title: str, path: Path) -> None:
    """Write a PNG; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    losses = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    name = next((n for n in ("accuracy", "PQ", "AP50", "mIoU") if any(f"val_{n}" in r for r in rows)), "mIoU")
    scores = [(r["step"], r[f"val_{name}"]) for r in rows if f"val_{name}" in r]
    figure, left = plt.subplots(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    left.plot([s for s, _ in losses], smooth([v for _, v in losses]), color="#8a8f98", lw=1)
    left.set(xlabel="step", ylabel="training loss (grey)", title=title)
    right = left.twinx()
    right.plot([s for s, _ in scores], [v for _, v in scores], color="#0b6e99", lw=1.6)
    right.set(ylabel=f"validation {name} (blue)", ylim=(0, 1))
    figure.savefig(path)
    plt.close(figure)
