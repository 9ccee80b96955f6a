"""Certificates against patches by demasked smoothing: images × (patch, mode, layout) -> rows -> summary; resumable.

Images are looked at one by one, so that no certificate depends on a neighbour in a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from robustseg.data import load_data
from robustseg.data.resize import parse_size
from robustseg.defenses import masking
from robustseg.defenses.demasked import certified, fits, labels_of
from robustseg.errors import UserError
from robustseg.evaluation import device as machine
from robustseg.evaluation import key
from robustseg.evaluation.certified_scores import counts, scores
from robustseg.evaluation.files import write_json
from robustseg.evaluation.job import versions
from robustseg.evaluation.matching import Item, Mapped, class_map_digest, index
from robustseg.evaluation.store import Row, Store
from robustseg.ops import infill
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model

__all__ = ["certify"]


@dataclass(frozen=True)
class Asked:
    """One certificate that was asked for, with the key of its rows."""

    patch: masking.Patch
    mode: str
    layout: str
    masks: int | None
    key: str

    @property
    def name(self) -> str:
        """In the summary."""
        return f"{self.mode},{self.layout}{'' if self.masks is None else f',{self.masks}'},{self.patch.text}"

    def of(self, size: tuple[int, int]) -> masking.Layout:
        """The versions of an image of this size."""
        return masking.layout(self.layout, self.mode, self.patch.size(size), size, self.masks)


def certify(
    model: str | Model,
    data: str | DataSet,
    *,
    out: str | Path,
    patch: str | Sequence[str] = "1%",
    mode: str | Sequence[str] = "recovery",
    layout: str | Sequence[str] = "columns",
    masks: int | None = None,
    limit: int | None = None,
    resize: str | tuple[int, int] | None = None,
    class_map: Mapping[str, str] | str | Path | None = None,
    device: str = "auto",
    window: int | None = None,
    progress: Callable[[float, float, str], None] | None = None,
) -> dict[str, Any]:
    """Certify every pixel of a data set against a patch at any place; the dictionary is that of ``out/summary.json``.

    ``patch``: ``"1%"``, the largest square of that area, or pixels, ``"36"``, ``"24x48"``; ``mode``: ``"recovery"``
    (the class is kept) or ``"detection"`` (it is kept, or an alarm sounds there); ``layout``: how masks lie
    (`defenses.masking`), ``masks`` how many. Several of each: every combination that there is. The same call on the
    same ``out`` continues. Raises UserError for what the user can put right.
    """
    tell = progress or (lambda *_: None)
    folder = Path(out)
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} leaves no image; use 1 or more")
    wanted = _wanted(patch, mode, layout)
    size = parse_size(resize) if isinstance(resize, str) else resize
    dataset = load_data(data, resize=size) if isinstance(data, str) else data
    network, where = _model(model, device, window)
    fits(network)
    mapped = Mapped.of(dataset, network.spec, class_map)
    number = min(len(dataset), limit or len(dataset))
    items = index(dataset, number, lambda done, of: tell(done, of, "reading images"))
    clean = key.clean_config(
        model=network.spec.digest, data=dataset.digest(), task="semantic", resize=size,
        class_map=class_map_digest(class_map),
    )  # fmt: skip
    asked = [Asked(p, m, k, masks, key.run_key(_config(clean, p, m, k, masks))) for p, m, k in wanted]
    for one, s in product(asked, {i.size for i in items}):  # what cannot be promised is refused before any work
        one.of(s)
    with Store(folder) as store, frozen(network.module), machine.repeatable(where), machine.fp32():
        if store.contents().runs:
            raise UserError(f"{folder} holds a run of `robustseg evaluate`; choose another --out")
        store.add_key(clean)
        for one in asked:
            store.add_key(_config(clean, one.patch, one.mode, one.layout, one.masks))
        names = ["the model itself", *(one.name for one in asked)]
        for n, item in enumerate(items):
            for k, one in enumerate([None, *asked]):
                tell(n * len(names) + k, len(items) * len(names), f"{item.id}, {names[k]}")
                at = key.run_key(clean) if one is None else one.key
                if store.statuses(at, [item.id]).get(item.id) != "ok":
                    store.add_rows([_row(at, item, network, mapped, one, where)])
        rows = store.contents().rows
    found = {
        "model": network.spec.ref, "data": dataset.ref, "images": len(items),
        "resize": None if size is None else list(size), "classes": list(network.spec.classes),
        "clean": scores([r.stats or {} for r in _of(rows, key.run_key(clean), items)]),
        "certificates": {one.name: _entry(one, _of(rows, one.key, items), items) for one in asked},
        "device": machine.describe(where), "versions": versions(),
    }  # fmt: skip
    write_json(folder / "summary.json", found)
    return found


def _wanted(patch: Any, mode: Any, layout: Any) -> list[tuple[masking.Patch, str, str]]:
    """Every combination; a layout that one of several modes does not have is left out there."""
    patches, modes, layouts = ([v] if isinstance(v, str) else list(v) for v in (patch, mode, layout))
    read = [masking.read_patch(p) for p in patches]
    for m in modes:
        if m not in masking.MODES:
            raise UserError(f"--mode {m} is unknown; choose {' or '.join(masking.MODES)}")
    for k in layouts:
        known = [name for m in modes for name in masking.MODES[m]]
        if k not in known:
            raise UserError(
                f"--layout {k} is none for {' and '.join(modes)}; choose of {', '.join(dict.fromkeys(known))}"
            )
    return [(p, m, k) for p, m, k in product(read, modes, layouts) if k in masking.MODES[m]]


def _model(model: str | Model, device: str, window: int | None) -> tuple[Model, torch.device]:
    if not isinstance(model, str):
        return model, next((p.device for p in model.module.parameters()), torch.device("cpu"))
    from robustseg.models import load_model

    where = machine.choose(device)
    return load_model(model, device=str(where), window=window), where


def _config(
    clean: Mapping[str, Any], patch: masking.Patch, mode: str, layout: str, masks: int | None
) -> dict[str, Any]:
    about = {"kind": "certificate", "patch": patch.text, "mode": mode, "layout": layout, "masks": masks}
    return {**clean, **about, "infill": infill.VERSION, "masks_version": masking.VERSION}


def _row(at: str, item: Item, model: Model, data: Mapped, one: Asked | None, device: torch.device) -> Row:
    """One image under one key; ``one`` None: what the model itself predicts. An image is alone in its batch."""
    sample, start = data.whole(item.position), time.perf_counter()
    images = sample.image[None].to(device)
    assert sample.labels is not None
    with torch.no_grad():
        if one is None:
            labels, sure, passes = labels_of(model, images), None, 1
        else:
            made = certified(model, images, one.of(item.size), one.mode)
            labels, sure, passes = made.labels, made.sure[0].cpu(), made.passes
    stats = counts(labels[0].cpu(), sample.labels, sure, len(data.classes), data.ignore)
    return Row(at, item.id, item.position, item.content, stats=stats, budget_f=passes, forwards=passes,
               seconds=time.perf_counter() - start, batch=str(item.position), device=device.type)  # fmt: skip


def _of(rows: Mapping[str, Mapping[str, Row]], at: str, items: Sequence[Item]) -> list[Row]:
    return [rows[at][item.id] for item in items]


def _entry(one: Asked, rows: Sequence[Row], items: Sequence[Item]) -> dict[str, Any]:
    """Of a certificate: what it is about, what it promises, and what it costs."""
    sizes = sorted({i.size for i in items})
    return {
        "mode": one.mode,
        "layout": one.layout,
        "patch": one.patch.text,
        "sides": [list(one.patch.size(s)) for s in sizes],
        "most": max(one.of(s).most for s in sizes),
        "passes": max(r.forwards for r in rows),
        "key": one.key,
        "seconds_per_image": sum(r.seconds for r in rows) / len(rows),
        **scores([r.stats or {} for r in rows]),
    }
