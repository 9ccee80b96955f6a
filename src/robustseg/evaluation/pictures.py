"""Pictures of the worst images: chosen by their rows, kept while the run passes by, else made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from robustseg.evaluation.attacking import Attacked, attack_rows, load
from robustseg.evaluation.colours import coloured, gain, palette, perturbation, save_index, save_rgb
from robustseg.evaluation.composed import eps_value
from robustseg.evaluation.files import slug
from robustseg.evaluation.job import Job, Planned
from robustseg.evaluation.store import Row, Store
from robustseg.evaluation.tally import image_miou, stack
from robustseg.tasks.predict import Prediction

__all__ = ["Keeper", "gallery", "keep_pictures", "write_attacked", "write_clean"]

Made = tuple[Any, Prediction]  # adversarial image (3,H,W) float32, and what the model says of it (a batch of one)


def gallery(attacks: Sequence[Planned]) -> list[Planned]:
    """The attacks that pictures are made of: those at the largest eps of the L-infinity ball, else of what there is."""
    linf = [p for p in attacks if p.attack.norm == "linf" and p.attack.eps is not None] or list(attacks)
    largest = max((eps_value(p.attack.eps) for p in linf), default=-1.0)
    return [p for p in linf if eps_value(p.attack.eps) == largest]


class Keeper:
    """Holds the adversarial images of the worst ``number`` images so far, so that most need not be made twice."""

    def __init__(self, number: int, job: Job):
        self.number, self.job = number, job
        self.shown = gallery(job.attacks) if number else []
        self.waiting: dict[tuple[str, str], Made] = {}
        self.kept: dict[str, float] = {}

    def hold(self, planned: Planned, rows: Sequence[Row], made: Mapping[int, Attacked]) -> None:
        """Remember what an attack just made of a batch."""
        if planned not in self.shown:
            return
        for i, one in made.items():
            if rows[i].status == "ok":
                self.waiting[rows[i].image, planned.spec] = one.image.cpu().numpy(), one.prediction

    def settle(self, store: Store, images: Sequence[str]) -> None:
        """After a batch: keep what belongs to the worst so far, forget the rest."""
        if not self.number:
            return
        self.kept |= {image: drop(self.job, store, image, self.shown) for image in images}
        worst = sorted(self.kept, key=lambda image: (-self.kept[image], image))[: self.number]
        self.kept = {image: self.kept[image] for image in worst}
        self.waiting = {at: made for at, made in self.waiting.items() if at[0] in self.kept}


def drop(job: Job, store: Store, image: str, shown: Sequence[Planned]) -> float:
    """How much of an image's own mIoU the worst of the attacks took; -1 where there is nothing to compare."""
    clean = store.row(job.clean_key, image)
    rows = [store.row(p.key, image) for p in shown]
    stats = [r.stats for r in rows if r is not None and r.stats is not None]
    if clean is None or clean.stats is None or not stats:
        return -1.0
    values = image_miou(stack([clean.stats, *stats], len(job.data.classes)))
    lost = float(values[0] - np.nanmin(values[1:])) if not np.isnan(values).all() else -1.0
    return lost if np.isfinite(lost) else -1.0


def keep_pictures(
    job: Job, store: Store, folder: Path, keeper: Keeper, tell: Callable[[float, float, str], None]
) -> None:
    """Write ``folder/pictures`` for the worst images; what the keeper no longer has is replayed, batch and all."""
    shown = keeper.shown
    ranked = sorted((-drop(job, store, item.id, shown), item.position) for item in job.items)
    worst = [job.items[position] for lost, position in ranked[: keeper.number] if lost < 1.0]
    draft = folder / "pictures.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    colours = palette(job.data.classes)
    entries = []
    for rank, item in enumerate(worst):
        tell(rank, len(worst), f"pictures of {item.id}")
        batch = load(job, [item.position])
        name = f"{rank:03d}-{slug(item.id)}"
        entry = write_clean(draft, name, batch, colours, {"id": item.id, "rank": rank})
        for planned in shown:
            row = store.row(planned.key, item.id)
            if row is None or row.status != "ok":
                continue
            made = keeper.waiting.get((item.id, planned.spec)) or _again(job, planned, row)
            if made is not None:
                entry["attacks"].append(write_attacked(draft, name, planned, batch.images[0].cpu(), made, row, colours))
        entries.append(entry)
    index = {"images": entries, "palette": colours}
    (draft / "INDEX.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    draft.replace(folder / "pictures")


def _again(job: Job, planned: Planned, row: Row) -> Made | None:
    positions = [int(p) for p in row.batch.split()]
    _, made = attack_rows(job, planned, load(job, positions))
    one = made.get(positions.index(row.position))
    return None if one is None else (one.image.cpu().numpy(), one.prediction)


def write_clean(folder: Path, name: str, batch: Any, colours: dict[str, list[int]], entry: dict[str, Any]) -> dict:
    """Clean image, truth and clean prediction of the first image of a batch; returns the completed index entry."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    save_rgb(folder / name / "clean.png", batch.images[0].cpu().numpy())
    labels = {"truth": batch.target.labels, "clean_prediction": batch.prediction.labels}
    for key, maps in labels.items():
        if maps is not None:
            _labels(folder / name, key, maps[0].cpu().numpy(), colours)
            entry[key] = f"{name}/{key}.png"
    return {**entry, "clean": f"{name}/clean.png", "attacks": []}


def write_attacked(
    folder: Path, name: str, planned: Planned, clean: Tensor, made: Made, row: Row, colours: dict[str, list[int]]
) -> dict[str, Any]:
    """One attack's pictures: the image losslessly (float32) and as PNG, the perturbation, the prediction."""
    image, prediction = made
    delta = image - clean.numpy()
    times = gain(delta)
    stem = f"{name}/{slug(planned.spec)}"
    np.savez_compressed(folder / f"{stem}.npz", image=image.astype(np.float32))
    save_rgb(folder / f"{stem}.adversarial.png", image)
    save_rgb(folder / f"{stem}.perturbation.png", perturbation(delta, times))
    if prediction.labels is not None:
        _labels(folder / name, f"{slug(planned.spec)}.prediction", prediction.labels[0].cpu().numpy(), colours)
    tally = stack([row.stats or {}], len(colours))
    miou = float(image_miou(tally)[0])
    return {
        "spec": planned.spec,
        "eps": planned.attack.eps,
        "adversarial": f"{stem}.adversarial.png",
        "prediction": f"{stem}.prediction.png",
        "perturbation": f"{stem}.perturbation.png",
        "gain": times,
        "array": f"{stem}.npz",
        "aAcc": float(tally.right[0] / tally.valid[0]) if tally.valid[0] else None,
        "mIoU": None if np.isnan(miou) else miou,
    }


def _labels(folder: Path, name: str, labels: Any, colours: dict[str, list[int]]) -> None:
    save_rgb(folder / f"{name}.png", coloured(labels, list(colours.values())))
    save_index(folder / f"{name}.index.png", labels)
