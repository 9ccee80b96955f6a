"""Where measurements go: JSON under ``benchmarks/results``, with the machine in words and no names or paths."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from robustseg.evaluation.bench import machine

__all__ = ["FOLDER", "say", "size", "write"]

FOLDER = Path(__file__).parent / "results"


def write(name: str, content: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write ``folder/NAME.json`` with today's date and the machine beside the content; floats to 5 digits."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"measured": date.today().isoformat(), "machine": machine(), **content}
    path.write_text(json.dumps(_rounded(whole), indent=1) + "\n", encoding="utf-8")
    return path


def say(text: str) -> None:
    """Progress on one line of the terminal; silent where nobody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def size(text: str) -> tuple[int, int]:
    """``256x512`` as (256, 512)."""
    height, width = text.lower().split("x")
    return int(height), int(width)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
