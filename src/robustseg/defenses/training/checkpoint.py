"""What a killed training leaves behind: the last whole checkpoint, and a curve that fits it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

__all__ = ["append", "cut_curve", "save"]


def save(path: Path, state: dict) -> None:
    """Write beside the target, flush to disk, rename: a kill leaves the old or the new file, never half of one."""
    draft = path.with_suffix(".tmp")
    with open(draft, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the renaming itself must survive a power cut too
    finally:
        os.close(folder)


def cut_curve(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint, so that repeated steps are not logged twice; and half a line."""
    if path.exists():
        rows = []
        for line in path.read_text().splitlines(keepends=True):
            try:
                done = json.loads(line)["step"]
            except ValueError:
                break
            if done <= step:
                rows.append(line)
        path.write_text("".join(rows))


def append(path: Path, row: dict) -> None:
    """One more line of the curve."""
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")
