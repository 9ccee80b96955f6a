"""Pictures of the worst images: chosen by their rows, kept while the run passes by, else made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from robustseg.evaluation.attacking import Attacked, attack_rows, load
from robustseg.evaluation.colours import coloured, gain, palette, perturbation, save_index, save_rgb
from robustseg.evaluation.composed import eps_value
from robustseg.evaluation.files import slug
from robustseg.evaluation.job import Job, Planned
from robustseg.evaluation.overlays import Truth, truth_of
from robustseg.evaluation.owners import SURE
from robustseg.evaluation.segments import segment_scores
from robustseg.evaluation.store import Row, Store
from robustseg.evaluation.tally import image_miou, stack
from robustseg.tasks.predict import Prediction

__all__ = ["Keeper", "gallery", "keep_pictures", "write_attacked", "write_clean"]

LEADING = ("PQ", "AP", "IoU_prompted")  # of an image; the others have mIoU, which of one label is its accuracy
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
                self.waiting[rows[i].image, planned.spec] = one.image.cpu().numpy(), slim(one.prediction)

    def settle(self, store: Store, images: Sequence[str]) -> None:
        """After a batch: keep what belongs to the worst so far, forget the rest."""
        if not self.number:
            return
        self.kept |= {image: drop(self.job, store, image, self.shown) for image in images}
        worst = sorted(self.kept, key=lambda image: (-self.kept[image], image))[: self.number]
        self.kept = {image: self.kept[image] for image in worst}
        self.waiting = {at: made for at, made in self.waiting.items() if at[0] in self.kept}


def slim(prediction: Prediction) -> Prediction:
    """Only what pictures show: a hundred masks an image would fill the memory of a long run."""
    if prediction.instances is None:
        return prediction
    if prediction.panoptic is not None:
        return replace(prediction, instances=None)
    sure = []
    for one in prediction.instances:
        at = one.scores >= SURE
        query = None if one.query is None else one.query[at]
        sure.append(replace(one, masks=one.masks[at], scores=one.scores[at], labels=one.labels[at], boxes=one.boxes[at],
                            query=query))  # fmt: skip
    return replace(prediction, instances=sure)


def drop(job: Job, store: Store, image: str, shown: Sequence[Planned]) -> float:
    """How much of an image's own score the worst of the attacks took; -1 where there is nothing to compare.

    The score is the first that the rows have of PQ, AP, IoU of prompts and mIoU.
    """
    clean = store.row(job.clean_key, image)
    rows = [store.row(p.key, image) for p in shown]
    stats = [r.stats for r in rows if r is not None and r.stats is not None]
    if clean is None or clean.stats is None or not stats:
        return -1.0
    every = [image_scores(s, job.data.classes, job.data.countable) for s in (clean.stats, *stats)]
    leading = next((name for name in LEADING if name in every[0]), "mIoU")
    values = np.array([e[leading] for e in every])
    lost = float(values[0] - np.nanmin(values[1:])) if not np.isnan(values[1:]).all() else -1.0
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
        truth = add_segments(draft, name, batch, job.tasks, colours, entry)
        for planned in shown:
            row = store.row(planned.key, item.id)
            if row is None or row.status != "ok":
                continue
            made = keeper.waiting.get((item.id, planned.spec)) or _again(job, planned, row)
            if made is not None:
                clean = batch.images[0].cpu()
                entry["attacks"].append(write_attacked(draft, name, planned, clean, made, row, colours, truth))
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
            _labels(folder / name, key, maps[0].cpu().numpy(), colours, batch.images.shape[-2:])
            entry[key] = f"{name}/{key}.png"
    return {**entry, **_called(batch.target.labels, colours), "clean": f"{name}/clean.png", "attacks": []}


def add_segments(
    folder: Path, name: str, batch: Any, tasks: Sequence[str], colours: dict[str, list[int]], entry: dict[str, Any]
) -> Truth | None:
    """Writes true and cleanly predicted segments of the first image of a batch into its entry, where a run has any."""
    truth = truth_of(batch.target, tasks, list(colours), colours)
    if truth is not None and batch.prediction is not None:
        entry["segments"] = truth.entry(folder, name, batch.images[0].cpu().numpy(), batch.prediction)
    return truth


def write_attacked(
    folder: Path,
    name: str,
    planned: Planned,
    clean: Tensor,
    made: Made,
    row: Row,
    colours: dict[str, list[int]],
    truth: Truth | None = None,
) -> dict[str, Any]:
    """One attack's pictures: the image losslessly (float32) and as PNG, the perturbation, the prediction."""
    image, prediction = made
    delta = image - clean.numpy()
    times = gain(delta)
    stem = f"{name}/{slug(planned.spec)}"
    np.savez_compressed(folder / f"{stem}.npz", image=image.astype(np.float32))
    save_rgb(folder / f"{stem}.adversarial.png", image)
    save_rgb(folder / f"{stem}.perturbation.png", perturbation(delta, times))
    shown: dict[str, Any] = {} if truth is None else {"segments": truth.drawn(folder, stem, image, prediction)}
    if prediction.labels is not None:
        labels = prediction.labels[0].cpu().numpy()
        _labels(folder / name, f"{slug(planned.spec)}.prediction", labels, colours, image.shape[-2:])
        shown |= {"prediction": f"{stem}.prediction.png", **_called(prediction.labels, colours)}
    things = () if truth is None else truth.target.things.tolist()
    return {
        "spec": planned.spec,
        "eps": planned.attack.eps,
        "adversarial": f"{stem}.adversarial.png",
        "perturbation": f"{stem}.perturbation.png",
        "gain": times,
        "array": f"{stem}.npz",
        **shown,
        **{n: None if np.isnan(v) else v for n, v in image_scores(row.stats or {}, list(colours), things).items()},
    }


def image_scores(stats: Mapping[str, Any], classes: Sequence[str], things: Sequence[bool]) -> dict[str, float]:
    """``aAcc``, ``mIoU`` of one image by itself, and ``PQ``, ``AP``, ``IoU_prompted`` where its row has them."""
    tally = stack([stats], len(classes))
    found = segment_scores([stats], (classes, things))
    right = float(tally.right[0] / tally.valid[0]) if tally.valid[0] else float("nan")
    scores = {"aAcc": right, "mIoU": float(image_miou(tally)[0])}
    return scores | {n: float("nan") if found[n] is None else float(found[n]) for n in LEADING if n in found}


def _called(labels: Tensor, colours: dict[str, list[int]]) -> dict[str, str]:
    """The class of the first image in words, where it has one label."""
    if labels.shape[-2:] != (1, 1) or int(labels[0]) >= len(colours):
        return {}
    return {"class": list(colours)[int(labels[0])]}


def _labels(folder: Path, name: str, labels: Any, colours: dict[str, list[int]], size: Sequence[int]) -> None:
    """A label map as a picture of the image's size, which the one label of a classifier fills."""
    labels = np.broadcast_to(labels, tuple(size))
    save_rgb(folder / f"{name}.png", coloured(labels, list(colours.values())))
    save_index(folder / f"{name}.index.png", labels)
