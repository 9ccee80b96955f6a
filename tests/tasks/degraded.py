"""Degraded copies of COCO's three panoptic samples, and the official tool's figures for them.

``PYTHONPATH=PATH/TO/panopticapi python tests/tasks/degraded.py PATH/TO/shared/data`` runs the official tool
(github.com/cocodataset/panopticapi, commit 7bb4655) and prints the constants of ``test_panoptic_official.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

SCORES = ("pq", "sq", "rq")
GROUPS = ("All", "Things", "Stuff")


def categories(data: Path) -> list[dict[str, Any]]:
    return json.loads((data / "coco/panoptic_sample/panoptic_coco_categories.json").read_text())


def samples(data: Path) -> list[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Id images ``(H,W)`` with 0 = void, and their segments: ``id, category_id, iscrowd``."""
    folder = data / "coco/panoptic_sample"
    listed = json.loads((folder / "panoptic_examples.json").read_text())["annotations"]
    files = [(folder / "panoptic" / a["file_name"], a["segments_info"]) for a in listed]
    other = data / "coco/hf_sample"
    files.append((other / "000000039769_panoptic.png", json.loads((other / "panoptic_segments.json").read_text())))
    found = []
    for path, segments in files:
        rgb = np.array(Image.open(path)).astype(np.int64)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        found.append((ids, [{k: s[k] for k in ("id", "category_id", "iscrowd")} for s in segments]))
    return found


# ------------------------------------------------------------------------------- predictions made from the truth


def shifted(ids, named):
    out = np.zeros_like(ids)
    out[5:, 9:] = ids[:-5, :-9]
    return out, named


def eroded(ids, named):
    window = (9, 9)
    return ids * (ndimage.minimum_filter(ids, window) == ndimage.maximum_filter(ids, window)), named


def relabelled(ids, named):
    """Every second segment is of the next class that the image has."""
    there = sorted(set(named.values()))
    following = dict(zip(there, there[1:] + there[:1]))
    return ids, {k: following[c] if n % 2 else c for n, (k, c) in enumerate(named.items())}


def half_void(ids, named):
    out = ids.copy()
    out[:, : ids.shape[1] // 2] = 0
    return out, named


def cut_up(ids, named):
    """Every segment in pieces of at most 60 x 60 pixels."""
    rows, columns = np.indices(ids.shape) // 60
    tile = rows * 20 + columns + 1
    pieces, out = np.unique(ids * 1000 + tile, return_inverse=True)
    out = (out.reshape(ids.shape) + 1) * (ids > 0)
    return out, {n + 1: named[int(p) // 1000] for n, p in enumerate(pieces) if int(p) // 1000}


def dissolved(ids, named):
    """Stuff grows over every thing of less than 3000 pixels: the most frequent stuff takes its place."""
    number = dict(zip(*np.unique(ids, return_counts=True)))
    small = [k for k, c in named.items() if number.get(k, 0) < 3000]
    largest = max((k for k in named if k not in small), key=lambda k: number[k])
    out = np.where(np.isin(ids, small), largest, ids)
    return out, named


DEGRADED = {f.__name__: f for f in (shifted, eroded, relabelled, half_void, cut_up, dissolved)}


def cases(data: Path):
    """Name -> per image (true ids, segments), (predicted ids, {id: category}); truth with a void block, too."""
    truth = samples(data)
    blocked = []
    for ids, segments in truth:
        ids = ids.copy()
        ids[100:260, 150:400] = 0
        there = set(np.unique(ids).tolist())
        blocked.append((ids, [s for s in segments if s["id"] in there]))
    for name, change in DEGRADED.items():
        for kind, true in (("", truth), (" with more void", blocked)):
            pairs = []
            for (ids, segments), (whole, all_) in zip(true, truth):
                # crowds are predicted as one object of their class; what the truth leaves out is predicted, too
                said, named = change(whole, {s["id"]: s["category_id"] for s in all_})
                there = set(np.unique(said).tolist())
                pairs.append(((ids, segments), (said, {k: c for k, c in named.items() if k in there})))
            yield name + kind, pairs


def official(pairs, kinds):
    """What the official tool says, through files as it wants them."""
    from panopticapi.evaluation import pq_compute

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truth, prediction = [], []
        for n, ((ids, segments), (said, named)) in enumerate(pairs):
            for kind, image in (("truth", ids), ("said", said)):
                (root / kind).mkdir(exist_ok=True)
                rgb = np.stack([image % 256, image // 256 % 256, image // 65536], -1).astype(np.uint8)
                Image.fromarray(rgb).save(root / kind / f"{n}.png")
            areas = [{**s, "area": int((ids == s["id"]).sum())} for s in segments]
            truth.append({"image_id": n, "file_name": f"{n}.png", "segments_info": areas})
            found = [{"id": k, "category_id": c} for k, c in named.items()]
            prediction.append({"image_id": n, "file_name": f"{n}.png", "segments_info": found})
        (root / "truth.json").write_text(json.dumps({"annotations": truth, "categories": kinds}))
        (root / "said.json").write_text(json.dumps({"annotations": prediction}))
        with contextlib.redirect_stdout(io.StringIO()):
            return pq_compute(str(root / "truth.json"), str(root / "said.json"))


def main() -> None:
    data = Path(sys.argv[1])
    kinds = categories(data)
    for name, pairs in cases(data):
        found = official(pairs, kinds)
        print(name)
        print(*(f"{found[g][s]:.10f}" for g in GROUPS for s in SCORES))


if __name__ == "__main__":
    main()
