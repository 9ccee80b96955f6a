"""Panoptic quality against the official tool and torchmetrics on the same maps: ``python -m benchmarks.panoptic``.

The official tool (github.com/cocodataset/panopticapi) is no package of an index: put its checkout on ``PYTHONPATH``; it
is left out where it is not there. It reads its maps from PNG files; *in memory* is the same code handed arrays. One
prediction has void where nothing was predicted, as an attacked model's has.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.metrics import in_turn
from robustseg.ops.memory import keep_freed
from robustseg.tasks import fates
from robustseg.tasks.panoptic import PanopticMap, quality, statistics

CPU = torch.device("cpu")
Pair = tuple[PanopticMap, PanopticMap]  # prediction, truth


def maps(images: int, size: tuple[int, int], classes: int, segments: int, void: float) -> list[Pair]:
    """Smooth segments; the prediction is shifted, a fifth of its blocks other segments, a share ``void`` void."""
    draw = np.random.default_rng(0)
    coarse = (max(2, size[0] // 64), max(2, size[1] // 64))

    def smooth() -> NDArray[Any]:
        fields = torch.from_numpy(draw.normal(size=(1, segments, *coarse))).float()
        # in strips: all fields of a large map at once are gigabytes
        wide = F.interpolate(fields, (size[0], coarse[1]), mode="bilinear")
        strips = [F.interpolate(s, (s.shape[2], size[1]), mode="bilinear").argmax(1) for s in wide.split(64, 2)]
        return torch.cat(strips, 1)[0].numpy() + 1

    def blocks(share: float) -> NDArray[Any]:
        few = draw.random((size[0] // 32, size[1] // 32)) < share
        return few.repeat(32, 0).repeat(32, 1)

    found = []
    for _ in range(images):
        # odd classes are stuff, one segment each; the rest are things
        stuff = draw.permutation(np.arange(1, classes, 2))[: segments // 3]
        things = 2 * draw.integers(0, (classes + 1) // 2, segments - len(stuff))
        categories = draw.permutation(np.concatenate([stuff, things]))
        truth = smooth()
        said = np.where(blocks(0.2), draw.integers(1, segments + 1), np.roll(truth, (2, 3), (0, 1)))
        found.append((_tidy(np.where(blocks(void), 0, said), categories), _tidy(truth, categories)))
    return found


def _tidy(ids: NDArray[Any], categories: NDArray[Any]) -> PanopticMap:
    """Only the segments that are there, numbered without gaps, as the official tool demands."""
    there = np.unique(ids[ids > 0])
    number = np.zeros(len(categories) + 1, np.int64)
    number[there] = np.arange(1, len(there) + 1)
    return PanopticMap(number[ids], categories[there - 1])


def contestants(pairs: list[Pair], classes: int) -> dict[str, Callable[[], float | None]]:
    """Name -> a run over all images that returns PQ; torchmetrics gives None where it has none."""
    things = [c % 2 == 0 for c in range(classes)]

    def ours() -> float:
        return quality([statistics(p, t, classes) for p, t in pairs], things)["PQ"]

    def with_fates() -> float:
        rows = [(statistics(p, t, classes), fates.entries(fates.of_maps(p, t))) for p, t in pairs]
        return quality([r[0] for r in rows], things)["PQ"]

    def metric() -> float | None:
        from torchmetrics.detection import PanopticQuality

        kinds = {k: {c for c in range(classes) if things[c] == k} for k in (True, False)}
        peer = PanopticQuality(things=kinds[True], stuffs=kinds[False], allow_unknown_preds_category=True)
        for pair in pairs:
            both = []
            for one in pair:
                named = np.append(one.categories, classes)[one.ids - 1]  # void: a class of its own
                both.append(torch.from_numpy(np.stack([named, one.ids], -1))[None])
            # its void is the class after the last, in the truth and, there too, in the prediction
            peer.update(*both)
        value = float(peer.compute())
        return None if np.isnan(value) else value

    runs: dict[str, Callable[[], float | None]] = {"ours": ours, "ours, with fates": with_fates, "torchmetrics": metric}
    if importlib.util.find_spec("panopticapi") is not None:
        runs |= _official(pairs, classes, things)
    return runs


def _official(pairs: list[Pair], classes: int, things: list[bool]) -> dict[str, Callable[[], float | None]]:
    from panopticapi import evaluation
    from PIL import Image

    folder = tempfile.TemporaryDirectory(prefix="panoptic-")
    kinds = {c: {"id": c, "isthing": int(things[c])} for c in range(classes)}
    arrays: dict[str, NDArray[Any]] = {}
    lists: tuple[list[Any], list[Any]] = ([], [])
    for n, pair in enumerate(pairs):
        for side, (one, found) in enumerate(zip(pair, lists)):
            area = np.bincount(one.ids.ravel(), minlength=len(one.categories) + 1)
            name = str(Path(folder.name) / f"{n}-{side}.png")
            arrays[name] = np.stack([one.ids % 256, one.ids // 256, one.ids * 0], -1).astype(np.uint8)
            Image.fromarray(arrays[name]).save(name)
            segments = [
                {"id": k + 1, "category_id": int(c), "iscrowd": 0, "area": int(area[k + 1])}
                for k, c in enumerate(one.categories)
            ]
            found.append({"image_id": n, "file_name": name, "segments_info": segments})

    def run() -> float:
        assert folder  # the files live as long as this
        # it adds areas to the predictions it is given: a copy, every time
        said = [{**a, "segments_info": [dict(s) for s in a["segments_info"]]} for a in lists[0]]
        with contextlib.redirect_stdout(io.StringIO()):
            found = evaluation.pq_compute_single_core(0, list(zip(lists[1], said)), "", "", kinds)
        return float(found.pq_average(kinds, isthing=None)[0]["pq"])

    def in_memory() -> float:
        with _given(evaluation, arrays):
            return run()

    return {"panopticapi, one process": run, "panopticapi, in memory": in_memory}


@contextlib.contextmanager
def _given(module: Any, arrays: dict[str, NDArray[Any]]) -> Iterator[None]:
    """The module opens arrays instead of files."""
    own = module.Image
    module.Image = SimpleNamespace(open=arrays.__getitem__)
    try:
        yield
    finally:
        module.Image = own


def measure(
    images: int, size: tuple[int, int], classes: int, segments: int, void: float, rounds: int
) -> dict[str, Any]:
    """All contestants in turn, ``rounds`` times; milliseconds an image."""
    rows = in_turn(contestants(maps(images, size, classes, segments, void), classes), images, rounds, "PQ")
    facts = {"images": images, "size": list(size), "classes": classes, "segments": segments, "void": void}
    return {**facts, "rounds": rounds, "rows": rows}


def main() -> None:
    """Three kinds of maps; print, write ``results/panoptic.json``."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--images", type=int, default=3)
    p.add_argument("--name", default="panoptic")
    a = p.parse_args()
    torch.set_num_threads(1)
    kept = keep_freed()
    runs = []
    shapes = (((256, 512), 19, 30, 0.0), ((256, 512), 19, 30, 0.3), ((1024, 2048), 19, 60, 0.0))
    for size, classes, segments, void in shapes:
        runs.append(measure(a.images, size, classes, segments, void, a.rounds))
        print(f"\n{size[0]}x{size[1]}, {classes} classes, {segments} segments, {void:.0%} predicted void")
        for row in runs[-1]["rows"]:
            ms, value = row["cpu_ms"], row["PQ"]
            spreads = f"{ms['median']:8.2f} [{ms['q1']:.2f}, {ms['q3']:.2f}]"
            shown = "none" if value is None else f"{value:.6f}"
            print(f"  {row['name']:<28} {spreads:>28} CPU ms an image, PQ {shown}", flush=True)
    results.write(a.name, {"keeps_freed_memory": kept, "runs": runs})


if __name__ == "__main__":
    main()
