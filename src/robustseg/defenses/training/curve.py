"""The curve of a training as a picture: loss and validation scores over steps."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["plot_curve", "read_curve", "smooth"]

COLOURS = ("#0b6e99", "#c1440e")


def read_curve(path: Path) -> list[dict]:
    """Rows of a JSONL curve, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def smooth(values: list[float], window: int = 10) -> list[float]:
    """Mean of each value and the up to ``window - 1`` before it.

    >>> smooth([1.0, 3.0, 5.0], window=2)
    [1.0, 2.0, 4.0]
    """
    spans = (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))
    return [sum(span) / len(span) for span in spans]


def plot_curve(rows: list[dict], title: str, path: Path) -> None:
    """Write a PNG: the loss, the first validation score there is, and the same under attack; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    losses = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    name = next((n for n in ("accuracy", "PQ", "AP50", "mIoU") if any(f"val_{n}" in r for r in rows)), "mIoU")
    figure, left = plt.subplots(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    left.plot([s for s, _ in losses], smooth([v for _, v in losses]), color="#8a8f98", lw=1)
    left.set(xlabel="step", ylabel="training loss (grey)", title=title)
    right = left.twinx()
    for key, colour in zip((f"val_{name}", f"val_attacked_{name}"), COLOURS):
        scores = [(r["step"], r[key]) for r in rows if key in r]
        right.plot([s for s, _ in scores], [v for _, v in scores], color=colour, lw=1.6)
    attacked = any(f"val_attacked_{name}" in r for r in rows)
    right.set(ylabel=f"validation {name} (blue{', attacked: red' if attacked else ''})", ylim=(0, 1))
    figure.savefig(path)
    plt.close(figure)
