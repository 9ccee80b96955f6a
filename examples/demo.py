r"""The demo: a CNN and a transformer on rendered streets, five attacks, one page. ``make demo`` runs it.

The same on the command line, for each model:

    robustseg evaluate --model zoo:street-unet --data street:val --limit 3 --keep 2 --eps 4/255 \
                       --attack fgsm … --out runs/demo/street-unet
    robustseg compare  runs/demo/street-unet runs/demo/street-segformer --out runs/demo/report.html
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

import robustseg as rs
from robustseg.ops.memory import keep_freed
from robustseg.report.compare import compare
from robustseg.report.table import table
from robustseg.terminal import bar

MODELS = ("street-unet", "street-segformer")
ATTACKS = ("fgsm", "pgd:steps=10", "segpgd:steps=10", "cospgd:steps=10", "hide:class=person,steps=10")
OUT = Path("runs/demo")


def main() -> None:
    """Evaluate both models, print their tables, write the page."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    keep_freed()
    console, start = Console(), time.time()
    for name in MODELS:
        folder = OUT / name
        with bar(f"loading zoo:{name}") as progress:
            summary = rs.evaluate(
                f"zoo:{name}", "street:val", ATTACKS, eps="4/255", limit=3, keep=2, out=folder, progress=progress
            )
        console.print(f"\n[bold]{name}[/bold] on {summary['images']} rendered street scenes")
        console.print(table(summary))
        rs.report(folder)
    page = compare([OUT / name for name in MODELS], OUT / "report.html")
    console.print(f"\n{time.time() - start:.0f} s. Both models side by side: {page.resolve()}")
    console.print("Each model in full: " + ", ".join(str(OUT / name / "report.html") for name in MODELS))


if __name__ == "__main__":
    sys.exit(main())
