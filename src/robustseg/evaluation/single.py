"""Attack pictures from files: no data set, no truth; the reference is the clean prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustseg import catalog
from robustseg.data.images import read_image
from robustseg.errors import UserError
from robustseg.evaluation import asked, masks, referee
from robustseg.evaluation import device as machine
from robustseg.evaluation.colours import coloured, gain, palette, perturbation, save_index, save_rgb
from robustseg.evaluation.files import slug, write_json
from robustseg.evaluation.guard import Guard, cautions
from robustseg.evaluation.overlays import truth_of
from robustseg.ops import seeds
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.ops.state import frozen
from robustseg.tasks.predict import Prediction
from robustseg.tasks.truth import of_prediction, things_of
from robustseg.types import Model, Sample

__all__ = ["attack_images"]


@dataclass(frozen=True)
class _Pictures:
    """What a region needs to know of the data: nothing but the class names."""

    classes: tuple[str, ...]
    ref: str = "pictures"
    ignore: int = 255
    task: str = "semantic"
    ids: tuple[str, ...] = ()
    size: None = None

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)

    def digest(self) -> str:
        """Nothing to hash."""
        return ""


def attack_images(
    paths: Sequence[str | Path],
    model: str | Model,
    spec: str | Sequence[str],
    *,
    out: str | Path,
    seed: int = 0,
    device: str = "auto",
    window: int | None = None,
    eot: str | None = None,
    eot_samples: int | None = None,
    defense: str | None = None,
    adaptive: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> list[dict[str, Any]]:
    """Attack each picture file by itself and write what came out to ``out/NAME/`` (several: ``out/ATTACK/NAME/``).

    ``adversarial.npz`` holds the image losslessly (float32 in [0,1]). Returns per picture ``changed``: the share of
    pixels whose predicted class changed, the norms, the cost; of a model that gives segments, ``segments``: how many of
    those in the clean prediction were kept, lost, flipped, split, merged, and how many were invented
    (``*.segments.png`` show which); of a classifier also the classes ``before, after``. ``eot``, ``eot_samples``,
    ``defense``, ``adaptive``: as for ``evaluate``. Raises UserError for what cannot be read or attacked.
    """
    if seed < 0:
        raise UserError(f"seed {seed} is negative; use a whole number from 0 on")
    guard = Guard.of(defense, adaptive, eot, eot_samples)
    survive = asked.survival(eot, None if guard.samples else eot_samples)
    given = [spec] if isinstance(spec, str) else list(spec)
    attacks = list({a.spec: a for a in (asked.surviving(_against_prediction(g), survive) for g in given)}.values())
    folders = [Path(out) / slug(a.spec) if len(attacks) > 1 else Path(out) for a in attacks]
    names = [Path(p).stem for p in paths]
    if len(set(names)) < len(names):
        raise UserError("two pictures have the same file name; attack them into separate folders")
    if isinstance(model, str):
        from robustseg.models import load_model

        model = load_model(model, device=str(machine.choose(device)), window=window)
    if model.spec.task == "prompted":
        raise UserError(f"{model.spec.ref} must be asked for objects; a picture alone names none: use evaluate")
    done = []
    total = len(attacks) * len(paths)
    for attack, folder in zip(attacks, folders, strict=True):
        for name, path in zip(names, paths, strict=True):
            if progress:
                progress(len(done), total, f"{path}, {attack.spec}")
            done.append({"image": str(path), **_one(Path(path), model, attack, folder / slug(name), seed, guard)})
    return done


def _against_prediction(spec: str) -> catalog.Attack:
    """There is no truth: an attack on it becomes one on the clean prediction."""
    attack = catalog.attack(spec)
    if attack.needs_fit and attack.artefact is None:
        raise UserError(
            f"{attack.name} must be fitted on other images; use `robustseg evaluate`, or {attack.fitted[1]} here"
        )
    if "reference" in attack.given or attack.reference == "pred":
        return attack
    return catalog.attack(attack, reference="pred")


def _one(path: Path, model: Model, attack: catalog.Attack, folder: Path, seed: int, guard: Guard) -> dict[str, Any]:
    image = read_image(path)[None]
    attacked, model = guard.attacked(model), guard.around(model)
    where = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    x = image.to(where)
    with frozen(model.module), machine.repeatable(where):
        ids = seeds.content_ids(image)
        draws = referee.draws(model, ids, seed)
        before, finite = _seen(model, x, draws)
        if not bool(finite.all()):
            raise UserError(f"{path}: the model's scores are not finite; look at it with `robustseg doctor`")
        region = None
        if attack.region is not None:
            sample = Sample(path.stem, image[0], _labels(before)[0].cpu())
            whole = model.spec.task == WHOLE_IMAGE
            find = masks.mask(attack.region, _Pictures(model.spec.classes), whole_images=whole)
            region = find(sample)[None].to(where)
            if not bool(region.any()):
                raise UserError(f"{path}: the region {attack.region} has no pixel in this picture")
        result = attack(attacked, x, None, ids=ids, seed=seed, region=region)
        eps = None if attack.eps is None else float(Fraction(attack.eps))
        fault = referee.inspect(x, result.images, eps=eps, norm=attack.norm, region=region)[0]
        if fault is not None:
            raise UserError(f"{path}: {attack.spec} broke its own rules ({fault}); nothing was written")
        found = result.images.clamp(0, 1)
        after, _ = _seen(model, found, draws)
    size = referee.norms(x, found)[0]
    fates = _write(folder, image[0].numpy(), found[0].cpu().numpy(), before, after, model)
    about = {
        "attack": attack.spec,
        "applicable": result.applicable is None or bool(result.applicable[0]),
        "changed": float((_labels(before) != _labels(after)).float().mean()),
        **({"segments": fates} if fates else {}),
        **({**guard.info, "cautions": cautions(model, guard.info)} if guard.defense else {}),
        "forwards": int(result.forwards[0]),
        "backwards": int(result.backwards[0]),
        **size,
        "folder": str(folder),
    }
    if model.spec.task == WHOLE_IMAGE:
        about |= {n: model.spec.classes[int(_labels(v))] for n, v in (("before", before), ("after", after))}
    write_json(folder / "result.json", {**about, "model": model.spec.ref, "seed": seed})
    return about


def _tasks(model: Model) -> tuple[str, ...]:
    """What is drawn: labels, and segments where the model gives any and says which classes are countable."""
    task = {"universal": "panoptic", "instance": "instance"}.get(model.spec.task)
    return ("semantic", task) if task and any(things_of(model)) else ("semantic",)


def _seen(model: Model, x: torch.Tensor, draws: torch.Tensor | None) -> tuple[Prediction, torch.Tensor]:
    return referee.predict(model, x, tasks=_tasks(model), things=things_of(model), draws=draws)


def _labels(prediction: Prediction) -> torch.Tensor:
    assert prediction.labels is not None
    return prediction.labels


def _write(
    folder: Path, clean: Any, attacked: Any, before: Prediction, after: Prediction, model: Model
) -> dict[str, int]:
    """All files; returns what became of the segments, where there are any."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        delta = attacked - clean
        colours = palette(model.spec.classes)
        np.savez_compressed(folder / "adversarial.npz", image=attacked.astype(np.float32))
        save_rgb(folder / "adversarial.png", attacked)
        save_rgb(folder / "perturbation.png", perturbation(delta, gain(delta)))
        for name, prediction in (("clean_prediction", before), ("prediction", after)):
            # a classifier has one for all pixels
            labels = np.broadcast_to(_labels(prediction)[0].cpu().numpy(), clean.shape[-2:])
            save_rgb(folder / f"{name}.png", coloured(labels, list(colours.values())))
            save_index(folder / f"{name}.index.png", labels)
        if len(_tasks(model)) == 1:
            return {}
        # there is no truth: what the model saw before stands in its place
        truth = truth_of(of_prediction(before, things_of(model)), _tasks(model), model.spec.classes, colours)
        assert truth is not None
        for name, photo, prediction in (("clean_prediction", clean, before), ("prediction", attacked, after)):
            truth.drawn(folder, name, photo, prediction)
        return truth.fates(after)
    except OSError as problem:
        raise UserError(f"cannot write {folder}: {problem.strerror or problem}; choose another --out") from problem
