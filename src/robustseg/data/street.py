"""Rendered street scenes: the bundled packs ``street:val`` and ``street:fit``, or any folder that was rendered.

Layout: ``DIR/meta.json``, ``images/000000.jpg``, ``labels/000000.png`` (Cityscapes trainIds, 255 void),
``instances/000000.png`` (16 bits, 0 = no object), ``parts/000000.png`` (1 clothing, 2 skin and hair). An object that
shows fewer than 16 pixels is none: of the renderer's objects one in six is such a speck, which nobody could outline.
"""

from __future__ import annotations

import difflib
import json
from importlib import resources
from pathlib import Path

from robustseg.data import layout
from robustseg.data.cityscapes import CLASSES, THINGS
from robustseg.data.labels import plain_code
from robustseg.data.objects import SMALLEST
from robustseg.data.pairs import ALL_TASKS, Pair, PairDataSet
from robustseg.data.refs import BUNDLED, Ref
from robustseg.errors import UserError

__all__ = ["PARTS", "read"]

PARTS = {"clothing": 1, "skin": 2}


def read(ref: Ref) -> PairDataSet:
    """One rendered folder; regions ``clothing`` (attackable) and ``skin`` (skin and hair) where parts were rendered."""
    root = _root(ref)
    try:
        meta = json.loads((root / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{root / 'meta.json'}: cannot be read ({error}); is this a rendered street folder?") from error
    if not isinstance(meta, dict) or tuple(meta.get("classes", CLASSES)) != CLASSES:
        raise UserError(f"{root / 'meta.json'}: classes are not the 19 Cityscapes train classes; render the set again")
    images = layout.find(layout.folder(root / "images", ref.text))
    kinds = {}
    for kind in ("labels", "instances", "parts"):
        if kind == "labels" or (root / kind).is_dir():
            kinds[kind] = layout.find(layout.folder(root / kind, ref.text), (".png",))
            layout.match(images, kinds[kind], root / kind, f"{kind} PNG")
    pairs = tuple(
        Pair(layout.safe_id(key), images[key], **{kind: files[key] for kind, files in kinds.items()})
        for key in sorted(images)
    )
    tasks = ALL_TASKS if "instances" in kinds else ("semantic",)
    return PairDataSet(
        ref.text, CLASSES, pairs, plain_code(len(CLASSES)), things=THINGS, parts=PARTS, tasks=tasks, smallest=SMALLEST
    )


def _root(ref: Ref) -> Path:
    if ref.path is None:
        root = Path(str(resources.files("robustseg.data"))) / "packs" / f"street-{ref.split}"
        if not root.is_dir():
            raise UserError(f"data {ref.text}: the bundled pack is not installed; reinstall robustseg or render one")
        return root
    close = difflib.get_close_matches(str(ref.path), BUNDLED, n=1)
    if close and not ref.path.exists():
        raise UserError(f"data {ref.text}: no such folder; did you mean the bundled street:{close[0]}?")
    path = layout.folder(ref.path, ref.text)
    if ref.split is not None:
        return layout.folder(path / ref.split, ref.text, "split")
    present = [s for s in layout.splits(path) if (path / s / "meta.json").is_file()]
    if present and not (path / "meta.json").is_file():
        raise UserError(f"data {ref.text}: needs a split: {ref.text}:SPLIT, one of {', '.join(present)}")
    return path
