"""How cost grows with the size of images, classes, batch and number of images: ``python -m benchmarks.scaling``."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import results
from benchmarks.networks import make
from robustseg.evaluation.bench import bench
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read
from robustseg.ops.memory import keep_freed
from robustseg.ops.seeds import generator
from robustseg.types import Sample

NETWORK = "small-cnn"  # the network is cheap, so that whatever surrounds it shows
BASE: dict[str, Any] = {"size": (256, 512), "classes": 19, "batch": 1}
RUN_STEPS = 5
GRID = [
    *({**BASE, "size": s} for s in ((128, 256), (256, 512), (512, 1024))),
    *({**BASE, "size": (128, 256), "classes": c} for c in (2, 19, 150)),
    *({**BASE, "size": (128, 256), "batch": b} for b in (2, 4)),
]


@dataclass(frozen=True)
class Noise:
    """A data set in memory: noise with labels in blocks; what it costs to read is nothing."""

    number: int
    classes: tuple[str, ...]
    size: tuple[int, int] = (128, 256)
    ref: str = "noise:all"
    task: str = "semantic"
    ignore: int = 255

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [f"{i:05d}" for i in range(self.number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int, /) -> Sample:
        draw = generator(0, self.ids[index])
        labels = torch.randint(0, len(self.classes), self.size, generator=draw)
        return Sample(self.ids[index], torch.rand(3, *self.size, generator=draw), labels)

    def digest(self) -> str:
        """Noise of this size and number."""
        return f"noise-{self.number}-{self.size}"


def growth(rounds: int, steps: int) -> list[dict[str, Any]]:
    """One bench of PGD and of the ensemble for every cell of the grid."""
    rows = []
    for cell in GRID:
        model, shape = make(NETWORK, cell["classes"]), {"size": cell["size"], "batch": cell["batch"]}
        found = bench(model, ["pgd", "strong"], **shape, rounds=rounds, steps=steps, progress=results.say)
        for row in found["attacks"]:
            cpu, gradients = row["seconds_per_image"]["cpu"]["median"], row["backwards"]
            rows.append({**cell, **row, "cpu_ms_per_gradient": 1e3 * cpu / gradients})
            print(
                f"{cell['size'][0]}x{cell['size'][1]}, {cell['classes']:>3} classes, batch {cell['batch']}: "
                f"{row['spec']:<36} {rows[-1]['cpu_ms_per_gradient']:8.1f} CPU ms a gradient and image, "
                f"{row['ratio']['cpu']['median']:.3f} x bare",
                flush=True,
            )
    return rows


def whole_runs(counts: tuple[int, ...], steps: int) -> list[dict[str, Any]]:
    """Complete evaluations of 1, 2, … images: what is not attack or clean forward is store, referee, statistics."""
    names = tuple(f"class-{i}" for i in range(19))
    model, rows = make(NETWORK, 19), []
    for number in counts:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            evaluate(model, Noise(number, names), [f"pgd:steps={steps}"], out=folder, batch_size=1, early_stop=False)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            stored = [row for key in read(Path(folder)).rows.values() for row in key.values()]
            attacking = sum(row.seconds for row in stored)
            size = (Path(folder) / "store.sqlite").stat().st_size
        cost = {"wall_s": wall, "cpu_s": cpu, "in_attacks_wall_s": attacking, "store_kib": size / 1024}
        rows.append({"images": number, "rows": len(stored), **cost})
        print(
            f"{number:>4} images: {wall / number:.3f} s an image, {1e3 * (wall - attacking) / number:.0f} ms of it "
            f"outside the attacks; store {size / 1024:.0f} KiB",
            flush=True,
        )
    return rows


def main() -> None:
    """Grid and whole runs; print, write ``results/scaling.json``."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=2, help="of every attack of the grid")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--name", default="scaling")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    kept = keep_freed()
    runs = whole_runs((4, 16, 64), RUN_STEPS)
    results.write(
        a.name, {"keeps_freed_memory": kept, "network": NETWORK, "grid": growth(a.rounds, a.steps), "runs": runs}
    )


if __name__ == "__main__":
    main()
