"""The metric path against torchmetrics on the same label maps: ``python -m benchmarks.metrics``.

Ours gives per-image rows (from which mIoU, accuracy, what was flipped and recall by object size all follow); the peer
gives one mIoU. Both scores are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import results
from robustseg.evaluation.bench import Span, spread, timed
from robustseg.ops.memory import keep_freed
from robustseg.ops.seeds import generator
from robustseg.tasks.scoring import score
from robustseg.tasks.semantic import statistics

IGNORE = 255
CPU = torch.device("cpu")
Maps = tuple[Tensor, Tensor, Tensor, Tensor]  # truth, prediction, clean prediction, objects; each (N,H,W)


def maps(images: int, size: tuple[int, int], classes: int) -> Maps:
    """Label maps in blocks of 32 pixels, a fifth of the prediction wrong, a strip ignored, a third objects."""
    draw = generator(0, "metrics")

    def blocks(high: int) -> Tensor:
        small = torch.randint(0, high, (images, 1, size[0] // 32, size[1] // 32), generator=draw).float()
        return F.interpolate(small, size).long()[:, 0]

    def noisy(y: Tensor) -> Tensor:
        wrong = torch.rand(y.shape, generator=draw) < 0.2
        return torch.where(wrong, torch.randint(0, classes, y.shape, generator=draw), y)

    truth = blocks(classes)
    prediction, clean = noisy(truth), noisy(truth)
    truth[:, : size[0] // 16] = IGNORE
    return truth, prediction, clean, (blocks(30) - 20).clamp_min(0).int()


def contestants(data: Maps, classes: int) -> dict[str, Callable[[], float]]:
    """Name -> a run over all images that returns the data-set mIoU."""
    from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

    truth, prediction, clean, objects = data
    names = [str(c) for c in range(classes)]

    def ours(**more: Tensor) -> float:
        rows: list[dict[str, Any]] = []
        for i in range(len(truth)):
            extra = {k: v[i : i + 1] for k, v in more.items()}
            rows += statistics(prediction[i : i + 1], truth[i : i + 1], classes=classes, ignore=IGNORE, **extra)
        return score(rows, names)["mIoU"]

    def jaccard(validate: bool) -> float:
        metric = MulticlassJaccardIndex(classes, ignore_index=IGNORE, validate_args=validate)
        for i in range(len(truth)):
            metric.update(prediction[i : i + 1], truth[i : i + 1])
        return float(metric.compute())

    def confusion() -> float:
        metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False)
        for i in range(len(truth)):
            metric.update(prediction[i : i + 1], truth[i : i + 1])
        m = metric.compute().double()
        return float((m.diagonal() / (m.sum(0) + m.sum(1) - m.diagonal())).nanmean())

    return {
        "ours": ours,
        "ours, with flips": lambda: ours(clean_prediction=clean),
        "ours, with flips and objects": lambda: ours(clean_prediction=clean, instances=objects),
        "torchmetrics Jaccard": lambda: jaccard(True),
        "torchmetrics Jaccard, unchecked": lambda: jaccard(False),
        "torchmetrics confusion matrix, unchecked": confusion,
    }


def measure(images: int, size: tuple[int, int], classes: int, rounds: int) -> dict[str, Any]:
    """All contestants in turn, ``rounds`` times; milliseconds an image."""
    rows = in_turn(contestants(maps(images, size, classes), classes), images, rounds, "mIoU")
    return {"images": images, "size": list(size), "classes": classes, "rounds": rounds, "rows": rows}


def in_turn(runs: dict[str, Callable[[], Any]], images: int, rounds: int, score: str) -> list[dict[str, Any]]:
    """Every contestant ``rounds`` times, each round in another order: its ``score``, milliseconds an image."""
    values = {name: run() for name, run in runs.items()}
    spans: dict[str, list[Span]] = {name: [] for name in runs}
    for r in range(rounds):
        order = list(runs)
        for name in order[r % len(order) :] + order[: r % len(order)]:
            spans[name].append(timed(runs[name], CPU)[0])
    return [
        {
            "name": name,
            score: values[name],
            **{f"{c}_ms": spread([1e3 * getattr(s, c) / images for s in spans[name]]) for c in ("wall", "cpu")},
        }
        for name in runs
    ]


def main() -> None:
    """Two sizes, two numbers of classes; print, write ``results/metrics.json``."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--images", type=int, default=4)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--name", default="metrics")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    kept = keep_freed()
    runs = []
    for size, classes in (((256, 512), 19), ((1024, 2048), 19), ((512, 512), 150)):
        runs.append(measure(a.images, size, classes, a.rounds))
        print(f"\n{size[0]}x{size[1]}, {classes} classes")
        for row in runs[-1]["rows"]:
            ms = row["cpu_ms"]
            spreads = f"{ms['median']:8.2f} [{ms['q1']:.2f}, {ms['q3']:.2f}]"
            print(f"  {row['name']:<42} {spreads:>26} CPU ms an image, mIoU {row['mIoU']:.6f}", flush=True)
    results.write(a.name, {"keeps_freed_memory": kept, "runs": runs})


if __name__ == "__main__":
    main()
