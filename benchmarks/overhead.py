"""Attack time over the bare forwards and backwards of the same model: ``python -m benchmarks.overhead``."""

from __future__ import annotations

import argparse

import torch

from benchmarks import results
from benchmarks.networks import NETWORKS, make
from robustseg.evaluation.bench import ATTACKS, bench, render
from robustseg.ops.memory import keep_freed


def main() -> None:
    """Measure, print, write ``results/overhead.json``."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--networks", nargs="+", default=["segformer-b0", "unet-r18"], choices=list(NETWORKS))
    p.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    p.add_argument("--size", type=results.size, default=(256, 512), metavar="HxW")
    p.add_argument("--classes", type=int, default=19)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--device", default="cpu")
    p.add_argument("--default-allocator", action="store_true", help="without what the command line sets")
    p.add_argument("--name", default="overhead", help="of the file under results/")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    kept = not a.default_allocator and keep_freed()
    measured = []
    for name in a.networks:
        model = make(name, a.classes).to(a.device)
        measured.append(
            bench(model, a.attacks, size=a.size, batch=a.batch, rounds=a.rounds, steps=a.steps, progress=results.say)
        )
        print("\n" + render(measured[-1]) + "\n", flush=True)
    results.write(a.name, {"keeps_freed_memory": kept, "runs": measured})


if __name__ == "__main__":
    main()
